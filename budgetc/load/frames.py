"""Frame folders: train/<scene> in-distribution, other/<scene> or test/<scene> out of it; frames in order of time."""

from pathlib import Path

from budgetc.core.dataset import GOOD
from budgetc.errors import InputRejected
from budgetc.load.listing import ONLY_CATEGORY, Entry, Part, named, natural, picture_files, subfolders

_FOLDERS = ("train", "test", "other")


def is_frames(root: Path) -> bool:
    """Whether a folder holds scenes: it has other/, or a train/ without good/."""
    return (root / "other").is_dir() or ((root / "train").is_dir() and not (root / "train" / GOOD).is_dir())


def list_frames(root: Path, *, needs_train: bool) -> tuple[Entry, ...]:
    """Entries by scene, in the order of time. A scene of test/ that is in train/ too is in-distribution.

    Without `needs_train`, train/ may be missing.

    Raises:
        InputRejected: a folder that is missing, empty or ambiguous, or a frame without a number.
    """
    unknown = sorted(set(subfolders(root)) - set(_FOLDERS))
    if unknown:
        raise InputRejected(f"{root}: unknown folder {named(unknown)} beside scenes; expected {', '.join(_FOLDERS)}")
    scenes = {name: subfolders(root / name) if (root / name).is_dir() else [] for name in _FOLDERS}
    if GOOD in scenes["test"] and GOOD not in scenes["train"]:
        raise InputRejected(
            f"{root}: test/good but no train/good; call the normals train/good (single pictures), "
            f"or give test/good the name of its scene in train/ (frames)"
        )
    if needs_train and not scenes["train"]:
        raise InputRejected(f"{root}: train/ holds no scenes; expected train/<scene>/0000.jpg ...")
    entries: list[Entry] = []
    for scene in scenes["train"]:
        entries += _scene(root, "train", scene, part="train", defect=GOOD)
    for scene in scenes["test"]:
        entries += _scene(root, "test", scene, part="test", defect=GOOD if scene in scenes["train"] else scene)
    for scene in scenes["other"]:
        entries += _scene(root, "other", scene, part="test", defect=scene)
    return tuple(entries)


def _scene(root: Path, folder: str, scene: str, *, part: Part, defect: str) -> list[Entry]:
    if folder == "other" and scene == GOOD:
        raise InputRejected(f"{root}: other/good contradicts itself; other/ is for out-of-distribution scenes")
    files = sorted(picture_files(root, root / folder / scene), key=natural)
    return [Entry(file, part, ONLY_CATEGORY, defect) for file in files]

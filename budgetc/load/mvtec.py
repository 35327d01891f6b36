"""The MVTec layout: train/good, test/<defect type>, ground_truth/<defect type>; one or several categories."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from budgetc.core.dataset import GOOD
from budgetc.errors import InputRejected
from budgetc.load.listing import ONLY_CATEGORY, Entry, Picture, named, picture_files, subfolders

_FOLDERS = ("train", "test", "ground_truth")


def is_category(folder: Path) -> bool:
    """Whether a folder has train/ or test/ in it."""
    return (folder / "train").is_dir() or (folder / "test").is_dir()


def list_mvtec(root: Path, *, needs_train: bool) -> tuple[Entry, ...]:
    """Entries of root/train ... or of root/<category>/train ..., sorted by file.

    Without `needs_train`, train/ may be missing.

    Raises:
        InputRejected: a folder that is missing, empty or unknown, or a picture without its mask.
    """
    if is_category(root):
        return _category(root, root, ONLY_CATEGORY, needs_train)
    names = subfolders(root)
    others = [name for name in names if not is_category(root / name)]
    if others:
        raise InputRejected(f"{root}: {named(others)} has no train/good beside the categories; fill it or move it away")
    entries: list[Entry] = []
    for name in names:
        if (root / name / "groups.csv").exists():
            raise InputRejected(f"{root}: {name}/groups.csv is not read; one groups.csv belongs at the root")
        entries += _category(root, root / name, name, needs_train)
    _refuse_untested(root, entries)
    return tuple(sorted(entries, key=lambda entry: entry.file))


def _refuse_untested(root: Path, entries: list[Entry]) -> None:
    """Either every category has pictures to test with, or none has anomalies and normals are held out."""
    tested = {entry.category for entry in entries if entry.part == "test"}
    untested = sorted({entry.category for entry in entries} - tested)
    if untested and any(entry.defect != GOOD for entry in entries):
        raise InputRejected(
            f"{root / untested[0]}: no test/good and test/<defect type>; expected normals and anomalies there, as "
            f"other categories have them"
        )


def refuse_wrong_masks(root: Path, entries: tuple[Entry, ...], pictures: Mapping[str, Picture]) -> None:
    """Every mask has the size of its picture.

    Raises:
        InputRejected: naming the pictures whose mask has another size.
    """
    wrong = [entry for entry in entries if entry.mask and pictures[entry.mask].size != pictures[entry.file].size]
    if wrong:
        first = wrong[0]
        assert first.mask is not None, "those without were left out"
        mask, picture = (" x ".join(map(str, pictures[file].size)) for file in (first.mask, first.file))
        raise InputRejected(
            f"{root}: masks of another size than their pictures: {named([e.file for e in wrong])}; the first: a mask "
            f"of {mask} for a picture of {picture} pixels; save masks at the size of the pictures as taken"
        )


def _category(root: Path, folder: Path, category: str, needs_train: bool) -> tuple[Entry, ...]:
    unknown = sorted(set(subfolders(folder)) - set(_FOLDERS))
    if unknown:
        raise InputRejected(f"{folder}: unknown folder {named(unknown)}; expected {', '.join(_FOLDERS)}")
    train = _train(root, folder, category) if needs_train or (folder / "train").is_dir() else []
    return tuple(sorted([*train, *_test(root, folder, category)], key=lambda entry: entry.file))


def _train(root: Path, folder: Path, category: str) -> list[Entry]:
    found = subfolders(folder / "train") if (folder / "train").is_dir() else []
    anomalies = [name for name in found if name != GOOD]
    if anomalies:
        raise InputRejected(
            f"{folder}: train/ holds {named(anomalies)}; normals only are trained on: name them train/good, "
            f"and put anomalies into test/<defect type>"
        )
    if not found:
        raise InputRejected(f"{folder}: no train/good/; expected the normal pictures there")
    return [Entry(file, "train", category, GOOD) for file in picture_files(root, folder / "train" / GOOD)]


def _test(root: Path, folder: Path, category: str) -> list[Entry]:
    defects = subfolders(folder / "test") if (folder / "test").is_dir() else []
    entries: list[Entry] = []
    for defect in defects:
        files = picture_files(root, folder / "test" / defect)
        masks = _masks(root, folder, defect, files)
        entries += [Entry(file, "test", category, defect, masks.get(file)) for file in files]
    return entries


def _masks(root: Path, folder: Path, defect: str, files: list[str]) -> dict[str, str]:
    truth = folder / "ground_truth" / defect
    if defect == GOOD or not truth.is_dir():
        return {}
    masks = {file: truth / f"{PurePosixPath(file).stem}_mask.png" for file in files}
    missing = [mask.relative_to(root).as_posix() for mask in masks.values() if not mask.is_file()]
    if missing:
        raise InputRejected(f"{root}: masks are missing: {named(missing)}; add them, or remove ground_truth/{defect}")
    return {file: mask.relative_to(root).as_posix() for file, mask in masks.items()}

"""A data set as far as it can be read, also where it is not yet one that budgetc compiles with."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image

from budgetc.core.dataset import GOOD, Dataset
from budgetc.errors import InputRejected
from budgetc.load.datasets import open_source, split_source, stated_groups
from budgetc.load.groups import groups_by_content, read_groups_csv
from budgetc.load.images import FolderReader, digest_of, examine, read_content
from budgetc.load.listing import ONLY_CATEGORY, PICTURE_SUFFIXES, Entry, Picture, Source, is_text, named
from budgetc.load.video import block_samples, scenes
from budgetc.runtime.preprocess import FORMATS, decode

Grouping = Literal["stated in the data", "read off the file names", "seen in the pictures", "blocks of frames"]
_MODES = {
    "L": "gray",
    "1": "black and white",
    "RGB": "color",
    "P": "palette",
    "I;16": "16-bit gray",
    "RGBA": "with alpha",
}


@dataclass(frozen=True)
class Inspected:
    """What could be read."""

    source: Source
    groups: Mapping[str, str]
    """File -> group."""
    grouping: Grouping
    dataset: Dataset | None
    """In four splits; None where `refusal` says why not."""
    refusal: str | None
    damaged: Mapping[str, str]
    """File -> what is wrong with it; such files are in nothing else."""


def inspect_data(path: str | Path, *, group: str | None = None, seed: int = 0) -> Inspected:
    """Read a data set like `load_dataset`; where that refuses it, whatever pictures are there.

    Raises:
        UsageError: nothing is at the path, or `group` is no regular expression with a parenthesis.
        InputRejected: there are no pictures that can be read, or the arrays are no data set.
    """
    damaged: dict[str, str] = {}
    try:
        source, refusal = open_source(path), None
    except InputRejected as error:
        if not Path(path).is_dir():
            raise
        source, damaged = _whatever(Path(path))
        if not source.entries:
            raise
        refusal = str(error)
    groups, grouping = _groups(source, group)
    dataset = None
    if refusal is None:
        try:
            dataset = split_source(source, group=group, seed=seed)
        except InputRejected as error:
            refusal = str(error)
    return Inspected(source, groups, grouping, dataset, refusal, damaged)


def _groups(source: Source, pattern: str | None) -> tuple[Mapping[str, str], Grouping]:
    stated = stated_groups(source, pattern)
    if stated is not None:
        return stated, "stated in the data" if source.stated is not None else "read off the file names"
    if source.video:
        samples = (sample for scene in scenes(source.entries) for block in block_samples(scene) for sample in block)
        return {sample.file: sample.group for sample in samples}, "blocks of frames"
    return groups_by_content(source.entries, source.pictures), "seen in the pictures"


def _whatever(root: Path) -> tuple[Source, dict[str, str]]:
    """Every picture below a folder, and the files that only look like one."""
    files = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file() and "ground_truth" not in path.parts
    )
    pictures, damaged = dict[str, Picture](), dict[str, str]()
    for file in files:
        if not is_text(file):
            damaged[ascii(file)] = "its name is not UTF-8; rename the file"
            continue
        try:
            content = read_content(root / file)
            pictures[file] = examine(decode(content), hashlib.sha256(content).hexdigest())
        except InputRejected as error:
            damaged[file] = str(error)
    entries = tuple(_guessed(file) for file in pictures)
    contents = {file: picture.sha256 for file, picture in pictures.items()}
    reader = FolderReader(root, contents)
    return Source(root, entries, pictures, _stated(root, entries), digest_of(contents), reader), damaged


def _guessed(file: str) -> Entry:
    """A picture below test/ or other/ is of the defect type that its folder is called; all else is taken for normal."""
    folders = PurePosixPath(file).parts[:-1]
    at = next((number for number, name in enumerate(folders) if name in ("train", "test", "other")), None)
    category = folders[0] if at else ONLY_CATEGORY
    if at is None or folders[at] == "train":
        return Entry(file, "train", category, GOOD)
    return Entry(file, "test", category, folders[-1] if len(folders) > at + 1 else "unlabeled")


def _stated(root: Path, entries: tuple[Entry, ...]) -> Mapping[str, str] | None:
    """groups.csv, where it fits the pictures that could be read."""
    table = root / "groups.csv"
    if not table.exists():
        return None
    try:
        return read_groups_csv(table, entries)
    except InputRejected:
        return None  # that it is wrong is what the data set is refused for


def what_is_missing(inspected: Inspected) -> tuple[str, ...]:
    """What must be there before anything can be compiled with this data, in sentences; nothing where it can."""
    if inspected.dataset is not None:
        return ()
    entries = inspected.source.entries
    normals = [entry for entry in entries if entry.part == "train"]
    test = [entry for entry in entries if entry.part == "test"]
    missing = []
    if not normals:
        missing.append("normals to train on: put pictures without defects into train/good")
    if not any(entry.defect == GOOD for entry in test) and not inspected.source.video:
        missing.append("normals to test with: put pictures of other parts without defects into test/good")
    if all(entry.defect == GOOD for entry in test):
        missing.append("anomalies: without them an AUROC is of synthetic ones; put pictures of each defect type into "
                       "test/<defect type>")  # fmt: skip
    if inspected.damaged:
        missing.append(f"readable files in place of {named(list(inspected.damaged))}")
    return tuple(missing)


def picture_modes(source: Source) -> dict[str, str]:
    """File -> gray, color, ... as its header says; empty for arrays."""
    if not source.root.is_dir():
        return {}
    found = {}
    for entry in source.entries:
        with Image.open(source.root / entry.file, formats=FORMATS) as image:
            found[entry.file] = _MODES.get(image.mode, f"of mode {image.mode}")
    return found

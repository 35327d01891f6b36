"""What stands where in a data set's folders, before anything is split."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.core.dataset import GOOD, MaskReader, Sample, no_masks
from budgetc.errors import InputRejected
from budgetc.load.factors import Factors

Part = Literal["train", "test"]
FACTORS_FILE = "factors.yaml"
"""Beside frames: OOD factors that the test frames are also judged under (`load/declared.py`)."""
ONLY_CATEGORY = "all"
"""Category of a data set that has no folders of categories."""
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".gif"}
)
_LITTER = frozenset({"Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture of a data set and what its place says about it."""

    file: str
    """Relative to the root, with forward slashes."""
    part: Part
    category: str
    defect: str
    mask: str | None = None

    def sample(self, group: str) -> Sample:
        """The same picture as the compiler sees it."""
        return Sample(self.file, group, self.category, self.defect, self.mask)


@dataclass(frozen=True, slots=True)
class Picture:
    """What was learned from reading a picture once."""

    sha256: str
    """Of its bytes, or of its pixels in an array."""
    size: tuple[int, int]
    """(width, height) in pixels, upright."""
    thumbnail: NDArray[np.uint8]
    """(1024,) gray levels of the picture averaged over 32 x 32 cells."""


class Pictures(Protocol):
    """Reads samples, and whole pictures by their file."""

    def __call__(self, sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(3, height, width), resized by the runtime's function."""
        ...

    def picture(self, file: str) -> Image.Image:
        """At its own size, RGB."""
        ...


@dataclass(frozen=True)
class Source:
    """A data set read whole: entries, contents, and how to read a picture again."""

    root: Path
    entries: tuple[Entry, ...]
    """Frames of a scene stand in the order of time."""
    pictures: Mapping[str, Picture]
    stated: Mapping[str, str] | None
    """File -> group, where the data set itself says it."""
    digest: str
    read: Pictures
    read_mask: MaskReader = no_masks
    video: bool = False
    factors: Factors | None = None
    """What happens to copies of the test normals of frames."""


def subfolders(folder: Path) -> list[str]:
    """Sorted names of the folders in a folder, hidden ones left out."""
    return sorted(path.name for path in _visible(folder) if path.is_dir())


def picture_files(root: Path, folder: Path) -> list[str]:
    """Sorted paths, relative to the root, of the pictures in a folder.

    Raises:
        InputRejected: none, or something else than a picture among them.
    """
    paths = _visible(folder)
    strange = [path for path in paths if path.suffix.lower() not in PICTURE_SUFFIXES or not path.is_file()]
    if strange:
        names = named([path.relative_to(root).as_posix() for path in strange])
        raise InputRejected(
            f"{root}: {names} is no picture file ({', '.join(sorted(PICTURE_SUFFIXES))}); convert pictures of other "
            f"kinds, and move what is not a picture out of {folder.name}/"
        )
    if not paths:
        raise InputRejected(f"{root}: {folder.relative_to(root).as_posix()}/ holds no pictures; fill or remove it")
    return sorted(path.relative_to(root).as_posix() for path in paths)


def is_text(name: str) -> bool:
    """Whether a name is UTF-8 on the disk: what is not has no digest, and no terminal shows it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def named(files: Sequence[str]) -> str:
    """Up to five names, and how many there are: `a.png, b.png`, `a.png, ... (12 in all)`."""
    shown = ", ".join(files[:5])
    return shown if len(files) <= 5 else f"{shown}, ... ({len(files)} in all)"


def natural(file: str) -> tuple[int, str]:
    """Sort key of a frame: the last number in its name.

    Raises:
        InputRejected: the name holds no number.
    """
    numbers = re.findall(r"[0-9]+", Path(file).stem)
    if not numbers:
        raise InputRejected(f"{file}: frames are ordered by the number in their name, and this one has none")
    return int(numbers[-1]), file


def is_good(entry: Entry) -> bool:
    """Whether a picture shows a normal."""
    return entry.defect == GOOD


def _visible(folder: Path) -> list[Path]:
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".") and name not in _LITTER]
    except OSError as error:
        raise InputRejected(f"{folder}: cannot be listed ({error.strerror})") from error
    for name in names:
        if not is_text(name):
            raise InputRejected(f"{folder}: the name {name!a} is not UTF-8; rename the file")
    return [folder / name for name in names]

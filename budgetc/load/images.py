"""Read every picture of a data set once, and again when it is needed."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.core.dataset import Sample
from budgetc.errors import InputRejected
from budgetc.load.listing import Picture, named
from budgetc.runtime.preprocess import decode, resize_rgb

MAX_FILE_BYTES = 256 << 20
MIN_SIDE = 4
"""Pixels; anything smaller is a placeholder, not a photograph."""
THUMBNAIL = 32


def examine_files(root: Path, files: Sequence[str]) -> dict[str, Picture]:
    """Every file read and decoded to its end.

    Raises:
        InputRejected: naming the files that are unreadable, truncated, tiny or huge, and why the first is.
    """
    # Decoding and hashing release the interpreter lock.
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        results = list(pool.map(lambda file: _try_to_examine(root / file), files))
    bad = {file: result for file, result in zip(files, results, strict=True) if isinstance(result, InputRejected)}
    if bad:
        first = next(iter(bad.values()))
        raise InputRejected(f"{root}: unreadable pictures: {named(list(bad))}; the first: {first}") from first
    return {file: result for file, result in zip(files, results, strict=True) if isinstance(result, Picture)}


def examine(image: Image.Image, sha256: str) -> Picture:
    """A decoded picture's size and thumbnail.

    Raises:
        InputRejected: smaller than 4 pixels on a side.
    """
    if min(image.size) < MIN_SIDE:
        raise InputRejected(f"{image.width} x {image.height} pixels; expected at least {MIN_SIDE} on a side")
    small = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return Picture(sha256, image.size, np.asarray(small, dtype=np.uint8).reshape(-1))


def digest_of(contents: Mapping[str, str]) -> str:
    """sha256 over sorted (relative file, sha256 of its content)."""
    lines = sorted(f"{file}\0{sha256}\n" for file, sha256 in contents.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class FolderReader:
    """Reads pictures of a folder; a module-level class, so that worker processes can be handed one."""

    root: Path
    sha256: Mapping[str, str]

    def __call__(self, sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(3, height, width) of a sample, resized by the runtime's function.

        Raises:
            InputRejected: the file is gone or is not what it was when the data set was loaded.
        """
        return resize_rgb(self.picture(sample.file), *size)

    def picture(self, file: str) -> Image.Image:
        """A file's picture at its own size.

        Raises:
            InputRejected: as `__call__`.
        """
        content = read_content(self.root / file)
        if hashlib.sha256(content).hexdigest() != self.sha256[file]:
            raise InputRejected(f"{self.root / file}: changed while budgetc was running; start again")
        return decode(content)

    def mask(self, sample: Sample) -> NDArray[np.bool_]:
        """(height, width) of a sample's ground truth, True where it is anomalous.

        Raises:
            InputRejected: as `__call__`.
        """
        assert sample.mask is not None, "only pictures with a mask are asked for"
        truth: NDArray[np.bool_] = np.asarray(self.picture(sample.mask).convert("L")) > 0
        return truth


def read_content(path: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        InputRejected: it cannot be read, or is larger than 256 MiB.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputRejected(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; no picture needs that")
        return path.read_bytes()
    except OSError as error:
        raise InputRejected(f"{path}: cannot be read ({error.strerror})") from error


def _try_to_examine(path: Path) -> Picture | InputRejected:
    try:
        content = read_content(path)
        return examine(decode(content), hashlib.sha256(content).hexdigest())
    except InputRejected as error:
        return error

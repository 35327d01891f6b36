"""`.npz` data sets: pictures as arrays, labels and groups beside them."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.core.dataset import GOOD, Sample
from budgetc.errors import InputRejected
from budgetc.load.images import digest_of, examine
from budgetc.load.listing import ONLY_CATEGORY, Entry, Part, Picture, Source
from budgetc.load.validation import did_you_mean
from budgetc.runtime.preprocess import resize_rgb

MAX_BYTES = 4 << 30
"""Of all arrays, unpacked."""
_REQUIRED = ("train", "test", "test_label")
_OPTIONAL = ("train_group", "test_group", "train_category", "test_category", "test_defect")
_EXPECTED = f"expected the arrays {', '.join(_REQUIRED)} and, if wanted, {', '.join(_OPTIONAL)}"


def open_arrays(path: Path) -> Source:
    """A data set in one `.npz`: `train` and `test` (n, h, w) or (n, h, w, 3), uint8 or float in 0..1.

    `test_label` is (n,) of 0 and 1; `*_group`, `*_category` and `test_defect` are (n,) of text or
    whole numbers. A picture is called `<category>/<part>/<defect type>/<row>`.

    Raises:
        InputRejected: not a sound archive of exactly these arrays, or values out of range.
    """
    arrays = _load(path)
    pixels: dict[Part, NDArray[np.uint8]] = {
        "train": _pixels(path, "train", arrays["train"]),
        "test": _pixels(path, "test", arrays["test"]),
    }
    labels = _labels(path, arrays, len(pixels["test"]))
    entries: list[Entry] = []
    rows: dict[str, tuple[Part, int]] = {}
    for part, images in pixels.items():
        categories = _names(path, arrays, f"{part}_category", len(images)) or [ONLY_CATEGORY] * len(images)
        defects = _defects(path, arrays, labels) if part == "test" else [GOOD] * len(images)
        for row, (category, defect) in enumerate(zip(categories, defects, strict=True)):
            file = f"{category}/{part}/{defect}/{row:06d}"
            rows[file] = (part, row)
            entries.append(Entry(file, part, category, defect))
    reader = ArrayReader(pixels["train"], pixels["test"], rows)
    pictures = {entry.file: _picture(reader.picture(entry.file)) for entry in entries}
    stated = _stated(path, arrays, rows)
    contents = {file: picture.sha256 for file, picture in pictures.items()}
    digest = digest_of(contents | {f"group of {file}": group for file, group in (stated or {}).items()})
    return Source(path, tuple(sorted(entries, key=lambda entry: entry.file)), pictures, stated, digest, reader)


@dataclass(frozen=True)
class ArrayReader:
    """Reads pictures out of arrays; a module-level class, so that worker processes can be handed one."""

    train: NDArray[np.uint8]
    test: NDArray[np.uint8]
    rows: Mapping[str, tuple[Part, int]]

    def picture(self, file: str) -> Image.Image:
        """The picture of a row, RGB."""
        part, row = self.rows[file]
        return Image.fromarray((self.train if part == "train" else self.test)[row]).convert("RGB")

    def __call__(self, sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(3, height, width) of a sample, resized by the runtime's function."""
        return resize_rgb(self.picture(sample.file), *size)


def _picture(image: Image.Image) -> Picture:
    content = f"{image.size}".encode() + image.tobytes()
    return examine(image, hashlib.sha256(content).hexdigest())


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            arrays = {info.filename.removesuffix(".npy"): _member(path, archive, info) for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputRejected(f"{path}: not a readable .npz ({error}); {_EXPECTED}") from error
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise InputRejected(f"{path}: no array {', '.join(missing)}; {_EXPECTED}")
    if ("train_category" in arrays) != ("test_category" in arrays):
        raise InputRejected(f"{path}: train_category and test_category belong together; give both or none")
    if ("train_group" in arrays) != ("test_group" in arrays):
        raise InputRejected(f"{path}: train_group and test_group belong together; give both or none")
    return arrays


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
    for name in names:
        if name not in _REQUIRED + _OPTIONAL:
            raise InputRejected(f"{path}: unknown array {name!r}; {did_you_mean(name, _REQUIRED + _OPTIONAL)}")
        if names.count(name) > 1:
            raise InputRejected(f"{path}: array {name!r} is there twice")
    total = sum(info.file_size for info in archive.infolist())
    if total > MAX_BYTES:
        raise InputRejected(f"{path}: {total / 2**30:.1f} GiB unpacked; at most {MAX_BYTES >> 30} GiB are read")


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as file:
        shape, dtype = _header(file)
        declared = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if dtype.hasobject or declared > info.file_size:
            raise InputRejected(f"{path}: array {info.filename!r} of {dtype} {shape} is not plain data of its own size")
    with archive.open(info) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype


def _pixels(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] != 3) or len(array) == 0:
        raise InputRejected(
            f"{path}: {name} has shape {array.shape}; expected (n, height, width) or (n, h, w, 3), n > 0"
        )
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise InputRejected(f"{path}: {name} has dtype {array.dtype}; expected uint8, or float from 0 to 1")
    if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
        raise InputRejected(f"{path}: {name} has floats from {array.min():g} to {array.max():g}; expected 0 to 1")
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)


def _labels(path: Path, arrays: Mapping[str, NDArray[Any]], count: int) -> list[int]:
    labels = arrays["test_label"]
    if labels.shape != (count,):
        raise InputRejected(
            f"{path}: test_label has shape {labels.shape}; expected ({count},), one for each test picture"
        )
    strange = labels[~np.isin(labels, (0, 1))]
    if strange.size:
        raise InputRejected(
            f"{path}: {strange.size} of {count} in test_label are neither 0 (normal) nor 1 (anomalous), such as "
            f"{strange[0]!s:.40}"
        )
    return [int(label) for label in labels]


def _names(path: Path, arrays: Mapping[str, NDArray[Any]], name: str, count: int) -> list[str] | None:
    if name not in arrays:
        return None
    array = arrays[name]
    if array.shape != (count,) or array.dtype.kind not in "Uiu":
        raise InputRejected(
            f"{path}: {name} is {array.dtype} {array.shape}; expected ({count},) of text or whole numbers"
        )
    names = [str(value) for value in array]
    if "" in names:
        raise InputRejected(f"{path}: {name} has an empty name in row {names.index('')}")
    return names


def _defects(path: Path, arrays: Mapping[str, NDArray[Any]], labels: list[int]) -> list[str]:
    given = _names(path, arrays, "test_defect", len(labels)) or ["bad" if label else GOOD for label in labels]
    for row, (defect, label) in enumerate(zip(given, labels, strict=True)):
        if (defect != GOOD) != bool(label):
            raise InputRejected(f"{path}: row {row} of test has label {label} and defect type {defect!r}; "
                                f"expected {GOOD!r} for 0 and another name for 1")  # fmt: skip
    return given


def _stated(
    path: Path, arrays: Mapping[str, NDArray[Any]], rows: Mapping[str, tuple[Part, int]]
) -> dict[str, str] | None:
    groups: dict[Part, list[str] | None] = {
        "train": _names(path, arrays, "train_group", len(arrays["train"])),
        "test": _names(path, arrays, "test_group", len(arrays["test"])),
    }
    stated: dict[str, str] = {}
    for file, (part, row) in rows.items():
        names = groups[part]
        if names is None:
            return None
        stated[file] = names[row]
    return stated

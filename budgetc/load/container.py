"""A model file as bytes: read once, recognized by its content, its zip directory within limits.

Nothing here unpickles. The digest is of the very bytes that are loaded later, so that a file that
changes in between cannot be reported under another's digest.
"""

import errno
import hashlib
import io
import os
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from budgetc.errors import InputRejected

MAX_FILE_BYTES = 2 * 2**30
MAX_ZIP_ENTRIES = 20_000
MAX_ZIP_RATIO = 20
MAX_PICKLE_BYTES = 64 * 2**20

ContentKind = Literal["torch", "torch-legacy", "safetensors", "torchscript", "pt2", "zip", "onnx", "git-lfs", "unknown"]


@dataclass(frozen=True, slots=True)
class FileContent:
    """The bytes of a file, and what they look like."""

    path: Path
    data: bytes
    sha256: str
    kind: ContentKind


def read_model_file(path: Path) -> FileContent:
    """Read a regular file once and recognize it by its content; a zip is checked against the limits.

    Raises:
        InputRejected: absent, not a regular file, empty, too large, unreadable, or a suspicious zip.
    """
    data = read_regular(path)
    kind = _kind(path, data)
    return FileContent(path, data, hashlib.sha256(data).hexdigest(), kind)


def read_regular(path: Path, *, follow: bool = True) -> bytes:
    """The bytes of a regular file; unless `follow`, of none that is a link.

    Raises:
        InputRejected: absent, not a regular file, empty, too large or unreadable.
    """
    try:
        # Not blocking: opening a FIFO without a writer would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        link = not follow and getattr(error, "errno", None) == errno.ELOOP
        reason = "is a link, and links are not followed" if link else getattr(error, "strerror", None) or str(error)
        raise InputRejected(f"{path}: cannot be opened as a model ({reason})") from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise InputRejected(f"{path}: is a directory, expected a model file such as model.pt")
        if not stat.S_ISREG(status.st_mode):
            raise InputRejected(f"{path}: is not a regular file (FIFO, socket or device), expected a model file")
        if status.st_size > MAX_FILE_BYTES:
            raise InputRejected(f"{path}: {status.st_size} bytes, at most {MAX_FILE_BYTES} are read")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES)
    finally:
        os.close(descriptor)
    if not data:
        raise InputRejected(f"{path}: is empty; was the copy or download interrupted?")
    return data


def _kind(path: Path, data: bytes) -> ContentKind:
    if data.startswith(b"PK\x03\x04"):
        return _zip_kind(_checked_zip(path, data))
    if data.startswith(b"version https://git-lfs"):
        return "git-lfs"
    if _is_safetensors(data):
        return "safetensors"
    if data[:1] == b"\x80" and len(data) > 1 and data[1] in range(2, 6):
        return "torch-legacy"
    if _looks_like_onnx(data):
        return "onnx"
    return "unknown"


def _checked_zip(path: Path, data: bytes) -> list[str]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            _check_entries(path, entries, len(data))
            broken = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError, RuntimeError, zlib.error) as error:
        raise InputRejected(f"{path}: truncated or damaged ({error}); copy or download the file again") from error
    if broken is not None:
        raise InputRejected(f"{path}: damaged, the checksum of {broken!r} differs; copy or download the file again")
    return [entry.filename for entry in entries]


def _check_entries(path: Path, entries: list[zipfile.ZipInfo], file_size: int) -> None:
    if len(entries) > MAX_ZIP_ENTRIES:
        raise InputRejected(f"{path}: zip of {len(entries)} entries, at most {MAX_ZIP_ENTRIES} are accepted")
    names = [entry.filename for entry in entries]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputRejected(f"{path}: zip holds {twice!r} twice; readers would disagree which one counts")
    for name in names:
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise InputRejected(f"{path}: zip entry {name!r} leads out of the archive")
    if sum(entry.compress_size for entry in entries) > file_size:
        raise InputRejected(f"{path}: zip entries overlap: together they are larger than the file")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_FILE_BYTES or unpacked > MAX_ZIP_RATIO * file_size:
        raise InputRejected(
            f"{path}: zip unpacks {file_size} to {unpacked} bytes; at most {MAX_ZIP_RATIO} times "
            f"and {MAX_FILE_BYTES} bytes are accepted"
        )
    for entry in entries:
        if entry.filename.endswith(".pkl") and entry.file_size > MAX_PICKLE_BYTES:
            raise InputRejected(f"{path}: {entry.filename} has {entry.file_size} bytes, at most {MAX_PICKLE_BYTES}")


def _zip_kind(names: list[str]) -> ContentKind:
    inner = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "torchscript"
    if any(name.split("/")[-1] in ("archive_format", "serialized_exported_program.json") for name in names):
        return "pt2"
    return "torch" if "data.pkl" in inner else "zip"


def _is_safetensors(data: bytes) -> bool:
    header = int.from_bytes(data[:8], "little")
    return len(data) > 9 and data[8:9] == b"{" and 2 <= header <= 100_000_000


def _looks_like_onnx(data: bytes) -> bool:
    # ModelProto starts with field 1 (ir_version, a small varint), then a length-delimited or varint field 2..8.
    return len(data) > 4 and data[0] == 0x08 and 1 <= data[1] <= 32 and data[2] in (0x12, 0x1A, 0x22, 0x28, 0x3A, 0x42)

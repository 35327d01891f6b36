"""Writes that are there whole or not at all, also after a power cut."""

import errno
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from budgetc.errors import StorageFailed, UsageError

TEMPORARY_SUFFIX = ".tmp"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_counter = itertools.count()


def write_durably(path: Path, data: bytes) -> None:
    """Put `data` at `path`: a temporary file beside it, fsync, rename, fsync of the directory.

    Raises:
        StorageFailed: the disk is full; the old content of `path` is untouched.
        UsageError: the directory may not be written.
    """
    # Process ids repeat between the machines and containers that may share a store.
    unique = f"{os.getpid()}-{next(_counter)}-{os.urandom(4).hex()}"
    temporary = path.parent / f".{path.name}.{unique}{TEMPORARY_SUFFIX}"
    with storage_errors(path):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames in `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """fsync every file below `root`, then every directory."""
    for directory, _, names in os.walk(root, topdown=False):
        for name in names:
            with (Path(directory) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_directory(Path(directory))


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn what the file system says about `path` into a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        said = f"{path}: {error.strerror or error}"
        if error.errno in _FULL:
            raise StorageFailed(
                f"cannot write {said}. What was stored before is whole: free space (or raise the quota), "
                "then run the same command again to continue"
            ) from error
        if error.errno in _FORBIDDEN:
            raise UsageError(f"cannot write {said}. Choose a directory that this user may write") from error
        raise StorageFailed(f"cannot read or write {said}") from error

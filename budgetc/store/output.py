"""How OUT appears: whole, by rename, and never over somebody else's files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from budgetc.core.layout import ARTIFACT, OUT_FILES, REPORT_JSON
from budgetc.errors import UsageError
from budgetc.store.durable import storage_errors, sync_directory, sync_tree


def check_replaceable(final: Path) -> None:
    """Refuse a `final` that must not be written, before hours are spent on what should go there.

    Raises:
        UsageError: it is a file or a symbolic link, or holds anything that budgetc did not write.
    """
    if final.is_symlink() or (final.exists() and not final.is_dir()):
        raise UsageError(f"{final} is not a directory; the artifact needs one: move it away or choose another -o")
    if not final.exists():
        return
    found = set[str]()
    for name in _entries(final):
        if name not in OUT_FILES:
            raise UsageError(f"{final} holds {name!r}, which budgetc did not write: it stays. Choose another -o")
        found.add(name)
    if found and not found & {ARTIFACT, REPORT_JSON}:
        raise UsageError(f"{final} holds files but neither {ARTIFACT} nor {REPORT_JSON}: it stays. Choose another -o")


@contextmanager
def atomic_directory(final: Path) -> Iterator[Path]:
    """A new, empty directory beside `final` that becomes `final` when the block ends without an exception.

    An older artifact at `final` is replaced; after an exception everything is as it was. The caller holds the lock
    of the run directory that belongs to `final`, so no second process works on the same names.

    Raises:
        UsageError: `final` holds what budgetc did not write, or may not be written.
        StorageFailed: the disk is full.
    """
    final = Path(os.path.abspath(final))
    check_replaceable(final)
    old, new = final.with_name(f".{final.name}.old"), final.with_name(f".{final.name}.new")
    created = _missing_parents(final)
    try:
        with storage_errors(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            _recover(final, old, new)
            new.mkdir()
        yield new
        check_replaceable(final)
        with storage_errors(final):
            sync_tree(new)
            _swap(final, old, new)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        for parent in created:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise


def _swap(final: Path, old: Path, new: Path) -> None:
    if final.exists():
        final.rename(old)
    try:
        new.rename(final)
    except BaseException:
        if old.exists():
            old.rename(final)
        raise
    sync_directory(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def _recover(final: Path, old: Path, new: Path) -> None:
    """Undo what a kill between two renames left behind."""
    if old.exists() and not final.exists():
        old.rename(final)
    for leftover in (old, new):
        if leftover.exists():
            shutil.rmtree(leftover)


def _missing_parents(final: Path) -> list[Path]:
    return [parent for parent in final.parents if not parent.exists()]


def _entries(root: Path) -> Iterator[str]:
    """Relative names of everything below `root` but directories with content; links are never followed.

    Lazy: a directory of something else is given away by its first entries.
    """
    for directory, folders, names in os.walk(root):
        folders.sort()
        links = [name for name in folders if (Path(directory) / name).is_symlink()]
        for name in sorted([*names, *links]):
            yield (Path(directory) / name).relative_to(root).as_posix()
        if not folders and not names and directory != str(root):
            yield Path(directory).relative_to(root).as_posix() + "/"

"""Disk full and forbidden directories: a sentence, and the old content stays."""

import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetc.core.plan import fingerprint
from budgetc.errors import StorageFailed, UsageError
from budgetc.store.durable import storage_errors, write_durably
from budgetc.store.run_directory import RunDirectory

KEY = fingerprint("result")


@pytest.fixture
def full_after_4_kib() -> Iterator[None]:
    """No file may grow beyond 4 KiB, as on a disk that is full: the kernel itself says no."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


@pytest.mark.usefixtures("full_after_4_kib")
def test_a_full_disk_keeps_the_old_content(tmp_path: Path) -> None:
    """The write fails with what to do next; what was there is there, and no temporary file is."""
    path = tmp_path / "file"
    write_durably(path, b"old")
    with pytest.raises(StorageFailed, match=r"file: .*free space"):
        write_durably(path, b"x" * 10_000)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("full_after_4_kib")
def test_a_full_disk_keeps_log_and_results(tmp_path: Path) -> None:
    """A line that does not fit leaves no half of itself, and shorter ones still go in behind it."""
    with RunDirectory.open(tmp_path) as run:
        run.store.put_blob(KEY, b"old")
        run.record("before", {"text": "x" * 3000})
        with pytest.raises(StorageFailed):
            run.record("too long", {"text": "x" * 3000})
        with pytest.raises(StorageFailed):
            run.store.put_blob(KEY, b"x" * 10_000)
        run.record("after")
        assert run.store.get_blob(KEY) == b"old"
    with RunDirectory.open(tmp_path) as run:
        assert [(event.sequence, event.event) for event in run.events] == [(1, "before"), (2, "after")]
    assert not list(tmp_path.glob("events.damaged-*"))


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """The path stands in the message."""
    with pytest.raises(StorageFailed, match="gone/file"):
        write_durably(tmp_path / "gone" / "file", b"")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_forbidden_directory_is_a_usage_error(number: int) -> None:
    """The user chose it, and can choose another."""
    with pytest.raises(UsageError, match="Choose a directory that this user may write"), storage_errors(Path("/x")):
        raise OSError(number, os.strerror(number))

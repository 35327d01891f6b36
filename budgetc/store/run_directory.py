"""The run directory (`OUT.run/`): the one truth about a run, held by one process at a time."""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from budgetc.errors import Locked, UsageError
from budgetc.store.durable import storage_errors, write_durably
from budgetc.store.events import LOG, Clock, Event, EventLog, utc_now
from budgetc.store.shared import MARK, Store, check_store

_LOCK = "lock"
_OWNER = "owner"


class RunDirectory:
    """Log of one run, and the store with its results. Get one from `RunDirectory.open`."""

    def __init__(self, path: Path, log: EventLog, store: Store) -> None:
        """For `open`, which holds the lock."""
        self.path = path
        self.store = store
        self._log = log

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, store: Path | None = None, clock: Clock = utc_now) -> Iterator["RunDirectory"]:
        """Lock `path`, create or repair what is in it, and give it back at the end.

        Args:
            path: the run directory.
            store: where results are kept, shared with other runs; by default in the run directory itself.
            clock: gives the times in the log.

        Raises:
            Locked: another process holds it.
            UsageError: `path` or `store` is a file, may not be written, or is a directory of something else.
        """
        shared = None if store is None or store.resolve() == path.resolve() else store
        if shared is not None:
            check_store(shared)
        _create(path)
        lock = FileLock(path / _LOCK, timeout=0, thread_local=False)
        with storage_errors(path / _LOCK):
            try:
                lock.acquire()
            except Timeout as error:
                raise Locked(
                    f"{path}: {_owner(path)} works in this run directory. Wait for it to end, or choose another -o"
                ) from error
        try:
            write_durably(path / _OWNER, f"process {os.getpid()}".encode())
            if shared is None:
                (path / MARK).touch()  # a run directory is a store too, also for others
            with closing(EventLog(path, clock)) as log:

                def damaged(entry: str) -> None:
                    log.append("result damaged", {"entry": entry})

                with Store.open(shared or path, damaged=damaged) as opened:
                    yield cls(path, log, opened)
        finally:
            lock.release()

    @property
    def events(self) -> tuple[Event, ...]:
        """All events of this run directory, oldest first, earlier runs included."""
        return self._log.events

    def record(self, event: str, data: Mapping[str, object] | None = None) -> Event:
        """Append an event that survives a crash right after this call."""
        return self._log.append(event, data)

    def count_use(self, split_digest: str, inputs_digest: str) -> int:
        """Count an opening of a confirmation split: how many different inputs have opened it in this store.

        As `Store.count_use`; a new use also stands in the log.
        """
        uses, new = self.store.count_use(split_digest, inputs_digest)
        if new:
            self.record("confirmation opened", {"split": split_digest, "inputs": inputs_digest, "uses": uses})
        return uses


def _create(path: Path) -> None:
    with storage_errors(path):
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; a run directory is needed there: move it away or choose another -o")
        path.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in path.iterdir()}
    if names and not names & {LOG, _LOCK}:
        raise UsageError(f"{path} is not a run directory of budgetc (it holds {min(names)!r}): choose another -o")


def _owner(path: Path) -> str:
    try:
        return (path / _OWNER).read_text(encoding="ascii", errors="replace")[:80] or "another process"
    except OSError:
        return "another process"

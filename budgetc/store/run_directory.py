"""The run directory (`OUT.run/`): the one truth about a run, held by one process at a time."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from budgetc.errors import Locked, UsageError
from budgetc.store.durable import storage_errors, sync_directory, write_durably
from budgetc.store.events import LOG, Clock, Event, EventLog, utc_now
from budgetc.store.results import Damaged, Kind, Results, encode

_LOCK = "lock"
_OWNER = "owner"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class RunDirectory:
    """Log, results and opening counts of one run. Get one from `RunDirectory.open`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """For `open`, which holds the lock."""
        self.path = path
        self._log = EventLog(path, clock)
        self._results = Results(path / "results")

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, clock: Clock = utc_now) -> Iterator["RunDirectory"]:
        """Lock `path`, create or repair what is in it, and give it back at the end.

        Raises:
            Locked: another process holds it.
            UsageError: `path` is a file, may not be written, or is a directory of something else.
        """
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
            run = cls(path, clock)
            try:
                yield run
            finally:
                run._log.close()
        finally:
            lock.release()

    @property
    def events(self) -> tuple[Event, ...]:
        """All events of this run directory, oldest first, earlier runs included."""
        return self._log.events

    def record(self, event: str, data: Mapping[str, object] | None = None) -> Event:
        """Append an event that survives a crash right after this call."""
        return self._log.append(event, data)

    def get_json(self, key: str) -> object | None:
        """The plain data stored under `key`; None where there is none, or where it was damaged."""
        payload = self._read(key, "json")
        return None if payload is None else json.loads(payload)

    def put_json(self, key: str, value: object) -> None:
        """Store plain data under `key` (hex digits of `core.plan.fingerprint`). Never the result of a failed step."""
        self._results.write(key, "json", encode(value))

    def get_blob(self, key: str) -> bytes | None:
        """The bytes stored under `key`; None where there are none, or where they were damaged."""
        return self._read(key, "blob")

    def put_blob(self, key: str, payload: bytes) -> None:
        """Store bytes under `key` (hex digits of `core.plan.fingerprint`)."""
        self._results.write(key, "blob", payload)

    def count_use(self, split_digest: str, inputs_digest: str) -> int:
        """Count an opening of a confirmation split: how many different inputs have opened it, these included.

        The same inputs give the same result again, which tells nobody anything new: no second use.
        Both digests are 64 hex digits. Kept as one file a use, so that no damage to the log loses count.
        """
        for digest in (split_digest, inputs_digest):
            if _DIGEST.fullmatch(digest) is None:
                raise ValueError(f"a digest is 64 hex digits, found {digest!r}")
        directory = self.path / "confirmation" / split_digest
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            sync_directory(directory.parent)
            sync_directory(self.path)
            used = {entry.name for entry in directory.iterdir() if _DIGEST.fullmatch(entry.name)}
        if inputs_digest not in used:
            write_durably(directory / inputs_digest, b"")
            used.add(inputs_digest)
            self.record("confirmation opened", {"split": split_digest, "inputs": inputs_digest, "uses": len(used)})
        return len(used)

    def _read(self, key: str, kind: Kind) -> bytes | None:
        try:
            return self._results.read(key, kind)
        except Damaged as damaged:
            self.record("result damaged", {"entry": str(damaged)})
            return None


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

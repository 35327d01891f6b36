"""The store: results and opening counts that any number of runs share, at the same time if need be."""

import fcntl
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from budgetc.errors import UsageError
from budgetc.store.durable import storage_errors, sync_directory, write_durably
from budgetc.store.results import Damaged, Kind, Results, encode

MARK = "store.lock"
"""Every user of a store holds this file's lock, shared; who holds it alone may clear what crashes left behind."""
_DIGEST = re.compile(r"[0-9a-f]{64}")
Value = TypeVar("Value")


def ignore(entry: str) -> None:
    """A damaged entry is a miss that heals; nobody else needs to hear of it."""


class Store:
    """Content-addressed results below `results/`, uses of confirmation splits below `confirmation/`.

    Writes are whole or not at all, and a key always means the same content, so processes need no lock between them:
    two that compute the same thing at once write the same thing twice. Get one from `Store.open`.
    """

    def __init__(self, root: Path, *, leftovers: bool, damaged: Callable[[str], None] = ignore) -> None:
        """For `open`, which holds the lock; `leftovers` of interrupted writes are cleared by its only user."""
        self.root = root
        self._results = Results(root / "results", clear=leftovers)
        self._damaged = damaged

    @classmethod
    @contextmanager
    def open(cls, root: Path, *, damaged: Callable[[str], None] = ignore) -> Iterator["Store"]:
        """Use the store at `root`, which is created where it is not there.

        Args:
            root: its directory.
            damaged: gets the name of every entry that was not what had been written.

        Raises:
            UsageError: `root` is a file, may not be written, or is a directory of something else.
        """
        check_store(root)
        with storage_errors(root):
            root.mkdir(parents=True, exist_ok=True)
            lock = (root / MARK).open("a")
        with lock:
            with storage_errors(root / MARK):
                store = cls(root, leftovers=_try_alone(lock.fileno()), damaged=damaged)
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield store

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

    def cached(self, key: str, kind: type[Value], compute: Callable[[], Value]) -> Value:
        """What is stored under `key`, else what `compute` returns, which is then stored; an exception stores nothing.

        Args:
            key: fingerprint of everything that the result depends on.
            kind: what pydantic reads it back as: a model, a dataclass, or such as `dict[str, Measurement]`.
            compute: called on a miss; an entry that is damaged, or of another shape, is one.
        """
        shape = TypeAdapter(kind)
        stored = self.get_json(key)
        if stored is not None:
            try:
                return shape.validate_python(stored)
            except ValidationError:
                self._damaged(key)
        value = compute()
        self.put_json(key, shape.dump_python(value, mode="json"))
        return value

    def count_use(self, split_digest: str, inputs_digest: str) -> tuple[int, bool]:
        """Count an opening of a confirmation split: how many different inputs have opened it, and if these are new.

        The same inputs give the same result again, which tells nobody anything new: no second use.
        Both digests are 64 hex digits. Kept as one file a use, so that no damage to a log loses count.
        """
        for digest in (split_digest, inputs_digest):
            if _DIGEST.fullmatch(digest) is None:
                raise ValueError(f"a digest is 64 hex digits, found {digest!r}")
        directory = self.root / "confirmation" / split_digest
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            sync_directory(directory.parent)
            sync_directory(self.root)
            new = not (directory / inputs_digest).exists()
        if new:
            write_durably(directory / inputs_digest, b"")
        # Counted after the write: of two runs that open it at the same time, one sees both.
        return self.uses(split_digest, inputs_digest), new

    def uses(self, split_digest: str, inputs_digest: str) -> int:
        """How many different inputs have opened a confirmation split so far; 0 where these have not opened it."""
        directory = self.root / "confirmation" / split_digest
        with storage_errors(directory):
            if not (directory / inputs_digest).exists():
                return 0
            return sum(_DIGEST.fullmatch(entry.name) is not None for entry in directory.iterdir())

    def _read(self, key: str, kind: Kind) -> bytes | None:
        try:
            return self._results.read(key, kind)
        except Damaged as damaged:
            self._damaged(str(damaged))
            return None


def check_store(root: Path) -> None:
    """Refuse a directory that is no store, before hours are spent.

    Raises:
        UsageError: it is a file, or holds something else.
    """
    with storage_errors(root):
        if root.exists() and not root.is_dir():
            raise UsageError(f"{root} is a file; a store is a directory: move it away or choose another --store")
        names = {entry.name for entry in root.iterdir()} if root.exists() else set()
    if names and MARK not in names:
        raise UsageError(f"{root} is not a store of budgetc (it holds {min(names)!r}): choose another --store")


def _try_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

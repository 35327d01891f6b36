"""Content-addressed results: the key says what was computed from what, the entry proves that it is whole."""

import hashlib
import json
import re
from pathlib import Path
from typing import Literal

from budgetc.store.durable import TEMPORARY_SUFFIX, storage_errors, write_durably

Kind = Literal["json", "blob"]
_KEY = re.compile(r"[0-9a-f]{64}")
_MAGIC = "budgetc-result/1"


class Damaged(Exception):
    """An entry is there but not what was written; never leaves the store."""


class Results:
    """Entries below `results/`: a header line (kind, key, digest, size), then the payload."""

    def __init__(self, root: Path, *, clear: bool) -> None:
        """Use `root`, and `clear` what writes interrupted by a crash left there: only where nobody else writes now."""
        self._root = root
        with storage_errors(root):
            root.mkdir(exist_ok=True)
            for leftover in root.glob(f"*/.*{TEMPORARY_SUFFIX}") if clear else ():
                leftover.unlink(missing_ok=True)

    def read(self, key: str, kind: Kind) -> bytes | None:
        """The payload of `key`, or None where there is none.

        Raises:
            Damaged: the entry does not match its own header; the caller treats it as a miss.
        """
        path = self._path(key, kind)
        with storage_errors(path):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                return None
            except IsADirectoryError as error:
                raise Damaged(path.name) from error
        header, _, payload = content.partition(b"\n")
        if header != _header(key, kind, payload):
            raise Damaged(path.name)
        return payload

    def write(self, key: str, kind: Kind, payload: bytes) -> None:
        """Store `payload` under `key`, replacing what is there."""
        path = self._path(key, kind)
        with storage_errors(path):
            path.parent.mkdir(exist_ok=True)
            if path.is_dir():
                path.rmdir()
        write_durably(path, _header(key, kind, payload) + b"\n" + payload)

    def _path(self, key: str, kind: Kind) -> Path:
        if _KEY.fullmatch(key) is None:
            raise ValueError(f"a key is the 64 hex digits of core.plan.fingerprint, found {key!r}")
        return self._root / key[:2] / f"{key}.{kind}"


def encode(value: object) -> bytes:
    """Plain data as JSON bytes.

    Raises:
        TypeError, ValueError: `value` is None (a miss looks the same), holds NaN or infinity, or is not plain data
            that reads back as itself.
    """
    if value is None:
        raise ValueError("None cannot be stored: reading it back would look like a miss")
    text = json.dumps(value, allow_nan=False, ensure_ascii=True)
    if json.loads(text) != value:
        raise TypeError("only plain data that reads back as itself can be stored: no tuples, no keys but strings")
    return text.encode()


def _header(key: str, kind: Kind, payload: bytes) -> bytes:
    return f"{_MAGIC} {kind} {key} {hashlib.sha256(payload).hexdigest()} {len(payload)}".encode()

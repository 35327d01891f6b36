"""`events.jsonl`: what happened in a run, one checksummed line an event, only ever appended to."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from budgetc.core.plan import fingerprint
from budgetc.store.durable import storage_errors, sync_directory, write_durably

LOG = "events.jsonl"
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The clock of a real run; tests pass their own."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. Order follows from `sequence`: clocks jump."""

    sequence: int
    event: str
    utc: str
    """ISO 8601."""
    data: Mapping[str, object]

    def line(self) -> bytes:
        """The event as it stands in the log, its checksum and line end included."""
        body = {"sequence": self.sequence, "event": self.event, "utc": self.utc, "data": dict(self.data)}
        body["sha256"] = fingerprint(body)
        return json.dumps(body, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode() + b"\n"


def parse_line(line: bytes) -> Event | None:
    """The event of one line without its line end, or None where the line is torn or altered."""
    try:
        body = json.loads(line)
        stated = body.pop("sha256")
        if fingerprint(body) != stated:
            return None
        event = Event(**body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    # The round trip also refuses what json.loads is lenient about: repeated keys, spaces, NaN.
    return event if _is_same(event, line) else None


def _is_same(event: Event, line: bytes) -> bool:
    try:
        return type(event.sequence) is int and event.line() == line + b"\n"
    except (ValueError, TypeError):
        return False


@dataclass(frozen=True, slots=True)
class Parsed:
    """A log taken apart: what checks out, and the bytes that do not."""

    events: tuple[Event, ...]
    damaged: bytes


def parse_log(content: bytes) -> Parsed:
    """Every line that checks out, in order; torn, altered and repeated lines are `damaged`."""
    events, damaged = list[Event](), list[bytes]()
    *lines, tail = content.split(b"\n")
    for line in lines:
        event = parse_line(line)
        if event is None or (events and event.sequence <= events[-1].sequence):
            damaged.append(line + b"\n")
        else:
            events.append(event)
    return Parsed(events=tuple(events), damaged=b"".join(damaged) + tail)


class EventLog:
    """The log of one run directory; only the process that holds its lock may use it."""

    def __init__(self, directory: Path, clock: Clock = utc_now) -> None:
        """Read the log, create it, or repair it: damaged bytes move to a file of their own beside it."""
        self._path = directory / LOG
        self._clock = clock
        self._guard = threading.Lock()
        with storage_errors(self._path):
            content = self._path.read_bytes() if self._path.exists() else b""
        parsed = parse_log(content)
        self._events = list(parsed.events)
        if parsed.damaged:
            self._set_aside(parsed.damaged)
        with storage_errors(self._path):
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            sync_directory(directory)

    @property
    def events(self) -> tuple[Event, ...]:
        """All events so far, oldest first."""
        return tuple(self._events)

    def append(self, event: str, data: Mapping[str, object] | None = None) -> Event:
        """Record `event` so that it survives a crash right after this call.

        Raises:
            StorageFailed: the disk is full; the log ends with the event before.
            TypeError, ValueError: `data` is not plain JSON data.
        """
        with self._guard:
            sequence = self._events[-1].sequence + 1 if self._events else 1
            utc = self._clock().astimezone(UTC).isoformat(timespec="milliseconds")
            line = Event(sequence, event, utc, data or {}).line()
            recorded = parse_line(line[:-1])
            if recorded is None:
                raise TypeError(f"event {event!r}: data must be plain JSON that reads back as itself")
            self._write(line)
            self._events.append(recorded)
            return recorded

    def close(self) -> None:
        """Release the file; appending afterwards is an error."""
        os.close(self._descriptor)

    def _write(self, line: bytes) -> None:
        with storage_errors(self._path):
            end = os.fstat(self._descriptor).st_size
            try:
                written = 0
                while written < len(line):
                    written += os.write(self._descriptor, line[written:])
                os.fsync(self._descriptor)
            except BaseException:
                # Half a line would swallow the next one.
                os.ftruncate(self._descriptor, end)
                raise

    def _set_aside(self, damaged: bytes) -> None:
        number = 1
        while (aside := self._path.with_name(f"events.damaged-{number}")).exists():
            number += 1
        # First the copy, then the repaired log: a crash between the two loses nothing.
        write_durably(aside, damaged)
        write_durably(self._path, b"".join(event.line() for event in self._events))

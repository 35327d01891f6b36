"""The event log: append-only, checksummed, and it survives any damage to its bytes."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budgetc.store.events import LOG, EventLog, parse_log

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DATA = st.dictionaries(st.text(), JSON, max_size=4)
reuses_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)


def write_log(directory: Path, *names: str) -> bytes:
    log = EventLog(directory)
    for name in names:
        log.append(name, {"of": name})
    log.close()
    return (directory / LOG).read_bytes()


def reopened(directory: Path) -> list[str]:
    log = EventLog(directory)
    log.close()
    return [event.event for event in log.events]


@reuses_tmp_path
@given(entries=st.lists(st.tuples(st.text(min_size=1), DATA), max_size=6))
def test_what_was_appended_reads_back(tmp_path: Path, entries: list[tuple[str, dict[str, object]]]) -> None:
    """Any names and plain JSON data come back in order, numbered from 1."""
    (tmp_path / LOG).unlink(missing_ok=True)
    log = EventLog(tmp_path)
    for name, data in entries:
        log.append(name, data)
    log.close()
    again = EventLog(tmp_path)
    again.close()
    assert [(e.sequence, e.event, e.data) for e in again.events] == [
        (number, name, data) for number, (name, data) in enumerate(entries, 1)
    ]
    assert not list(tmp_path.glob("events.damaged-*"))


@reuses_tmp_path
@given(cut=st.integers(min_value=0, max_value=1000))
def test_a_torn_tail_is_cut_and_kept_aside(tmp_path: Path, cut: int) -> None:
    """Cut anywhere, as kill -9 or a power cut does: whole lines stay, the rest lies beside the log."""
    for old in tmp_path.iterdir():
        old.unlink()
    whole = write_log(tmp_path, "one", "two", "three")
    cut = min(cut, len(whole))
    (tmp_path / LOG).write_bytes(whole[:cut])
    complete = whole[:cut].count(b"\n")
    assert reopened(tmp_path) == ["one", "two", "three"][:complete]
    tail = whole[:cut].rpartition(b"\n")[2]
    aside = list(tmp_path.glob("events.damaged-*"))
    assert [path.read_bytes() for path in aside] == ([tail] if tail else [])


@reuses_tmp_path
@given(position=st.integers(min_value=0), flip=st.integers(min_value=1, max_value=255))
def test_one_altered_byte_never_alters_an_event(tmp_path: Path, position: int, flip: int) -> None:
    """Whatever byte changes, every event that is still read is one that was written."""
    for old in tmp_path.iterdir():
        old.unlink()
    whole = bytearray(write_log(tmp_path, "one", "two", "three"))
    before = {line for line in bytes(whole).split(b"\n")}
    whole[position % len(whole)] ^= flip
    (tmp_path / LOG).write_bytes(bytes(whole))
    reopened(tmp_path)
    assert set((tmp_path / LOG).read_bytes().split(b"\n")) <= before


@given(st.binary(max_size=400))
def test_any_bytes_can_be_taken_apart(content: bytes) -> None:
    """Garbage is damage, not a crash, and none of it is lost."""
    parsed = parse_log(content)
    assert parsed.events == ()
    assert parsed.damaged == content


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    """Later lines stay, with their own numbers: the gap shows that one is missing."""
    one, two, three, _ = write_log(tmp_path, "one", "two", "three").split(b"\n")
    (tmp_path / LOG).write_bytes(b"\n".join([one, two.replace(b"two", b"2wo"), three, b""]))
    log = EventLog(tmp_path)
    log.close()
    assert [(event.sequence, event.event) for event in log.events] == [(1, "one"), (3, "three")]


def test_a_repeated_line_counts_once(tmp_path: Path) -> None:
    """A line copied to the end does not happen a second time."""
    content = write_log(tmp_path, "one", "two")
    (tmp_path / LOG).write_bytes(content + content.splitlines(keepends=True)[0])
    assert reopened(tmp_path) == ["one", "two"]


def test_numbers_go_on_after_a_repair(tmp_path: Path) -> None:
    """Appending to a repaired log continues behind the last whole line, and a second damage gets its own file."""
    for round_ in (1, 2):
        with (tmp_path / LOG).open("ab") as file:
            file.write(b'{"sequence": 9')
        log = EventLog(tmp_path)
        assert log.append("next").sequence == round_
        log.close()
    assert sorted(path.name for path in tmp_path.glob("events.damaged-*")) == ["events.damaged-1", "events.damaged-2"]


def test_order_does_not_depend_on_the_clock(tmp_path: Path) -> None:
    """A clock that jumps back to 1970 leaves the order alone."""
    times = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)])
    log = EventLog(tmp_path, clock=lambda: next(times))
    log.append("first")
    log.append("second")
    log.close()
    assert reopened(tmp_path) == ["first", "second"]
    assert json.loads((tmp_path / LOG).read_bytes().splitlines()[1])["utc"].startswith("1970-01-01T00:00:00")


@pytest.mark.parametrize("data", [{"x": float("nan")}, {"x": object()}, {"x": b"bytes"}])
def test_data_that_is_not_json_is_refused(tmp_path: Path, data: dict[str, object]) -> None:
    """Nothing is written that could not be read back."""
    log = EventLog(tmp_path)
    with pytest.raises((TypeError, ValueError)):
        log.append("bad", data)
    log.append("good")
    log.close()
    assert reopened(tmp_path) == ["good"]

"""The run directory: one process at a time, nothing lost, damage is a miss."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from budgetc.core.plan import fingerprint
from budgetc.errors import Locked, UsageError
from budgetc.store.run_directory import RunDirectory

KEY = fingerprint("some result")
OTHER = fingerprint("another result")

HOLD = """
import sys, time
from pathlib import Path
from budgetc.store.run_directory import RunDirectory
with RunDirectory.open(Path(sys.argv[1])) as run:
    run.record("holding")
    print("held", flush=True)
    time.sleep(60)
"""
WRITE = """
import sys
from pathlib import Path
from budgetc.core.plan import fingerprint
from budgetc.store.run_directory import RunDirectory
with RunDirectory.open(Path(sys.argv[1])) as run:
    print("writing", flush=True)
    for number in range(100_000):
        run.store.put_blob(fingerprint(number % 7), bytes([number % 7]) * 50_000)
        run.record("wrote", {"number": number})
"""


def entry(directory: Path, key: str, kind: str) -> Path:
    return directory / "results" / key[:2] / f"{key}.{kind}"


def start(script: str, directory: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() in {"held", "writing"}
    return process


def test_a_second_process_is_locked_out(tmp_path: Path) -> None:
    """The message names the directory and the process that holds it; the exit code is 7."""
    process = start(HOLD, tmp_path / "out.run")
    try:
        with (
            pytest.raises(Locked, match=rf"out\.run: process {process.pid} works in this run directory") as caught,
            RunDirectory.open(tmp_path / "out.run"),
        ):
            pass
        assert caught.value.exit_code == 7
    finally:
        process.kill()
        process.communicate()
    with RunDirectory.open(tmp_path / "out.run") as run:
        assert [event.event for event in run.events] == ["holding"]


def test_the_lock_also_holds_within_one_process(tmp_path: Path) -> None:
    """A library user who opens the directory twice is told so, and the first opening goes on."""
    with RunDirectory.open(tmp_path) as run:
        with pytest.raises(Locked), RunDirectory.open(tmp_path):
            pass
        run.record("still here")
    with RunDirectory.open(tmp_path) as run:
        assert [event.event for event in run.events] == ["still here"]


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.13])
def test_kill_9_loses_nothing_that_was_recorded(tmp_path: Path, delay: float) -> None:
    """Killed in the middle of writing: whole results or misses, a log without gaps, no temporary files."""
    process = start(WRITE, tmp_path)
    time.sleep(delay)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with RunDirectory.open(tmp_path) as run:
        wrote = [event.data["number"] for event in run.events]
        assert wrote == list(range(len(wrote)))
        for number in wrote:
            assert isinstance(number, int)
            assert run.store.get_blob(fingerprint(number % 7)) == bytes([number % 7]) * 50_000
    assert not list(tmp_path.glob("**/*.tmp"))


def test_results_come_back_in_the_next_run(tmp_path: Path) -> None:
    """JSON and bytes live under their keys; the same key may hold one of each."""
    value = {"auroc": 0.97, "trail": [1, "two", None], "ä": "ö"}
    with RunDirectory.open(tmp_path) as run:
        run.store.put_json(KEY, value)
        run.store.put_blob(KEY, b"\x00\n\r\nbytes")
    with RunDirectory.open(tmp_path) as run:
        assert run.store.get_json(KEY) == value
        assert run.store.get_blob(KEY) == b"\x00\n\r\nbytes"
        assert run.store.get_json(OTHER) is None
        assert run.store.get_blob(OTHER) is None


def test_writing_again_replaces(tmp_path: Path) -> None:
    """The last value wins."""
    with RunDirectory.open(tmp_path) as run:
        run.store.put_json(KEY, 1)
        run.store.put_json(KEY, 2)
        assert run.store.get_json(KEY) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(garbage=st.binary(max_size=200))
def test_garbage_in_an_entry_is_a_miss_that_heals(tmp_path: Path, garbage: bytes) -> None:
    """Whatever the entry holds, reading gives None, the log says so, and writing it again works."""
    with RunDirectory.open(tmp_path) as run:
        run.store.put_blob(KEY, b"payload")
        entry(tmp_path, KEY, "blob").write_bytes(garbage)
        assert run.store.get_blob(KEY) is None
        assert run.events[-1].event == "result damaged"
        run.store.put_blob(KEY, b"payload")
        assert run.store.get_blob(KEY) == b"payload"


def test_every_cut_of_an_entry_is_a_miss(tmp_path: Path) -> None:
    """Truncated anywhere, an entry never reads as a shorter result."""
    with RunDirectory.open(tmp_path) as run:
        run.store.put_json(KEY, {"n": 12345})
        path = entry(tmp_path, KEY, "json")
        whole = path.read_bytes()
        for cut in range(len(whole)):
            path.write_bytes(whole[:cut])
            assert run.store.get_json(KEY) is None


def test_an_entry_under_another_name_is_a_miss(tmp_path: Path) -> None:
    """A result copied to another key is not that key's result."""
    with RunDirectory.open(tmp_path) as run:
        run.store.put_blob(KEY, b"payload")
        elsewhere = entry(tmp_path, OTHER, "blob")
        elsewhere.parent.mkdir(exist_ok=True)
        entry(tmp_path, KEY, "blob").rename(elsewhere)
        assert run.store.get_blob(OTHER) is None


def test_a_directory_in_place_of_an_entry_heals(tmp_path: Path) -> None:
    """Even that is a miss."""
    with RunDirectory.open(tmp_path) as run:
        entry(tmp_path, KEY, "blob").mkdir(parents=True)
        assert run.store.get_blob(KEY) is None
        run.store.put_blob(KEY, b"payload")
        assert run.store.get_blob(KEY) == b"payload"


@pytest.mark.parametrize("value", [None, float("nan"), {1: "integer key"}, (1, 2), object()])
def test_only_plain_data_is_stored(tmp_path: Path, value: object) -> None:
    """What would not read back as itself is refused when it is written."""
    with RunDirectory.open(tmp_path) as run:
        with pytest.raises((TypeError, ValueError)):
            run.store.put_json(KEY, value)
        assert run.store.get_json(KEY) is None


@pytest.mark.parametrize("key", ["", "../../etc/passwd", KEY[:-1], KEY.upper(), KEY + "\n"])
def test_a_key_is_a_digest(tmp_path: Path, key: str) -> None:
    """No key leads out of the run directory."""
    with RunDirectory.open(tmp_path) as run, pytest.raises(ValueError, match="64 hex digits"):
        run.store.get_blob(key)


def test_openings_of_confirmation_data_are_counted(tmp_path: Path) -> None:
    """Other inputs are another use; the same inputs again are none; other splits count on their own; runs add up."""
    split, other_split = fingerprint("split"), fingerprint("other split")
    with RunDirectory.open(tmp_path) as run:
        assert run.count_use(split, fingerprint("a")) == 1
        assert run.count_use(split, fingerprint("a")) == 1
        assert run.count_use(split, fingerprint("b")) == 2
    with RunDirectory.open(tmp_path) as run:
        assert run.count_use(other_split, fingerprint("a")) == 1
        assert run.count_use(split, fingerprint("b")) == 2
        assert run.count_use(split, fingerprint("c")) == 3


def test_asking_for_the_count_opens_nothing(tmp_path: Path) -> None:
    """Inputs that never opened a split have no uses of it, whatever others did; theirs are all uses so far."""
    split = fingerprint("split")
    with RunDirectory.open(tmp_path / "run") as run:
        run.count_use(split, fingerprint("a"))
        assert run.store.uses(split, fingerprint("b")) == 0
        assert run.store.uses(split, fingerprint("a")) == 1
        run.count_use(split, fingerprint("b"))
        assert run.store.uses(split, fingerprint("a")) == 2


def test_losing_the_log_does_not_lose_count(tmp_path: Path) -> None:
    """A destroyed log cannot make used confirmation data look fresh."""
    split = fingerprint("split")
    with RunDirectory.open(tmp_path) as run:
        run.count_use(split, fingerprint("a"))
    (tmp_path / "events.jsonl").write_bytes(b"garbage")
    with RunDirectory.open(tmp_path) as run:
        assert run.events == ()
        assert run.count_use(split, fingerprint("b")) == 2


def test_a_file_in_place_of_the_run_directory(tmp_path: Path) -> None:
    """Refused, and the file stays."""
    path = tmp_path / "out.run"
    path.write_text("mine")
    with pytest.raises(UsageError, match=r"out\.run is a file"), RunDirectory.open(path):
        pass
    assert path.read_text() == "mine"


def test_a_directory_of_something_else(tmp_path: Path) -> None:
    """Refused, and nothing is added to it."""
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"not a run directory of budgetc \(it holds 'thesis.tex'\)"):
        RunDirectory.open(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_exception_in_the_run_passes_through(tmp_path: Path) -> None:
    """What the run raises is what the caller sees, and the lock is free again."""
    with pytest.raises(FileNotFoundError, match="model"), RunDirectory.open(tmp_path):
        raise FileNotFoundError("model")
    with RunDirectory.open(tmp_path):
        pass


def test_five_thousand_results_reopen_fast(tmp_path: Path) -> None:
    """A run with 5,000 candidates is open again in under two seconds of computing."""
    with RunDirectory.open(tmp_path) as run:
        run.store.put_blob(KEY, b"x")
        template = entry(tmp_path, KEY, "blob").read_bytes()
        run.record("candidate priced", {"size": 0})
        last = run.events[-1]
    lines = []
    for number in range(5000):
        key = fingerprint(number)
        path = entry(tmp_path, key, "blob")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(template.replace(KEY.encode(), key.encode()))
        lines.append(type(last)(number + 1, "candidate priced", last.utc, {"size": number}).line())
    (tmp_path / "events.jsonl").write_bytes(b"".join(lines))
    begin = time.process_time()
    with RunDirectory.open(tmp_path) as run:
        assert len(run.events) == 5000
    assert time.process_time() - begin < 2

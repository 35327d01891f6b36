"""A real sshd on loopback: what a board and its link can do wrong."""

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from budgetc.errors import InputRejected, Locked, TargetUnreachable
from budgetc.measurement.board import board as board_module
from budgetc.measurement.board.address import Address
from budgetc.measurement.board.board import Board
from budgetc.measurement.board.job import Job
from budgetc.measurement.board.link import Cut
from budgetc.measurement.board.meter import memory_part, screen_part, soak_part
from budgetc.runtime import load_artifact
from tests.loopback import Loopback

SLOW = pytest.mark.slow
SOAK = soak_part("artifact", 0.02, row_s=0.5)


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    """Run an action beside; its failure is the test's."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed, failed


def test_scores_times_and_memory_come_back(board: Loopback, job: Job) -> None:
    """The scores are those of this machine, every raw sample is there, and nothing stays on the board."""
    parts = (*job.do, memory_part("artifact", 2), screen_part("artifact", 60))
    found = board.board().run(replace(job, do=parts))
    artifact = load_artifact(job.subjects["artifact"])
    assert found.scores("artifact") == pytest.approx([artifact.score(image).score for image in job.images])
    measured = {**found.screened("artifact", "board"), **found.memory("artifact", "board")}
    assert {"latency_p50", "latency_p95", "peak_memory", "model_memory"} <= set(measured)
    assert {(one.kind, one.device) for one in measured.values()} == {("measured", "board")}
    assert (measured["latency_p50"].n, measured["peak_memory"].n) == (60, 2)
    assert found.board["python"] and found.versions["onnxruntime"]
    assert list(board.jobs.iterdir()) == []


@pytest.mark.parametrize(
    "state", [pytest.param("*.zip", marks=SLOW), "*/log.txt", pytest.param("*/results.json", marks=SLOW)]
)
def test_a_cut_link_loses_nothing(board: Loopback, job: Job, state: str) -> None:
    """Cut while it uploads, runs or ends: the job is found again, runs once, and the results are fetched."""
    said: list[str] = []
    reached = board.board(said=said)
    assert reached.facts

    def cut() -> None:
        board.wait_for(state)
        board.cut()

    with meanwhile(cut):
        found = reached.run(replace(job, do=(*job.do, SOAK)))
    assert len(found.scores("artifact")) == len(job.images)
    assert not any("starting it again" in sentence for sentence in said)


@SLOW
def test_links_that_break_all_the_time(board: Loopback, job: Job) -> None:
    """Cut several times in one job."""
    said: list[str] = []
    reached = board.board(said=said)
    assert reached.facts

    def saw() -> None:
        board.wait_for("*/log.txt")
        for _ in range(4):
            board.cut()
            time.sleep(0.4)

    with meanwhile(saw):
        assert reached.run(replace(job, do=(SOAK, *job.do))).scores("artifact")
    assert any("the link is cut" in sentence for sentence in said)


@SLOW
def test_an_interrupted_upload_goes_on(board: Loopback, job: Job) -> None:
    """What arrived is not sent again; what arrived damaged is."""
    packed = job.packed()
    board.jobs.mkdir(parents=True, exist_ok=True)
    for arrived in (packed.data[:1000], b"x" * 1000, packed.data + b"x"):
        (board.jobs / f"{packed.id}.zip").write_bytes(arrived)
        assert board.board().run(job).scores("artifact")


@SLOW
def test_a_restart_of_the_board_starts_the_job_again(board: Loopback, job: Job) -> None:
    """Its processes are gone, its files are there; said once."""
    said: list[str] = []
    slow = replace(job, do=(*job.do, {**SOAK, "minutes": 0.1}))

    def restart() -> None:
        for pid in _running(board.wait_for("*/log.txt").parent):
            os.kill(pid, signal.SIGKILL)
        board.cut()

    reached = board.board(said=said)
    with meanwhile(restart):
        assert reached.run(slow).scores("artifact")
    assert sum("starting it again" in sentence for sentence in said) <= 1


def _running(place: Path) -> list[int]:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        lines = [
            (int(path.parent.name), path.read_bytes()) for path in Path("/proc").glob("[0-9]*/cmdline") if _lives(path)
        ]
        found = [pid for pid, line in lines if str(place).encode() in line]
        if any(b"worker.py" in line for pid, line in lines if pid in found):
            return found
    raise AssertionError("the job does not run")


def _lives(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


def test_noise_of_a_login_is_no_answer(board: Loopback, job: Job) -> None:
    """A .bashrc that prints, even what looks like an answer, disturbs neither answers nor files."""
    (board.home / ".noise").write_bytes(b'\n@@0123 {"state": "done"}\nWelcome!\xff\xfe\x1b[31m\n')
    assert board.board().run(job).scores("artifact")


def test_a_wrong_host_key_is_refused(board: Loopback) -> None:
    """And at once: the key is checked, whatever the user's own options say."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", board.folder / "other"], check=True)
    host, _, _ = board.known_hosts.read_text().split(" ")
    key = (board.folder / "other.pub").read_text().split()
    board.known_hosts.write_text(f"{host} {key[0]} {key[1]}\n")
    for name in ("other", "other.pub"):
        (board.folder / name).unlink()
    with pytest.raises(TargetUnreachable, match=r"host key is not the known one.*ssh-keygen -R"):
        _ = board.board().facts


def test_an_unknown_host_key_is_refused(board: Loopback) -> None:
    """Nobody is trusted at first sight."""
    board.known_hosts.write_text("")
    with pytest.raises(TargetUnreachable, match="ssh-keyscan"):
        _ = board.board().facts


def test_a_key_that_is_not_accepted(board: Loopback) -> None:
    """No password is asked for."""
    address = replace(board.address(), options=tuple(board.options.replace(f"{board.folder}/user", "/nowhere").split()))
    with pytest.raises(TargetUnreachable, match="ssh-copy-id"):
        _ = Board(address).facts


def test_nobody_listens() -> None:
    """Said at once, with what to do."""
    with pytest.raises(TargetUnreachable, match=r"Connection refused.*--kit"):
        _ = Board(Address("127.0.0.1", port=9, options=("-F", "none"))).facts


def test_no_python(board: Loopback) -> None:
    """The address says which."""
    with pytest.raises(TargetUnreachable, match=r"python3\.99 does not start there.*\?python=PATH"):
        _ = Board(replace(board.address(), python="python3.99")).facts


def test_a_missing_runtime_is_named(board: Loopback, tmp_path: Path) -> None:
    """A Python without onnxruntime: what to install, and where."""
    bare = board.home / "bin" / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(
        TargetUnreachable, match=r"no numpy onnxruntime pillow .*-m pip install numpy onnxruntime pillow"
    ):
        _ = Board(replace(board.address(), python=str(bare))).facts


def test_an_old_onnxruntime_is_named(board: Loopback, job: Job) -> None:
    """Before anything is sent: a graph of opset 17 does not load in it."""
    reached = board.board()
    reached.facts["versions"]["onnxruntime"] = "1.10.0"
    with pytest.raises(TargetUnreachable, match=r"has onnxruntime 1\.10\.0, and the graph needs 1\.12 or newer"):
        reached.run(job)
    assert not board.jobs.exists() or list(board.jobs.iterdir()) == []


def test_a_missing_tensorrt_is_named(board: Loopback) -> None:
    """It comes with JetPack, not with pip."""
    reached = board.board()
    reached.runtime = "tensorrt"
    with pytest.raises(TargetUnreachable, match=r"no tensorrt trtexec .*comes with JetPack"):
        _ = reached.facts


def test_an_old_python_is_named(board: Loopback) -> None:
    """3.6 is the oldest; one that lacks what the rest of the question needs is named all the same."""
    old = board.home / "bin" / "old"
    two = "s/^import json.*/&; sys.version_info = (2, 7, 18)/"
    old.write_text(f'#!/bin/sh\nsed "{two}" | exec {sys.executable} "$@"\n')
    old.chmod(0o755)
    with pytest.raises(TargetUnreachable, match=r"Python 2\.7\.18, and 3\.6 is needed"):
        _ = Board(replace(board.address(), python=str(old))).facts


def test_a_full_disk_is_seen_before_anything_is_sent(
    board: Loopback, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what is free and what is needed."""
    monkeypatch.setattr(board_module, "_ROOM", (3, 2**60))
    with pytest.raises(TargetUnreachable, match=r"are free in the home directory, .* are needed"):
        board.board().run(job)
    assert not board.jobs.exists() or list(board.jobs.iterdir()) == []


def test_a_disk_that_fills_up_while_sending(board: Loopback, job: Job) -> None:
    """What the board said is passed on."""
    (board.home / ".limits").write_text("ulimit -f 2; trap '' XFSZ\n")
    with pytest.raises(TargetUnreachable, match=r"cannot be written: .*; free space there"):
        board.board().run(job)


def test_the_clock_of_the_board_does_not_matter(board: Loopback, job: Job) -> None:
    """It starts in 1970, and jumps."""
    wrong = board.home / "bin" / "wrong"
    wrong.write_text(f'#!/bin/sh\nPYTHONPATH={board.home}/clock; export PYTHONPATH\nexec {sys.executable} "$@"\n')
    wrong.chmod(0o755)
    (board.home / "clock").mkdir(exist_ok=True)
    (board.home / "clock" / "sitecustomize.py").write_text("import time\ntime.time = lambda: 12.0\n")
    reached = Board(replace(board.address(), python=str(wrong)), patience=20.0)
    assert reached.run(job).scores("artifact")


def test_two_users_at_once(board: Loopback, job: Job) -> None:
    """The second one is told, and can wait instead."""
    lock = os.open(board.home / "board.lock", os.O_RDONLY | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(Locked, match=r"another measurement has the board"):
        board.board().run(job)

    def leave() -> None:
        board.wait_for("*/log.txt")
        os.close(lock)

    with meanwhile(leave):
        assert board.board().run(replace(job, lock_wait_s=30.0)).scores("artifact")


def test_a_job_that_takes_too_long_ends_itself(board: Loopback, job: Job) -> None:
    """Its own deadline, on the board."""
    with pytest.raises(TargetUnreachable, match="deadline passed"):
        board.board().run(replace(job, do=({**SOAK, "minutes": 5.0},), deadline_s=1.0))


def test_a_damaged_artifact_is_rejected_there(board: Loopback, job: Job) -> None:
    """With the board's own words."""
    (job.subjects["artifact"] / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(InputRejected, match=r"artifact: .*changed or damaged"):
        board.board().run(job)


def test_results_that_change_on_the_way_are_fetched_again(
    board: Loopback, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their digest travels with them."""
    said: list[str] = []
    reached = board.board(said=said)
    original, damaged = reached.link.python, list[object]()

    def python(program: str, values: object = None, *, seconds: float = 0.0) -> object:
        found = original(program, values, seconds=seconds)
        if isinstance(found, dict) and "results" in found and not damaged:
            damaged.append(found)
            found = {**found, "results": found["results"].replace("scores", "scared")}
        return found

    monkeypatch.setattr(reached.link, "python", python)
    assert reached.run(job).scores("artifact") and damaged
    assert any("damaged on the way" in sentence for sentence in said)


def test_results_of_another_job_are_refused(board: Loopback, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in the directory."""
    reached = board.board()
    original = reached.link.python

    def python(program: str, values: object = None, *, seconds: float = 0.0) -> object:
        found = original(program, values, seconds=seconds)
        if isinstance(found, dict) and "results" in found:
            changed = json.dumps({**json.loads(found["results"]), "id": "another"})
            found = {**found, "results": changed, "sha256": hashlib.sha256(changed.encode()).hexdigest()}
        return found

    monkeypatch.setattr(reached.link, "python", python)
    with pytest.raises(InputRejected, match=r"results are of job another, expected [0-9a-f]{16}"):
        reached.run(job)


def test_patience_ends(board: Loopback) -> None:
    """A board that stays away: how long it was waited for, and what the last word was."""
    reached = board.board(patience=0.5)
    assert reached.facts

    def lost() -> None:
        raise Cut("no route")

    with pytest.raises(TargetUnreachable, match=re.escape("cannot be reached for 0.5 s (no route)")):
        reached.link.again(lost)

"""The user's command with a real board, which here is this machine behind a real sshd."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetc.load.config import load_target
from budgetc.report.verify import read_report, verify_artifact
from tests.end_to_end.conftest import BUDGET
from tests.loopback import Loopback, loopback

TARGET = "jetson-nano-cpu-1-thread"
RECIPE = """
name: quick
description: INT8 or not
steps:
  - step: quantize
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loopback]:
    """One sshd for all tests of this file."""
    with loopback(tmp_path_factory.mktemp("board")) as started:
        yield started


@pytest.fixture(scope="module")
def folder(case: Path) -> Path:
    """The small case, with a budget for a board that is predicted otherwise."""
    (case / "quick.yaml").write_text(RECIPE)
    (case / "board.yaml").write_text(BUDGET.replace("host-cpu", TARGET).replace("tiny.yaml", "quick.yaml"))
    return case


def budgetc(*arguments: str, cwd: Path, options: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    line = [sys.executable, "-m", "budgetc", *arguments]
    environment = {**os.environ, "BUDGETC_SSH_OPTIONS": options}
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)


def compile_(folder: Path, out: str, *options: str, ssh: str = "") -> subprocess.CompletedProcess[str]:
    """Compile for the board."""
    # The limit on size is for other recipes.
    text = (folder / "board.yaml").read_text().replace("artifact_size: 64 KiB", "artifact_size: 1 MiB")
    (folder / "board.yaml").write_text(text)
    return budgetc("compile", "stfpm.pt", "--budget", "board.yaml", "-o", out, *options, cwd=folder, options=ssh)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compilation_on_a_board_survives_a_cut_link(folder: Path, board: Loopback) -> None:
    """Latency and memory are the board's, with every raw sample; a cut changes neither choice nor artifact."""
    whole = compile_(folder, "whole", "--device", board.url, ssh=board.options)
    assert whole.returncode == 0, whole.stderr
    cuts: list[int] = []

    def cut() -> None:
        board.wait_for("*/log.txt", seconds=300)
        cuts.append(board.cut())

    thread = threading.Thread(target=cut)
    thread.start()
    done = compile_(folder, "cut", "--device", board.url, ssh=board.options)
    thread.join()
    assert done.returncode == 0, done.stderr
    assert cuts[0] > 0 and "the link is cut" in done.stderr
    reports = [read_report(folder / name) for name in ("whole", "cut")]
    assert reports[0].chosen == reports[1].chosen
    digests = {hashlib.sha256((folder / name / "model.onnx").read_bytes()).hexdigest() for name in ("whole", "cut")}
    assert len(digests) == 1
    report = reports[1]
    assert report.artifact is not None and report.board is not None and report.verdict is not None
    assert report.verdict.overall == "compliant"
    found = {one.metric: one for one in report.artifact.measurements}
    assert (found["latency_p95"].kind, found["peak_memory"].kind) == ("measured", "measured")
    assert found["latency_p95"].device.startswith("board ssh://")
    samples = report.board.latency_ms["artifact"]
    assert len(samples) >= 5 and sum(map(len, samples)) == found["latency_p95"].n
    assert report.board.facts["machine"] and report.board.versions["onnxruntime"]
    assert "--device" in report.command
    assert verify_artifact(folder / "cut").holds
    assert list(board.jobs.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compilation_through_a_kit(folder: Path, tmp_path: Path) -> None:
    """Search by prediction, finalists on the board, the verdict from what was brought back."""
    kit = tmp_path / "kit.zip"
    first = compile_(folder, "carried", "--kit", str(kit))
    assert first.returncode == 5, first.stderr
    assert "carry it to the board" in first.stderr and not (folder / "carried").exists()
    place = tmp_path / "kit"
    zipfile.ZipFile(kit).extractall(place)
    readme = (place / "README.txt").read_text()
    assert "-o carried --import results.json" in readme and "--data " in readme
    environment = {**os.environ, "BUDGETC_BOARD_LOCK": str(tmp_path / "lock"), "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-I", "run_me.py"], cwd=place, env=environment, check=True, timeout=600)
    done = compile_(folder, "carried", "--import", str(place / "results.json"))
    assert done.returncode == 0, done.stderr
    report = read_report(folder / "carried")
    assert report.verdict is not None and report.verdict.overall == "compliant"
    assert report.artifact is not None and report.board is not None
    kinds = {one.metric: one.kind for one in report.artifact.measurements}
    assert (kinds["latency_p95"], kinds["peak_memory"]) == ("measured", "measured")
    assert report.target == load_target(TARGET).target
    assert verify_artifact(folder / "carried").holds


@pytest.mark.slow
def test_results_of_other_finalists_ask_for_a_further_kit(folder: Path, tmp_path: Path) -> None:
    """Nothing is judged by figures of another file."""
    nothing = {"schema_version": 1, "id": "x", "files": {}, "load": 0, "error": None, "board": {}, "versions": {},
               "samples": [], "done": []}  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(nothing))
    done = compile_(folder, "foreign", "--import", str(tmp_path / "results.json"))
    assert done.returncode == 5
    assert "with --kit FILE" in done.stderr and not (folder / "foreign").exists()


def test_a_board_that_is_not_there_costs_no_training(folder: Path) -> None:
    """Found out before anything is written."""
    done = compile_(folder, "nowhere", "--device", "ssh://nobody@127.0.0.1:9", ssh="-F none")
    assert done.returncode == 6
    assert "cannot be reached" in done.stderr and not (folder / "nowhere.run").exists()

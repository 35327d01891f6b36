"""A detector of motion from frames to an artifact that scores successive frames."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_flow_vae
from budgetc.report.verify import read_report, verify_artifact
from budgetc.runtime.flow import opencv_version
from budgetc.training.loop import Effort
from tests.end_to_end.command import budgetc
from tests.load.clips import draw_clips
from tests.loopback import loopback

RECIPE = """
name: flow
description: narrower encoders in INT8 and few bits
detectors: [flow_vae]
steps:
  - step: direct
    settings: {epochs: 3}
    choices: {student: [0.5]}
  - step: quantize
  - step: store-bits
    choices: {bits: [4]}
"""
BUDGET = """
target: host-cpu
data: data
limits:
  latency_p95: 1 s
  peak_memory: 1 GiB
  auroc: {min: 0.5}
search: {recipes: [flow.yaml], trainings: 1, time: 5 min}
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, model.pt, and out/, compiled."""
    folder = tmp_path_factory.mktemp("flow")
    draw_clips(folder / "data")
    (folder / "flow.yaml").write_text(RECIPE)
    (folder / "budget.yaml").write_text(BUDGET)
    detector = new_flow_vae((24, 32), widths=(16, 16, 32), latents=3)
    train_bundle(detector, data=folder / "data", out=folder / "model.pt", effort=Effort(4, 3e-3, 0), variants=1)
    ended = budgetc("compile", "model.pt", "--budget", "budget.yaml", "-o", "out", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return folder


def test_the_artifact_says_what_it_reads(compiled: Path) -> None:
    """Flow settings, both distances, a monitor, and the script that boards need for it."""
    spec = json.loads((compiled / "out" / "artifact.json").read_text())
    assert spec["preprocessing"]["flow"] == {
        "method": "clahe-farneback", "frame_height": 25, "frame_width": 34, "fields": 6, "largest": pytest.approx(3.4),
    }  # fmt: skip
    assert spec["parts"] == ["d_h", "d_v"]
    assert "monitor" in spec
    assert (compiled / "out" / "device" / "flow.py").is_file()
    report = json.loads((compiled / "out" / "report.json").read_text())
    assert not [row for row in report["candidates"] if row["fate"] == "failed"]
    assert "device/flow.py" in report["outputs"]


def test_successive_frames_are_scored_and_monitored(compiled: Path) -> None:
    """The first six have no score; every other line has one, and the monitor's p-value."""
    files = [f"data/other/bumps/{number:04d}.png" for number in range(10)]
    ended = budgetc("run", "out", *files, "--monitor", "--json", cwd=compiled)
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(ended.stdout)["images"]
    assert [row.get("missing") for row in rows] == [6, 5, 4, 3, 2, 1, None, None, None, None]
    assert all({"score", "d_h", "d_v", "p_value"} <= set(row) for row in rows[6:])
    plain = budgetc("run", "out", *files[:7], cwd=compiled).stdout.splitlines()
    assert plain[0].startswith("-\t6 more frames needed\t")


def test_both_distances_are_evaluated(compiled: Path) -> None:
    """The AUROC of each, and of their sum, beside that of the score."""
    ended = budgetc("evaluate", "out", "--data", "data", "--json", cwd=compiled)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert set(found["parts"]) == {"d_h", "d_v", "total"}
    assert found["parts"]["d_v"]["value"] > 0.9  # it jumps up and down


def test_the_report_holds(compiled: Path) -> None:
    """Verified like every other."""
    ended = budgetc("verify", "out", cwd=compiled)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def compile_for(target: str, folder: Path, out: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Compile the same model for a target that is not this machine."""
    (folder / f"{target}.yaml").write_text(BUDGET.replace("host-cpu", target) + "evidence: predicted\n")
    return budgetc("compile", "model.pt", "--budget", f"{target}.yaml", "-o", out, *options, cwd=folder)


@pytest.mark.skipif(shutil.which("qemu-x86_64-static") is None, reason="qemu-user-static is not installed")
def test_the_verdict_is_of_the_targets_instruction_set(compiled: Path) -> None:
    """Its AUROC is that of every confirmation clip, scored and its flow computed under QEMU."""
    ended = compile_for("x86-sse42", compiled, "old")
    assert ended.returncode == 0, ended.stderr
    report = read_report(compiled / "old")
    assert report.artifact is not None
    auroc = report.artifact.quality.auroc_mean
    assert (auroc.kind, auroc.value > 0.9) == ("emulated", True)
    assert auroc.device.endswith(", Nehalem") and (auroc.runtime or "").endswith(f", OpenCV {opencv_version()}")
    assert verify_artifact(compiled / "old").holds


def test_a_kit_decides_about_motion(compiled: Path, tmp_path: Path) -> None:
    """Search by prediction, latency and memory from the board, and what OpenCV was there."""
    target, kit = "jetson-nano-cpu-1-thread", tmp_path / "kit.zip"
    first = compile_for(target, compiled, "carried", "--kit", str(kit))
    assert first.returncode == 5, first.stderr
    place = tmp_path / "kit"
    zipfile.ZipFile(kit).extractall(place)
    environment = {**os.environ, "BUDGETC_BOARD_LOCK": str(tmp_path / "lock"), "PYTHONPATH": ""}
    subprocess.run([sys.executable, "-I", "run_me.py"], cwd=place, env=environment, check=True, timeout=600)
    done = compile_for(target, compiled, "carried", "--import", str(place / "results.json"))
    assert done.returncode == 0, done.stderr
    report = read_report(compiled / "carried")
    assert report.artifact is not None and report.board is not None
    found = {one.metric: one for one in report.artifact.measurements}
    assert (found["latency_p95"].kind, found["peak_memory"].kind) == ("measured", "measured")
    assert report.board.versions["OpenCV"] == opencv_version()
    assert verify_artifact(compiled / "carried").holds


def test_a_board_without_opencv_costs_no_training(
    compiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found out before anything is written, with what to install there."""
    with loopback(tmp_path / "board") as board:
        monkeypatch.setenv("BUDGETC_SSH_OPTIONS", board.options)
        url = f"{board.url.partition('?')[0]}?python={board.without_opencv()}"
        compiling = compile_for("jetson-nano-cpu-1-thread", compiled, "nowhere", "--device", url)
        measuring = budgetc("measure", "out", "--target", "host-cpu", "--device", url, cwd=compiled)
    for ended in (compiling, measuring):
        assert ended.returncode == 6, ended.stderr
        assert "motion needs OpenCV" in ended.stderr
    assert not (compiled / "nowhere.run").exists()

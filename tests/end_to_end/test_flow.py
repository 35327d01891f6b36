"""A detector of motion from frames to an artifact that scores successive frames."""

import json
from pathlib import Path

import pytest

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_flow_vae
from budgetc.training.loop import Effort
from tests.end_to_end.test_compile import budgetc
from tests.load.clips import draw_clips

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

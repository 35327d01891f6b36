"""EfficientAD from a trained bundle to an artifact."""

import json
from pathlib import Path

import onnx
import pytest

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_efficientad
from budgetc.training.loop import Effort
from tests.end_to_end.conftest import SIDE, write_arrays
from tests.end_to_end.test_compile import budgetc

RECIPE = """
name: patches
description: narrower networks, pruned, in INT8 and few stored bits
detectors: [efficientad]
steps:
  - step: distill
    settings: {epochs: 1, learning_rate: 0.005}
    choices: {teacher: [0.5], student: [0.5]}
  - step: prune
    settings: {keep: 0.75, epochs: 0}
  - step: quantize
  - step: store-bits
    settings: {bits: 6}
"""
BUDGET = """
target: host-cpu
data: data.npz
limits:
  latency_p95: 1 s
  peak_memory: 1 GiB
  artifact_size: 100 KiB
  auroc: {min: 0.1}
search: {recipes: [patches.yaml], trainings: 2, time: 5 min}
"""


@pytest.mark.slow
def test_it_is_compiled(tmp_path: Path) -> None:
    """Its artifact has a map, integer kernels and a threshold, is a fraction of its baseline, and nothing failed."""
    write_arrays(tmp_path / "data.npz")
    made = new_efficientad(
        (SIDE, SIDE), teacher_weights="none", teacher_widths=(16, 16, 16, 32), student_widths=(16, 16, 16)
    )
    train_bundle(
        made.detector,
        data=tmp_path / "data.npz",
        out=tmp_path / "efficientad.pt",
        effort=Effort(2, 2e-3, 0),
        variants=2,
    )
    (tmp_path / "patches.yaml").write_text(RECIPE)
    (tmp_path / "patches-budget.yaml").write_text(BUDGET)
    ended = budgetc("compile", "efficientad.pt", "--budget", "patches-budget.yaml", "-o", "patches-out", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "patches-out" / "report.json").read_text())
    assert report["detector"] == "efficientad"
    assert not [row for row in report["candidates"] if row["fate"] == "failed"]
    sizes = {row["id"]: row["artifact_size"] for row in report["candidates"]}
    baseline = next(row for row in report["candidates"] if row["plan"]["recipe"] == "none")
    assert sizes[report["chosen"]] < 0.3 * baseline["artifact_size"]
    graph = onnx.load(tmp_path / "patches-out" / "model.onnx").graph
    assert [output.name for output in graph.output] == ["score", "map"]
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) > 10

"""Reverse distillation from a trained bundle to an artifact."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from budgetc.detectors.detector import score_images
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from tests.end_to_end.test_compile import budgetc

RECIPE = """
name: reverse
description: a narrower decoder, pruned, in INT8
detectors: [reverse_distillation]
steps:
  - step: distill
    settings: {epochs: 4, learning_rate: 0.01}
    choices: {student: [0.5]}
  - step: prune
    settings: {epochs: 1}
  - step: quantize
"""
BUDGET = """
target: host-cpu
data: data.npz
limits:
  latency_p95: 1 s
  peak_memory: 1 GiB
  artifact_size: 200 KiB
  auroc: {min: 0.5}
search: {recipes: [reverse.yaml], trainings: 2, time: 5 min}
"""


@pytest.mark.slow
def test_it_is_planned_and_compiled(case: Path) -> None:
    """Its baseline is priced in the form that has integer kernels; the artifact has no transposed convolution, and
    the report says whose it is.
    """
    (case / "reverse.yaml").write_text(RECIPE)
    (case / "reverse-budget.yaml").write_text(BUDGET)
    planned = budgetc("plan", "reverse.pt", "--budget", "reverse-budget.yaml", cwd=case)
    assert planned.returncode == 0, planned.stderr
    ended = budgetc("compile", "reverse.pt", "--budget", "reverse-budget.yaml", "-o", "reverse-out", cwd=case)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((case / "reverse-out" / "report.json").read_text())
    assert report["detector"] == "reverse_distillation"
    assert not [row for row in report["candidates"] if row["fate"] == "failed"]
    sizes = {row["id"]: row["artifact_size"] for row in report["candidates"]}
    baseline = next(row for row in report["candidates"] if row["plan"]["recipe"] == "none")
    assert sizes[report["chosen"]] < 0.25 * baseline["artifact_size"]
    graph = onnx.load(case / "reverse-out" / "model.onnx").graph
    assert "ConvTranspose" not in {node.op_type for node in graph.node}


def test_the_given_detector_scores_as_its_converted_baseline(case: Path) -> None:
    """The bundle holds the published form; what is searched from it scores the same."""
    from budgetc.detectors.reverse_distillation import subpixel_form

    detector = load_model(case / "reverse.pt").detector
    images = load_dataset(case / "data.npz").images("selection", (32, 32))[:12]
    given, converted = (score_images(one.deployed(), images) for one in (detector, subpixel_form(detector)))
    assert np.ptp(given) > 0
    np.testing.assert_allclose(converted, given, atol=1e-5)

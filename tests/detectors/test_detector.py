"""The detector that flows through passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import as_input, score_images, weights_digest
from budgetc.passes.quantize import quantize
from tests.small import FAMILIES, inputs, small, small_stfpm, small_vae, textures, work_for


@pytest.mark.parametrize("family", FAMILIES)
def test_the_deployed_part_is_a_copy(family: str) -> None:
    """Changing what `deployed()` returned leaves the detector as it was."""
    detector = small(family)
    before = weights_digest(detector.module)
    with torch.no_grad():
        for weight in detector.deployed().parameters():
            weight.zero_()
    assert weights_digest(detector.module) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_no_weight_of_the_deployed_part_is_dead(family: str) -> None:
    """Every one is read by an output, so that a baseline is no larger than what scores."""
    part = small(family).deployed()
    sum(output.sum() for output in part(as_input(inputs(family, 2)))).backward()
    assert [name for name, weight in part.named_parameters() if weight.grad is None] == []


def test_parameters_are_those_of_the_deployed_part() -> None:
    """A VAE's decoder does not count."""
    detector = small_vae()
    everything = sum(weight.numel() for weight in detector.module.parameters())
    assert 0 < detector.parameters() < everything


def test_another_network_voids_formats_and_threshold() -> None:
    """They belong to the network they were fitted on."""
    detector = small_stfpm()
    fitted = replace(quantize(detector, Quantize(), work_for(detector)), threshold=1.0)
    changed = fitted.with_module(fitted.module)
    assert (changed.formats, changed.quantization, changed.threshold) == ({}, None, None)


def test_scores_do_not_depend_on_the_batch() -> None:
    """Up to the order of float sums."""
    part, images = small_stfpm().deployed(), textures(5)
    np.testing.assert_allclose(score_images(part, images, batch=2), score_images(part, images), rtol=1e-4)


def test_no_images_give_no_scores() -> None:
    """An empty split is no error."""
    assert score_images(small_stfpm().deployed(), textures(2)[:0]).shape == (0,)


def test_images_become_floats_between_zero_and_one() -> None:
    """Black is 0 and white is 1."""
    pixels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=1)
    assert as_input(pixels).unique().tolist() == [0, 1]


def test_the_digest_sees_every_weight() -> None:
    """Also a BatchNorm statistic, which is no parameter."""
    detector = small_vae()
    before = weights_digest(detector.module)
    next(b for name, b in detector.module.named_buffers() if name.endswith("running_var"))[0] += 1
    assert weights_digest(detector.module) != before

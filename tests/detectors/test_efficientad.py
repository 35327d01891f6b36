"""EfficientAD: shapes at every size, the definition of its score, and what its losses and statistics are."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import as_input, lowest_score
from budgetc.detectors.efficientad import (
    EfficientAd,
    EfficientAdConfig,
    fit_quantiles,
    hard_loss,
    normalize_channels,
)
from budgetc.detectors.families import build
from budgetc.passes.apply import apply_step
from tests.small import SIZE, small_efficientad, textures, work_for

NARROW = {"teacher": (2, 2, 2, 3), "student": (2, 2, 2), "encoder": (2, 2, 2, 2, 2, 2), "decoder": 2}


def _network(seed: int = 0, **changes: object) -> EfficientAd:
    module = small_efficientad(seed, **changes).module
    assert isinstance(module, EfficientAd)
    return module


def test_published_shapes() -> None:
    """At 256 pixels: parameters of PDN-S and of its 768-channel student, and the sides of the decoder's maps."""
    with torch.device("meta"):
        module = build("efficientad", EfficientAdConfig(input_size=(256, 256))).module
        assert isinstance(module, EfficientAd)
        sizes = [tuple(one.shape[1:]) for one in module.features(torch.zeros(1, 3, 256, 256))]
    assert sizes == [(384, 56, 56)] * 4
    patches, student = (sum(w.numel() for w in part.parameters()) for part in (module.teacher, module.student.patches))
    assert (patches, student) == (2_694_144, 2_694_144 + 384 * (256 * 16 + 1))
    resizes = [resize.size[0] for resize in module.student.autoencoder.resizes]  # type: ignore[index]
    assert resizes == [3, 8, 15, 32, 63, 127, 56]


@settings(max_examples=25, deadline=None)
@example(height=33, width=35, padding=False, rim=True)
@given(height=st.integers(32, 140), width=st.integers(32, 140), padding=st.booleans(), rim=st.booleans())
def test_every_size_works(height: int, width: int, padding: bool, rim: bool) -> None:
    """All networks agree on the grid, which is a quarter of the picture's or 8 places less; the map is as the picture.
    Sizes without a single place are refused.
    """
    fields = {"input_size": (height, width), **NARROW, "padding": padding, "pad_maps": rim}
    if not padding and min(height, width) < 33:
        with pytest.raises(ValidationError, match="at least 33"):
            EfficientAdConfig.model_validate(fields)
        return
    config = EfficientAdConfig.model_validate(fields)
    with torch.device("meta"):
        module = build("efficientad", config).module
        assert isinstance(module, EfficientAd)
        image = torch.zeros(1, 3, height, width)
        grids = {tuple(one.shape[-2:]) for one in module.features(image)}
        score, anomaly_map = module(image)
    assert grids == {config.grid}
    assert all(abs(side / 4 - 8 * (not padding) - places) <= 1
               for side, places in zip((height, width), config.grid, strict=True))  # fmt: skip
    assert (score.shape, anomaly_map.shape) == ((1,), (1, 1, height, width))


@torch.no_grad()
def test_score_is_the_maximum_of_two_normalized_maps() -> None:
    """Each is moved and scaled by its own quantiles of normals; their mean is the map."""
    module, normals = _network(), as_input(textures(12, seed=3))
    maps = module.maps(normals)
    fit_quantiles(module, *maps)
    score, joined = module(normals)
    expected = torch.zeros_like(joined)
    for one in maps:
        lower, upper = np.quantile(one.numpy(), (0.9, 0.995))
        expected += 0.5 * 0.1 * (one - lower) / (upper - lower)
    torch.testing.assert_close(joined, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(score, expected.flatten(1).amax(1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_lowest_score_is_that_of_no_distance() -> None:
    """Distances above it are what steps keep the ratios of: a score itself may be negative."""
    module, image = _network(), as_input(textures(8, seed=4))
    lowest = lowest_score(module)
    assert lowest < 0
    assert (module(image)[1] > lowest).all()
    for patches in (module.teacher, module.student.patches):
        for output in patches.outputs:
            for weight in output.parameters():
                weight.zero_()
    for weight in module.student.autoencoder.output.parameters():
        weight.zero_()
    torch.testing.assert_close(module(image)[0], torch.full((8,), lowest))


def test_hard_loss_is_of_the_worst_thousandth() -> None:
    """Those at or above the quantile .999 of all squares, as published."""
    wanted, own = torch.rand(2, 2, 16, 50, 50, generator=torch.Generator().manual_seed(0))
    squares = (wanted - own).square()
    hardest = squares[squares >= torch.quantile(squares, 0.999)]
    torch.testing.assert_close(hard_loss(wanted, own), hardest.mean(), rtol=1e-3, atol=0)


@torch.no_grad()
def test_channels_are_normalized_inside_the_teacher() -> None:
    """Its features of the pictures it is fitted to have mean 0 and deviation 1; a constant channel stays finite."""
    module, image = _network(), as_input(textures(12, seed=5))
    last = module.teacher.outputs[0].get_parameter("conv.weight")
    last[3] = 0
    before = module.teacher(module.normalized(image))[0]
    normalize_channels(module.teacher, 4 * before + 1)
    normalize_channels(module.teacher, module.teacher(module.normalized(image))[0])
    after = module.teacher(module.normalized(image))[0]
    assert after.isfinite().all()
    others = [channel for channel in range(after.shape[1]) if channel != 3]
    deviation, mean = torch.std_mean(after[:, others], (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(len(others)), rtol=0, atol=1e-4)
    torch.testing.assert_close(deviation, torch.ones(len(others)), rtol=1e-3, atol=0)


@torch.no_grad()
def test_the_head_for_halves_is_the_same_function() -> None:
    """Its distances stay within FP16 where features differ by .01 and where they differ by 20 deviations."""
    module, image = _network(), as_input(textures(4, seed=6))
    expected = module(image)
    module.half_safe = True
    torch.testing.assert_close(module(image), expected, rtol=1e-4, atol=1e-5)
    features = torch.randn(1, 384, 4, 4)
    for difference in (0.01, 20.0):
        wanted = [features, features + difference, features, features + difference]
        for distance in module.distances_of([one.half() for one in wanted]):
            torch.testing.assert_close(distance.float(), torch.full((1, 1, 4, 4), difference**2), rtol=0.15, atol=0)


def test_quantized_outputs_have_scales_of_their_own() -> None:
    """Trap: one quantizer for tensors of different range. Nothing of the score head is rounded."""
    detector = small_efficientad()
    rounded = apply_step(detector, Quantize(), work_for(detector))
    outputs = [name for name in rounded.formats if ".outputs." in name or name.endswith("autoencoder.output")]
    assert len(outputs) == 4
    scales = {rounded.formats[name].output for name in outputs}
    assert None not in scales and len(scales) == 4
    assert all(rounded.formats[name].output for name in rounded.formats if ".pool" in name or ".resizes." in name)


@torch.no_grad()
def test_quantiles_are_fitted_again_through_the_rounded_network() -> None:
    """On calibration normals the mean of both maps' upper quantiles is .1 of what ships, not of what was trained."""
    detector = small_efficientad()
    work = work_for(detector)
    rounded = apply_step(detector, Quantize(), work)
    deployed = rounded.deployed()
    assert isinstance(deployed, EfficientAd)
    maps = deployed.maps(as_input(work.calibration(SIZE)))
    gains = deployed.get_buffer("gains").flatten().tolist()
    lower, upper = zip(*(np.quantile(one.numpy(), (0.9, 0.995)) for one in maps), strict=True)
    np.testing.assert_allclose(gains, [0.05 / (b - a) for a, b in zip(lower, upper, strict=True)], rtol=1e-4)
    before = detector.module.get_buffer("gains").flatten().tolist()
    assert not np.allclose(gains, before, rtol=1e-3)

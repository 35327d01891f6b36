"""Score heads in FP16: order kept where every operator rounds to 11 bits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from budgetc.detectors.halves import half_safe_kl, half_safe_map, map_gain
from budgetc.detectors.stfpm import Stfpm, scale_maps
from budgetc.detectors.vae import VaeEncoder
from budgetc.detectors.variational import Latent, kl_per_latent
from tests.small import SIZE, small_stfpm, small_vae


def pairs(distances: Tensor, channels: int, scale: float) -> tuple[Tensor, Tensor]:
    """Teacher and student features, (n, channels, 4, 4), whose directions differ by about `distances` (n,)."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(len(distances), channels, 4, 4, generator=generator)
    noise = torch.randn(teacher.shape, generator=generator)
    return teacher * scale, (teacher + noise * distances.sqrt().view(-1, 1, 1, 1)) * scale


def score(maps: list[Tensor]) -> Tensor:
    """The detector's score from its maps, at 8 x 8 pixels."""
    product = torch.ones((), dtype=maps[0].dtype)
    for one in maps:
        product = product * F.interpolate(one, size=(8, 8), mode="bilinear", align_corners=False)
    return product.flatten(1).amax(1)


@pytest.mark.parametrize("scale", [0.02, 1.0, 60.0])
def test_scores_of_half_precision_keep_their_order(scale: float) -> None:
    """Distances of 1e-3 to 1, features of any size: ranks in FP16 are those of the plain FP32 head."""
    features = [pairs(torch.logspace(-3, 0, 120), channels, scale) for channels in (64, 128, 256)]
    exact = score([scale_maps([t], [s])[0] for t, s in features])
    half = score([half_safe_map(t.half(), s.half(), map_gain(3)) for t, s in features])
    assert torch.isfinite(half).all() and len(half.unique()) > 110
    assert spearmanr(exact.numpy(), half.numpy()).statistic > 0.9999


def test_the_plain_head_would_lose_it() -> None:
    """What this is for: three maps of 1e-3 multiply to zero, and squares of large features overflow."""
    features = [pairs(torch.logspace(-3, -2, 40), channels, 1.0) for channels in (64, 128, 256)]
    half = score([scale_maps([t.half()], [s.half()])[0] for t, s in features])
    assert len(half.unique()) < 20
    large, student = pairs(torch.ones(4), 256, 60.0)
    assert (scale_maps([large.half()], [student.half()])[0] < 0.01).all()  # truly about 0.3


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 8])
def test_the_largest_product_does_not_overflow(taps: int) -> None:
    """Opposite features at every tap: maps of 2 each, and their product is a finite number in FP16."""
    x = torch.ones(1, 8, 1, 1, dtype=torch.float16)
    product = torch.ones((), dtype=torch.float16)
    for _ in range(taps):
        product = product * half_safe_map(x, -x, map_gain(taps)).amax()
    assert torch.isfinite(product) and product >= 256


def test_dead_positions_are_finite() -> None:
    """Features of zeros have no direction: no division by zero, in either precision."""
    zeros = torch.zeros(1, 4, 2, 2)
    for dtype in (torch.float16, torch.float32):
        assert torch.isfinite(half_safe_map(zeros.to(dtype), torch.ones(1, 4, 2, 2, dtype=dtype), 16.0)).all()


def test_both_heads_are_one_function_in_single_precision() -> None:
    """Up to float rounding, whatever the size of the features."""
    for scale in (1e-2, 1.0, 1e3):
        teacher, student = pairs(torch.logspace(-4, 1, 50), 64, scale)
        expected = scale_maps([teacher], [student], 16.0)[0]
        torch.testing.assert_close(half_safe_map(teacher, student, 16.0), expected, rtol=2e-4, atol=1e-7)


@torch.no_grad()
def test_a_detector_scores_the_same_with_either_head() -> None:
    """The switch changes no score of the deployed network."""
    module = small_stfpm().deployed()
    assert isinstance(module, Stfpm)
    images = torch.rand(8, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    plain = module(images)
    module.half_safe = True
    torch.testing.assert_close(module(images), plain, rtol=1e-4, atol=1e-6)


def test_divergence_near_zero_keeps_its_order_in_half_precision() -> None:
    """Log variances of 0.003 to 0.3: e^l - l - 1 cancels to zero there, the series does not."""
    logvar = torch.logspace(-2.5, -0.5, 60).unsqueeze(1)
    mu = torch.zeros_like(logvar)
    half = half_safe_kl(mu.half(), logvar.half())
    assert spearmanr(logvar.numpy(), half.float().numpy()).statistic > 0.999
    plain = kl_per_latent(Latent(mu.half(), logvar.half()))
    assert spearmanr(logvar.numpy(), plain.float().numpy()).statistic < 0.999


def test_divergence_is_one_function_in_single_precision() -> None:
    """Against double precision, from collapsed to far away."""
    logvar = torch.linspace(-6, 3, 400).unsqueeze(1)
    mu = torch.linspace(-4, 4, 400).unsqueeze(1)
    exact = kl_per_latent(Latent(mu.double(), logvar.double()))
    np.testing.assert_allclose(half_safe_kl(mu, logvar).numpy(), exact.numpy(), rtol=5e-6, atol=1e-7)


@torch.no_grad()
def test_an_encoder_scores_the_same_with_either_head() -> None:
    """The switch changes no score of the deployed encoder."""
    module = small_vae().deployed()
    assert isinstance(module, VaeEncoder)
    images = torch.rand(8, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    plain = module(images)
    module.half_safe = True
    torch.testing.assert_close(module(images), plain, rtol=1e-4, atol=1e-5)

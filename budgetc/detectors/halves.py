"""Score heads that keep their resolution where every operator computes in FP16.

FP16 has 11 bits and its normal numbers reach from 6e-5 to 65504. The functions here are those of the FP32 heads up to
float rounding, written so that no intermediate leaves that range and no small difference of large numbers decides.
Constant factors are powers of two: they change no digit.
"""

import torch
from torch import Tensor

LARGEST_BITS = 15
"""Maps are multiplied by a power of two each, so that the product of maps that are all 2 (opposite features) stays
within 2^15: with three taps by 2^4, and three maps of 1e-3 give 4e-6 and not 1e-9, which is 0 in FP16. The factor
stays in the score; dividing it out would round small scores to 0 after all."""

_SMALLEST = 2.0**-14
_DIFFERENCE = 2.0**6
"""Differences of directions times 64, squared: their sum reaches 4 x 4096, and one of 1e-3 keeps its bits."""

_FARTHEST = 250.0
"""Its square is below 65504, the largest FP16 number."""


def map_gain(taps: int) -> float:
    """The power of two that every scale's map is multiplied by before the product."""
    return 2.0 ** (LARGEST_BITS // taps - 1)


def half_safe_map(teacher: Tensor, student: Tensor, gain: float) -> Tensor:
    """`gain` times half the squared distance of channel-normalized features, (b, c, h, w) each -> (b, 1, h, w).

    Features are divided by their largest channel first, so that the sum of squares lies in [1, c].
    """
    difference = (_direction(teacher) - _direction(student)) * _DIFFERENCE
    return difference.square().sum(1, keepdim=True) * (0.5 * gain / _DIFFERENCE**2)


def _direction(x: Tensor) -> Tensor:
    largest = x.abs().amax(1, keepdim=True).clamp(min=_SMALLEST)
    scaled = x / largest
    return scaled / scaled.square().sum(1, keepdim=True).clamp(min=_SMALLEST).sqrt()


def half_safe_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """0.5 (mu^2 + e^l - l - 1) per latent: near l = 0 by its Taylor series, where the three terms cancel.

    (batch, latents) each. The series to the seventh power is off by less than 1e-6 of the value for |l| < 0.5.
    """
    series = torch.full_like(logvar, 1 / 5040)
    for coefficient in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2):
        series = series * logvar + coefficient
    rest = torch.where(logvar.abs() < 0.5, logvar.square() * series, logvar.exp() - logvar - 1)
    return 0.5 * (mu.square() + rest)


def half_safe_mean_square(x: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, 1, h, w): divided by the root of c before squaring, so that no sum of squares overflows.

    Whitened features beyond +-250 count as 250: no detector needs to tell such distances apart.
    """
    scaled: Tensor = x.clamp(-_FARTHEST, _FARTHEST) * x.shape[1] ** -0.5
    return scaled.square().sum(1, keepdim=True)

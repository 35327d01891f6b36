"""The values that codes of a few bits stand for."""

from functools import cache
from statistics import NormalDist

import numpy as np

_GRID, _ROUNDS = 20_000, 400


@cache
def levels_of(bits: int, most: int) -> tuple[int, ...]:
    """2^bits ascending integers within +-most, spaced as normally distributed weights want them.

    The quantizer of least mean square error for a normal distribution (Max, "Quantizing for Minimum Distortion", 1960;
    Lloyd 1982), scaled to the range of the integer kernel: a third less error at 4 bits than equal steps.
    """
    quantile = NormalDist().inv_cdf
    values = np.array([quantile((place + 0.5) / _GRID) for place in range(_GRID)])
    found = values[(np.arange(2**bits) * 2 + 1) * _GRID // 2 ** (bits + 1)]
    sums = np.concatenate([[0.0], np.cumsum(values)])
    for _ in range(_ROUNDS):
        edges = np.searchsorted(values, (found[1:] + found[:-1]) / 2)
        starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [_GRID]])
        found = (sums[ends] - sums[starts]) / np.maximum(ends - starts, 1)
    return tuple(int(level) for level in np.rint(found / found[-1] * most))

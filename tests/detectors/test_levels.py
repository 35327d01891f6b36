"""Levels of few bits."""

import numpy as np
import pytest

from budgetc.detectors.levels import levels_of

MAX_1960 = {2: (0.4528, 1.510), 3: (0.2451, 0.7560, 1.344, 2.152), 4: (0.1284, 0.3881, 0.6568, 0.9424, 1.256, 1.618,
            2.069, 2.733)}  # fmt: skip
"""Positive output levels for a unit normal distribution: Max 1960, table I."""


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_levels_are_those_of_the_optimal_quantizer(bits: int) -> None:
    """Up to the rounding to integers."""
    published = np.array(MAX_1960[bits])
    expected = published / published[-1] * 127
    found = np.array(levels_of(bits, 127))
    assert len(found) == 2**bits
    assert np.abs(found[2 ** (bits - 1) :] - expected).max() <= 1.0
    assert (found == -found[::-1]).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("most", [63, 127])
def test_levels_fill_the_range_in_order(bits: int, most: int) -> None:
    """Saturating kernels take 7 bits, others 8."""
    found = levels_of(bits, most)
    assert found == tuple(sorted(found))
    assert (found[0], found[-1]) == (-most, most)

"""Simpler predictors."""

import pytest

from budgetc.measurement.baselines import baselines_of
from tests.rows import conv, row


def test_a_board_that_is_twice_as_slow_predicts_exactly() -> None:
    """One ratio, from the other rows; of two boards the one with more of the networks."""
    mine = [row(float(ms), model=f"n{ms}") for ms in (10, 20, 30, 40)]
    slower = [row(2.0 * ms, model=f"n{ms}", device="slow") for ms in (10, 20, 30, 40)]
    few = [row(float(ms), model=f"n{ms}", device="few") for ms in (10, 20)]
    found = baselines_of(mine, [*mine, *slower, *few]).board
    assert found is not None
    assert (found.name, found.n) == ("slow, ncnn README, 1 threads", 4)
    assert found.mape == pytest.approx(0)


def test_arithmetic_alone_misses_what_bytes_cost() -> None:
    """Times that follow multiply-accumulates are met, others are not; two rows say nothing."""
    sizes = (8, 16, 32, 64)
    exact = baselines_of([row(conv(8, 8, size).macs / 1e3, conv(8, 8, size)) for size in sizes], []).macs
    level = baselines_of([row(5.0, conv(8, 8, size)) for size in sizes], []).macs
    assert exact is not None and level is not None
    assert exact.mape == pytest.approx(0) and level.mape > 0.5
    assert baselines_of([row(1.0)] * 2, []).macs is None

"""Intervals from rows that were held out."""

from collections.abc import Sequence

import numpy as np

from budgetc.core.cost import CostModel, Factor
from budgetc.core.operator import Operator
from budgetc.measurement.fitting import Sample, predictions
from budgetc.measurement.pricing import price_graph
from budgetc.measurement.spreads import HeldOut, with_spread
from tests.rows import conv
from tests.targets import cost, span

EXACT = cost(launch_us=span(10, 10, 10), fixed_ms=span(0.1, 0.1, 0.1))


def noisy(operators: tuple[Operator, ...], sigma: float, seed: int, count: int = 200) -> list[Sample]:
    """Times around the prediction, off by a normal factor."""
    ms = price_graph(operators, EXACT).ms
    return [Sample(operators, ms * float(np.exp(sigma * z))) for z in np.random.default_rng(seed).normal(size=count)]


def inside(samples: Sequence[Sample], model: CostModel) -> float:
    """Share in the interval."""
    ms = np.array([sample.ms for sample in samples])
    _, low, high = predictions(samples, model).T
    return float(((low <= ms) & (ms <= high)).mean())


def test_intervals_hold_their_share_and_are_wide_where_rows_were_missed() -> None:
    """1x1 off by 5 %, 5x5 by 20 %: nine of ten new rows of both lie inside, the second's interval is wider."""
    narrow, wide = (conv(64, 64, 32, kernel=1),) * 9, (conv(64, 64, 32, kernel=5),) * 9
    held = [HeldOut("1x1", noisy(narrow, 0.05, 0), EXACT), HeldOut("5x5", noisy(wide, 0.2, 1), EXACT)]
    found = with_spread(EXACT, held, {})
    assert found.spread["convkxk"].upper - 1 > 2 * (found.spread["conv1x1"].upper - 1)
    both = [*noisy(narrow, 0.05, 2), *noisy(wide, 0.2, 3)]
    assert 0.85 < inside(both, found) < 0.97


def test_what_facts_say_is_not_fitted() -> None:
    """A part that is given keeps its interval; a class that no row shows gets one like the others'."""
    held = [HeldOut("", noisy((conv(64, 64, 32, kernel=1),) * 9, 0.1, 0), EXACT)]
    given = Factor(lower=0.5, upper=3)
    found = with_spread(EXACT, held, {"fp16": given})
    assert found.spread["fp16"] == given
    assert found.spread["depthwise"].upper > 1.05


def test_exact_rows_leave_an_interval() -> None:
    """Nobody is ever sure."""
    operators = (conv(64, 64, 32),)
    found = with_spread(EXACT, [HeldOut("", [Sample(operators, price_graph(operators, EXACT).ms)], EXACT)], {})
    assert all(one.lower < 1 < one.upper for one in found.spread.values())

"""The multiple-choice knapsack against trying everything."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetc.errors import UsageError
from budgetc.passes.knapsack import choose

ITEMS = st.lists(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 1000)), min_size=1, max_size=4), min_size=1, max_size=4
)


@settings(max_examples=60, deadline=None)
@given(ITEMS, st.floats(0, 1))
def test_nothing_that_fits_loses_less(items: list[list[tuple[int, int]]], share: float) -> None:
    """The choice keeps the budget, and no other one that keeps it loses less."""
    costs = [[cost for cost, _ in options] for options in items]
    losses = [[loss for _, loss in options] for options in items]
    least, greatest = (sum(pick(options) for options in costs) for pick in (min, max))
    most = least + share * (greatest - least)
    chosen = choose(costs, losses, most)
    assert sum(row[at] for row, at in zip(costs, chosen, strict=True)) <= most * (1 + 1e-6)
    best = min(
        sum(row[at] for row, at in zip(losses, every, strict=True))
        for every in itertools.product(*(range(len(row)) for row in costs))
        if sum(row[at] for row, at in zip(costs, every, strict=True)) <= most
    )
    assert sum(row[at] for row, at in zip(losses, chosen, strict=True)) == pytest.approx(best, abs=1e-2)


def test_a_budget_that_nothing_keeps_is_refused() -> None:
    """Both figures are in the message."""
    with pytest.raises(UsageError, match="the cheapest choice costs 5, but 4 is all there is"):
        choose([[2, 3], [3, 9]], [[1, 0], [1, 0]], 4)


def test_the_solver_says_nothing_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    """It prints now and then, and `--json` is one object."""
    rng = np.random.default_rng(0)
    for _ in range(150):
        costs, losses = rng.integers(1, 99, (12, 6)), rng.random((12, 6))
        choose(costs.tolist(), losses.tolist(), float(costs.min(1).sum() * 2))
    assert capfd.readouterr().out == ""

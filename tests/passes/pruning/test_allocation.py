"""Widths from equal shares and from a knapsack."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetc.errors import UsageError
from budgetc.passes.pruning.allocation import (
    SHARES,
    Limits,
    Sensitivity,
    Term,
    cost,
    knapsack,
    rounded,
    uniform,
    uniform_within,
)

STEP = 8


def sensitivity(width: int, *perturbation: float) -> Sensitivity:
    """Tried at half and at a quarter of the width, `perturbation` from narrow to wide."""
    return Sensitivity(
        order=tuple(range(width)), widths=(width // 4, width // 2), perturbation=tuple(sorted(perturbation))[::-1]
    )


perturbations = st.tuples(*[st.floats(0, 10)] * 2)
tables = st.lists(st.tuples(st.sampled_from([16, 32, 48]), perturbations), min_size=2, max_size=3).map(
    lambda rows: {f"g{number}": sensitivity(width, *found) for number, (width, found) in enumerate(rows)}
)
TERMS = [Term((), 100, 5000), Term(("g0",), 27, 900), Term(("g0", "g1"), 9, 90), Term(("g1", "g1"), 1, 4)]


def total(table: dict[str, Sensitivity], widths: dict[str, int]) -> float:
    """Sum of perturbations."""
    return sum(known.at(widths[root]) for root, known in table.items())


@settings(deadline=None, max_examples=60)
@given(table=tables, share=st.sampled_from(SHARES), macs=st.sampled_from([1.0, 0.8]))
def test_a_knapsack_keeps_its_limits_and_is_never_worse_than_equal_shares(
    table: dict[str, Sensitivity], share: float, macs: float
) -> None:
    """Of all equal shares within the limits; terms of two widths are counted exactly."""
    full = {root: len(known.order) for root, known in table.items()}
    equal = uniform(full, share, STEP)
    limits = Limits(cost(TERMS, equal)[0], cost(TERMS, full)[1] * macs)
    if cost(TERMS, uniform(full, 0.0, STEP))[1] > limits.macs:
        return
    found = knapsack(table, TERMS, limits, STEP)
    weights, used = cost(TERMS, found)
    assert weights <= limits.weights and used <= limits.macs * (1 + 1e-9)
    assert all(width % STEP == 0 for width in found.values()) and found.keys() == table.keys()
    fallback = uniform_within(full, TERMS, limits, STEP)
    assert total(table, found) <= total(table, fallback) + 1e-6
    assert cost(TERMS, fallback)[0] <= limits.weights


@settings(deadline=None, max_examples=20)
@given(table=tables, share=st.sampled_from(SHARES[4:]))
def test_a_knapsack_is_the_best_of_all_widths(table: dict[str, Sensitivity], share: float) -> None:
    """As counting through every combination of levels says."""
    full = {root: len(known.order) for root, known in table.items()}
    limits = Limits(cost(TERMS, uniform(full, share, STEP))[0])
    levels = [sorted({rounded(width, share, STEP) for share in SHARES}) for width in full.values()]
    ways = [dict(zip(full, widths, strict=True)) for widths in itertools.product(*levels)]
    best = min(total(table, way) for way in ways if cost(TERMS, way)[0] <= limits.weights)
    assert total(table, knapsack(table, TERMS, limits, STEP)) == pytest.approx(best, abs=1e-6)


def test_what_nobody_can_keep_is_refused() -> None:
    """With what the narrowest network has."""
    table = {"g0": sensitivity(16, 1, 2), "g1": sensitivity(16, 1, 2)}
    with pytest.raises(UsageError, match=r"at most 10 weights.*the narrowest network has 956"):
        knapsack(table, TERMS, Limits(10), STEP)
    with pytest.raises(UsageError, match="keep more"):
        uniform_within({"g0": 16, "g1": 16}, TERMS, Limits(10), STEP)


def test_between_two_widths_the_perturbation_is_on_their_line() -> None:
    """And 0 where nothing goes."""
    known = sensitivity(32, 3.0, 1.0)
    assert [known.at(width) for width in (8, 12, 16, 24, 32)] == [3.0, 2.0, 1.0, 0.5, 0.0]

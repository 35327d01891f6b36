"""The Pareto front, against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.pareto import pareto_front

points = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers(-3, 3).map(float)] * width), max_size=12)
)


def dominates(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return first != second and all(a <= b for a, b in zip(first, second, strict=True))


@given(points)
def test_the_front_is_what_nothing_dominates(found: list[tuple[float, ...]]) -> None:
    """An index is in the front exactly if no other point is as small everywhere and smaller somewhere."""
    expected = [at for at, point in enumerate(found) if not any(dominates(other, point) for other in found)]
    assert pareto_front(found) == expected


def test_a_trade_off_keeps_both_ends() -> None:
    """Bytes against loss: the larger and worse candidate goes, both ends of the trade-off stay."""
    assert pareto_front([(100, 0.1), (200, 0.05), (300, 0.07)]) == [0, 1]


def test_equal_points_stay_together() -> None:
    """Ties are for the caller to break."""
    assert pareto_front([(1, 1), (1, 1), (2, 1)]) == [0, 1]


def test_no_points_have_no_front() -> None:
    """An empty history is not an error."""
    assert pareto_front([]) == []


def test_infinite_coordinates_are_just_large() -> None:
    """A candidate that could not be measured may carry an infinite cost."""
    assert pareto_front([(float("inf"), 0.0), (1.0, 1.0), (float("inf"), 1.0)]) == [0, 1]


def test_nan_is_refused() -> None:
    """A nan would neither dominate nor be dominated, and so always win."""
    with pytest.raises(ValueError, match=r"point 1 has a coordinate that is nan"):
        pareto_front([(1.0,), (float("nan"),)])


def test_points_of_different_lengths_are_refused() -> None:
    """Comparing two limits with three is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"point 1 has 1 coordinates, the first has 2"):
        pareto_front([(1.0, 2.0), (1.0,)])

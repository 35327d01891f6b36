"""False-positive rates with Wilson's bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.statistics import rate_interval, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "lower", "upper"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_intervals(successes: int, n: int, lower: float, upper: float) -> None:
    """The examples of Newcombe 1998 (Statistics in Medicine 17, table I, method 3), two-sided 95 %."""
    found = wilson_interval(successes, n, 0.975)
    assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_stay_in_range_and_mirror(counts: tuple[int, int]) -> None:
    """0 <= lower <= value <= upper <= 1, and misses mirror hits."""
    hits, n = counts
    found, misses = wilson_interval(hits, n), wilson_interval(n - hits, n)
    assert 0 <= found.lower <= found.value <= found.upper <= 1
    assert found.upper == pytest.approx(1 - misses.lower)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    """More hits than images is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"expected 0 <= successes <= n and n > 0, found"):
        wilson_interval(successes, n)


def test_ungrouped_rate_is_wilsons() -> None:
    """Independent images count fully."""
    hits = np.arange(50) < 4
    assert rate_interval(hits) == pytest.approx(wilson_interval(4, 50))


def test_copies_of_an_image_count_once() -> None:
    """Five false alarms on five photographs of one part are one false alarm, about."""
    hits, parts = np.arange(40) < 4, np.arange(40)
    copied = rate_interval(np.repeat(hits, 5), groups=np.repeat(parts, 5))
    assert copied == pytest.approx(rate_interval(hits), abs=0.01)


def test_no_false_alarm_in_groups_is_cautious() -> None:
    """Without any hit the correlation is unknown: the upper bound counts groups, not images."""
    found = rate_interval(np.zeros(60, bool), groups=np.repeat(np.arange(10), 6))
    assert found == wilson_interval(0, 10)


def test_no_images_are_refused() -> None:
    """A rate of nothing is not 0."""
    with pytest.raises(ValueError, match=r"a rate needs \(n,\) hits with n > 0, found shape \(0,\)"):
        rate_interval([])

"""Bounds of latency percentiles by order statistics."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.statistics import minimum_samples, percentile_bounds


@pytest.mark.parametrize(("q", "n"), [(0.5, 5), (0.95, 59), (0.99, 299), (0.05, 59)])
def test_published_minimum_samples(q: float, n: int) -> None:
    """p95 needs 59 samples and p99 299 before the largest one bounds it with 95 % confidence."""
    assert minimum_samples(q) == n


@given(st.floats(0.01, 0.995), st.floats(0.6, 0.995))
def test_minimum_is_where_the_largest_sample_suffices(q: float, confidence: float) -> None:
    """One sample fewer and neither the largest nor the smallest sample could be the bound."""
    n, side = minimum_samples(q, confidence), max(q, 1 - q)
    assert 1 - side**n >= confidence - 1e-12
    assert 1 - side ** (n - 1) < confidence + 1e-12


def test_at_the_minimum_the_largest_sample_is_the_bound() -> None:
    """59 samples: the upper bound of p95 is the slowest of them."""
    found = percentile_bounds(np.arange(1.0, 60.0), 0.95)
    assert found.upper == 59
    assert found.value == 57


def test_too_few_samples_are_refused() -> None:
    """58 samples cannot bound p95, and the message says how many can."""
    with pytest.raises(ValueError, match=r"p95 with 95 % confidence needs 59 samples, found 58"):
        percentile_bounds(np.arange(58.0), 0.95)


@pytest.mark.parametrize(("q", "n"), [(0.5, 60), (0.95, 59), (0.95, 200), (0.95, 1000), (0.99, 299), (0.99, 5000)])
def test_bounds_are_scipys(q: float, n: int) -> None:
    """The same order statistics as scipy.stats.quantile_test picks for its one-sided intervals."""
    from scipy.stats import quantile_test

    samples = np.random.default_rng(n).lognormal(size=n)
    found = percentile_bounds(samples, q)
    upper: Any = quantile_test(samples, q=0, p=q, alternative="less").confidence_interval(0.95)
    lower: Any = quantile_test(samples, q=0, p=q, alternative="greater").confidence_interval(0.95)
    assert (found.lower, found.upper) == (lower.low, upper.high)


@given(st.lists(st.floats(0, 1e6), min_size=59, max_size=200))
def test_bounds_contain_the_value_and_are_samples(samples: list[float]) -> None:
    """No interpolation: all three numbers were really measured."""
    found = percentile_bounds(samples, 0.95)
    assert found.lower <= found.value <= found.upper
    assert set(found) <= set(samples)


def test_bounds_hold_as_often_as_promised() -> None:
    """On exponential latencies each one-sided bound of p95 fails in at most about 5 % of repetitions."""
    rng, truth = np.random.default_rng(0), -np.log(0.05)
    found = [percentile_bounds(rng.exponential(size=100), 0.95) for _ in range(1000)]
    assert np.mean([one.upper >= truth for one in found]) >= 0.93
    assert np.mean([one.lower <= truth for one in found]) >= 0.93


def test_samples_that_are_not_finite_are_refused() -> None:
    """A failed timing must not become the fastest or the slowest one."""
    with pytest.raises(ValueError, match=r"1 of 60 samples are not finite"):
        percentile_bounds([1.0] * 59 + [float("nan")], 0.95)


def test_percent_instead_of_share_is_refused() -> None:
    """95 for 0.95 is the likely slip."""
    with pytest.raises(ValueError, match=r"a quantile must be between 0 and 1 \(0.95 for p95\), found 95"):
        percentile_bounds([1.0] * 100, 95)


def test_confidence_out_of_range_is_refused() -> None:
    """A certain bound would need infinitely many samples."""
    with pytest.raises(ValueError, match=r"confidence must be between 0.5 and 1, found 1"):
        minimum_samples(0.95, 1.0)

"""Ranges of activations from what calibration saw."""

from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from budgetc.core.plan import Method
from budgetc.detectors.observers import Histogram, RangeObserver, range_of
from budgetc.detectors.rounding import FakeQuantize, NumberFormat, activation_format

METHODS: tuple[Method, ...] = get_args(Method)


def _seen(*batches: Tensor) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        histogram.add(batch)
    return histogram


def _normal(count: int = 20_000, seed: int = 0) -> Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def _error(x: Tensor, low: float, high: float) -> float:
    rounded = FakeQuantize(NumberFormat("int8", output=activation_format(low, high))).output(x)
    return float((rounded - x).square().mean())


def test_min_max_keeps_the_extremes_of_all_batches() -> None:
    """The range is that of everything seen."""
    observer = RangeObserver("min-max")
    observer.output(torch.tensor([0.0, 2.0]))
    observer.output(torch.tensor([-1.0, 1.0]))
    assert observer.range("output") == (-1, 2)
    assert observer.range("before_activation") is None


@given(reach=st.floats(1e-3, 1e3), growth=st.floats(1, 100), sign=st.sampled_from([-1, 1]))
def test_a_growing_reach_loses_no_value_and_no_place(reach: float, growth: float, sign: int) -> None:
    """Bins are merged in pairs: every value stays within half a bin of where it was counted."""
    first, second = torch.tensor([reach, reach / 3]), torch.tensor([sign * reach * growth])
    seen = _seen(first, second)
    assert seen.counts.sum() == 3
    places = seen.centers[seen.counts > 0]
    width = 2 * seen.reach / len(seen.counts)
    for value in torch.cat([first, second]).tolist():
        assert (places - value).abs().min() <= width * 0.51


@given(low=st.floats(-50, 0), high=st.floats(0, 50), seed=st.integers(0, 99))
@pytest.mark.parametrize("method", METHODS)
def test_no_method_leaves_the_observed_range(method: Method, low: float, high: float, seed: int) -> None:
    """Steps beyond what was seen would serve nothing; what never was negative keeps zero point 0."""
    values = torch.rand(500, generator=torch.Generator().manual_seed(seed)) * (high - low) + low
    found = range_of(_seen(values), method)
    assert min(0.0, float(values.min())) <= found[0] <= found[1] <= max(0.0, float(values.max()))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_always_zero_has_an_empty_range(method: Method) -> None:
    """A dead layer is no error."""
    assert range_of(_seen(torch.zeros(8)), method) == (0, 0)


def test_percentile_leaves_outliers_out() -> None:
    """A lone outlier among 20,000 values is beyond the tail."""
    low, high = range_of(_seen(torch.cat([_normal(), torch.tensor([1000.0])])), "percentile")
    assert -5 < low < -3 and 3 < high < 5


@pytest.mark.parametrize("rectified", [False, True])
def test_mse_rounds_better_than_min_max_where_there_are_outliers(rectified: bool) -> None:
    """One outlier in a million values costs less than the wide steps that it would bring to all others."""
    values = torch.cat([_normal(1_000_000), torch.tensor([20.0])])
    values = values.relu() if rectified else values
    seen = _seen(values)
    narrow, wide = range_of(seen, "mse"), range_of(seen, "min-max")
    assert narrow[1] < wide[1]
    assert _error(values, *narrow) < _error(values, *wide)


def test_mse_finds_what_trying_all_thresholds_finds() -> None:
    """The histogram's estimate of the error chooses a range within 5 percent of the best by the values themselves."""
    values = torch.cat([_normal(), 4 * _normal(200, seed=1)]).relu()
    best = min(_error(values, 0.0, float(values.max()) * share / 200) for share in range(4, 201))
    assert _error(values, *range_of(_seen(values), "mse")) < 1.05 * best


@pytest.mark.parametrize("rectified", [False, True])
def test_entropy_cuts_off_what_is_rare(rectified: bool) -> None:
    """The divergence keeps the bulk and gives up the outlier, however many zeros a ReLU adds."""
    values = torch.cat([_normal(), torch.tensor([60.0])])
    low, high = range_of(_seen(values.relu() if rectified else values), "entropy")
    assert 2 < high < 30
    assert low == 0 if rectified else low < -2

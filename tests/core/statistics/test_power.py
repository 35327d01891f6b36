"""How many images certify a floor."""

from statistics import NormalDist

import numpy as np
import pytest

from budgetc.core.statistics import auroc_interval, images_needed
from budgetc.core.statistics.power import _both_correct

# Floor, true AUROC, images per side for 80 % power, rounded up by whoever planned with them.
SIMULATED = [
    (0.90, 0.98, 30), (0.90, 0.95, 100), (0.95, 0.99, 60), (0.95, 0.98, 150), (0.95, 0.97, 300), (0.97, 0.995, 100),
    (0.97, 0.99, 150),
]  # fmt: skip


@pytest.mark.parametrize(("floor", "truth", "n"), SIMULATED)
def test_agrees_with_simulated_table(floor: float, truth: float, n: int) -> None:
    """The closed formula lies within 20 % of the simulated, rounded numbers."""
    assert images_needed(floor, truth) == pytest.approx(n, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("floor", "truth", "_n"), SIMULATED)
def test_power_is_what_was_promised(floor: float, truth: float, _n: int) -> None:
    """With the number it names, the lower bound reaches the floor in about 80 % of simulations."""
    n, rng = images_needed(floor, truth), np.random.default_rng(0)
    labels, distance = np.repeat([0, 1], n), NormalDist().inv_cdf(truth) * 2**0.5
    reached = [auroc_interval(rng.normal(size=2 * n) + distance * labels, labels).lower >= floor for _ in range(1500)]
    assert np.mean(reached) == pytest.approx(0.80, abs=0.05)


def test_both_correct_is_the_normal_probability() -> None:
    """Two bad normal scores above one good: the closed form agrees with half a million draws."""
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=500_000), rng.normal(size=(2, 500_000)) + NormalDist().inv_cdf(0.9) * 2**0.5
    assert _both_correct(0.9) == pytest.approx((bad > good).all(axis=0).mean(), abs=0.002)


def test_harder_floors_need_more_images() -> None:
    """Monotone in floor, truth, power and confidence."""
    assert images_needed(0.95, 0.98) > images_needed(0.90, 0.98) >= images_needed(0.90, 0.99)
    assert images_needed(0.9, 0.95, power=0.9) > images_needed(0.9, 0.95) > images_needed(0.9, 0.95, power=0.6)
    assert images_needed(0.9, 0.95, confidence=0.99) > images_needed(0.9, 0.95)


def test_never_fewer_than_ten() -> None:
    """Below ten images a class a category is insufficient data, however easy."""
    assert images_needed(0.5, 0.999) == 10


def test_a_perfect_detector_still_needs_images() -> None:
    """Even AUROC 1 on a handful of images does not certify .97."""
    assert images_needed(0.97, 1.0) > 30


@pytest.mark.parametrize(("floor", "truth"), [(0.95, 0.95), (0.95, 0.9), (90, 95), (0.4, 0.9)])
def test_unreachable_floors_are_refused(floor: float, truth: float) -> None:
    """A floor at or above the truth is never certified."""
    with pytest.raises(ValueError, match=r"expected 0.5 <= floor < truth <= 1, found floor"):
        images_needed(floor, truth)


def test_a_hair_above_the_floor_is_refused() -> None:
    """A difference that needs more images than anyone has is no plan."""
    with pytest.raises(ValueError, match=r"too close to the floor 0.95 to be told apart"):
        images_needed(0.95, 0.95000001)


def test_power_out_of_range_is_refused() -> None:
    """80 for 0.80 is the likely slip."""
    with pytest.raises(ValueError, match=r"power must be at least 0.5 and below 1, found 80"):
        images_needed(0.9, 0.95, power=80)

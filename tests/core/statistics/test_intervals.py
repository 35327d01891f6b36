"""Bounds of AUROCs and of paired losses: published values, equations by hand, invariances."""

from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from budgetc.core.statistics.intervals import (
    IDENTICAL,
    auroc_interval,
    auroc_loss_interval,
    exponential_variance,
    logit_bounds,
    newcombe_bounds,
)
from budgetc.core.statistics.roc import auroc, components, variance

Z95 = NormalDist().inv_cdf(0.95)
# Hanley and McNeil 1982, table I: CT images rated 1 (normal) to 5 (abnormal), by true disease.
RATINGS = np.tile([1, 2, 3, 4, 5], 2)
COUNTS = [33, 6, 6, 11, 2, 3, 2, 2, 11, 33]
CT_SCORES, CT_LABELS = np.repeat(RATINGS, COUNTS), np.repeat(np.repeat([0, 1], 5), COUNTS)


def normal_data(seed: int, n_good: int = 40, n_bad: int = 50) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng, labels = np.random.default_rng(seed), np.repeat([0, 1], [n_good, n_bad])
    return rng.normal(size=labels.size) + 2 * labels, labels


def test_published_auroc_and_standard_error() -> None:
    """The CT ratings of Hanley and McNeil: AUROC .8932, DeLong standard error .0307 as textbooks print them."""
    parts = components(CT_SCORES, CT_LABELS)
    assert parts.value == pytest.approx(0.8932, abs=5e-5)
    assert sqrt(variance(parts).total) == pytest.approx(0.0307, abs=5e-5)


def test_published_exponential_standard_error() -> None:
    """Hanley and McNeil print .032 for the CT ratings; the mean class size instead of both moves it by < .0005."""
    assert sqrt(exponential_variance(0.8932, (58, 51))) == pytest.approx(0.032, abs=5e-4)


@given(st.floats(0.02, 1), st.integers(1, 300), st.integers(1, 300))
def test_newcombe_bounds_solve_their_equation(value: float, good: int, bad: int) -> None:
    """The lower bound is z of its own standard errors below the value."""
    lower, _ = newcombe_bounds(value, (good, bad), Z95)
    assert value - lower == pytest.approx(Z95 * sqrt(exponential_variance(lower, (good, bad))), abs=1e-6)
    assert 0 <= lower < value


def test_newcombe_with_one_pair_is_wilson() -> None:
    """One good and one bad image are one trial: by hand, the lower bound of 1 of 1 is 1 / (1 + z^2)."""
    assert newcombe_bounds(1.0, (1, 1), Z95) == pytest.approx((1 / (1 + Z95**2), 1.0), abs=1e-9)


@given(st.floats(0, 1))
def test_newcombe_bounds_are_symmetric(value: float) -> None:
    """The upper bound mirrors the lower one of the flipped labels."""
    lower, upper = newcombe_bounds(value, (20, 60), Z95)
    mirrored_lower, mirrored_upper = newcombe_bounds(1 - value, (20, 60), Z95)
    assert (lower, upper) == pytest.approx((1 - mirrored_upper, 1 - mirrored_lower), abs=1e-9)


def test_logit_bounds_by_hand() -> None:
    """At AUROC 0.8 the logit is ln 4 and its derivative 6.25: se 0.16 is one unit, bounds are e^(ln 4 -+ 1)-odds."""
    bounds = logit_bounds(0.8, 0.16**2, 1.0)
    assert bounds == pytest.approx((4 / np.e / (1 + 4 / np.e), 4 * np.e / (1 + 4 * np.e)))


def test_logit_bounds_of_perfect_or_unknown_are_none() -> None:
    """At 0, at 1 and without a variance there is no logit bound, rather than a wrong one."""
    assert logit_bounds(1.0, 0.0, Z95) is None
    assert logit_bounds(0.0, 0.0, Z95) is None
    assert logit_bounds(0.9, float("nan"), Z95) is None


@pytest.mark.parametrize("seed", range(5))
def test_interval_is_the_wider_of_both_methods(seed: int) -> None:
    """Lower is the smaller lower bound, upper the larger upper bound."""
    scores, labels = normal_data(seed)
    found, parts = auroc_interval(scores, labels), components(scores, labels)
    logit, newcombe = logit_bounds(parts.value, variance(parts).total, Z95), newcombe_bounds(parts.value, (40, 50), Z95)
    assert logit is not None
    assert found.lower == min(logit[0], newcombe[0])
    assert found.upper == max(logit[1], newcombe[1])
    assert found.lower < found.value < found.upper


def test_interval_at_one_is_not_a_point() -> None:
    """Perfect separation of few images certifies little: lower is well below 1, and only Newcombe speaks."""
    found = auroc_interval([0.0] * 20 + [1.0] * 60, [0] * 20 + [1] * 60)
    assert (found.value, found.upper, found.method) == (1.0, 1.0, "Newcombe 5")
    assert 0.90 < found.lower < 0.96


def test_interval_at_zero_mirrors_one() -> None:
    """An inverted detector gets the mirrored interval."""
    ones, zeros = auroc_interval([0.0, 0, 1, 1], [0, 0, 1, 1]), auroc_interval([1.0, 1, 0, 0], [0, 0, 1, 1])
    assert (zeros.value, zeros.lower) == (0.0, 0.0)
    assert zeros.upper == pytest.approx(1 - ones.lower)


def test_interval_of_all_ties_is_not_a_point() -> None:
    """A constant score has AUROC 1/2 and no DeLong variance; the interval stays wide."""
    found = auroc_interval(np.ones(80), np.repeat([0, 1], 40))
    assert found.value == 0.5
    assert found.lower < 0.42
    assert found.upper > 0.58


def test_interval_with_one_image_a_class_is_defined() -> None:
    """No variance can be estimated from one image; the bounds say so by their width."""
    found = auroc_interval([0.0, 1.0], [0, 1])
    assert found.lower < 0.3


def test_interval_counts_images_and_groups() -> None:
    """A report can say how many independent groups stand behind the images."""
    found = auroc_interval([1.0, 2, 1, 3, 4, 3], [0, 0, 0, 1, 1, 1], groups=["a", "a", "b", "c", "d", "e"])
    assert (found.n_good, found.n_bad, found.groups_good, found.groups_bad) == (3, 3, 2, 3)
    assert found.method.endswith("clustered by group")


def test_interval_ignores_the_scale_of_scores() -> None:
    """Bounds follow from ranks alone."""
    scores, labels = normal_data(7)
    assert auroc_interval(np.exp(scores), labels) == auroc_interval(scores, labels)


def test_flipped_labels_mirror_the_interval() -> None:
    """Normals and anomalies exchanged: [lower, upper] becomes [1 - upper, 1 - lower]."""
    scores, labels = normal_data(8, 30, 30)
    found, flipped = auroc_interval(scores, labels), auroc_interval(scores, 1 - labels)
    assert (flipped.lower, flipped.upper) == pytest.approx((1 - found.upper, 1 - found.lower))


def test_more_confidence_is_wider() -> None:
    """99 % reaches further down than 95 %."""
    scores, labels = normal_data(9)
    strict, usual = (auroc_interval(scores, labels, confidence=level).lower for level in (0.99, 0.95))
    assert strict < usual


def test_copies_inside_their_group_leave_the_interval() -> None:
    """Six photographs of each part, all alike: about the interval of one photograph each, not a narrower one."""
    scores, labels = normal_data(10, 29, 40)
    once = auroc_interval(scores, labels)
    copied = [np.repeat(one, 6) for one in (scores, labels, np.arange(69))]
    clustered, naive = auroc_interval(copied[0], copied[1], groups=copied[2]), auroc_interval(copied[0], copied[1])
    assert clustered.lower == pytest.approx(once.lower, abs=0.005)
    assert clustered.upper == pytest.approx(once.upper, abs=0.005)
    assert once.value - once.lower > 2 * (naive.value - naive.lower)


@pytest.mark.parametrize("confidence", [0.5, 1.0, 95])
def test_confidence_out_of_range_is_refused(confidence: float) -> None:
    """95 for 0.95 is the likely slip."""
    with pytest.raises(ValueError, match=r"confidence must be between 0.5 and 1, found"):
        auroc_interval([0.0, 1.0], [0, 1], confidence=confidence)


def test_loss_is_baseline_minus_other() -> None:
    """A positive loss means that the compressed detector is worse."""
    scores, labels = normal_data(11)
    worse = scores + np.random.default_rng(0).normal(size=90)
    found = auroc_loss_interval(scores, worse, labels)
    assert found.value == pytest.approx(auroc(scores, labels) - auroc(worse, labels))
    assert found.value > 0
    assert found.lower < found.value < found.upper


def test_identical_rankings_say_so() -> None:
    """A monotone change of all scores loses exactly nothing, and the method gives the reason."""
    scores, labels = normal_data(12)
    found = auroc_loss_interval(scores, 2 * scores + 1, labels)
    assert (found.value, found.lower, found.upper, found.method) == (0.0, 0.0, 0.0, IDENTICAL)


def test_two_perfect_detectors_are_not_called_equal() -> None:
    """Both separate few images, with other rankings: a loss in the field stays possible and the bounds admit it."""
    labels = np.repeat([0, 1], [20, 60])
    rng = np.random.default_rng(13)
    found = auroc_loss_interval(rng.random(80) + 9 * labels, rng.random(80) + 9 * labels, labels)
    assert found.value == 0
    assert found.method != IDENTICAL
    assert found.upper > 0.02


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("strength", [1.0, 0.1])
def test_paired_bounds_contain_walds(seed: int, strength: float) -> None:
    """At least the paired DeLong standard error, computed here from covariances; of weak detectors it is the wider."""
    scores, labels = normal_data(seed, 6, 8)
    scores = scores - 2 * (1 - strength) * labels
    other = scores + 2 * np.random.default_rng(seed).normal(size=14)
    old, new = components(scores, labels), components(other, labels)
    bad, good = np.cov(old.bad, new.bad), np.cov(old.good, new.good)
    spread = Z95 * sqrt((bad[0, 0] + bad[1, 1] - 2 * bad[0, 1]) / 8 + (good[0, 0] + good[1, 1] - 2 * good[0, 1]) / 6)
    found = auroc_loss_interval(scores, other, labels)
    assert found.upper >= found.value + spread - 1e-12
    assert found.lower <= found.value - spread + 1e-12


def test_pairing_helps() -> None:
    """On the same images a nearly equal detector is compared far more sharply than each is known alone."""
    scores, labels = normal_data(14, 100, 100)
    other = scores + 0.05 * np.random.default_rng(1).normal(size=200)
    loss, alone = auroc_loss_interval(scores, other, labels), auroc_interval(scores, labels)
    assert loss.upper - loss.lower < (alone.upper - alone.lower) / 3


def test_swapping_detectors_mirrors_the_loss() -> None:
    """loss(a, b) = -loss(b, a), bounds included."""
    scores, labels = normal_data(15)
    other = scores + np.random.default_rng(2).normal(size=90)
    there, back = auroc_loss_interval(scores, other, labels), auroc_loss_interval(other, scores, labels)
    assert (back.value, back.lower, back.upper) == pytest.approx((-there.value, -there.upper, -there.lower))


def test_copies_inside_their_group_leave_the_loss_interval() -> None:
    """Copies of an image make a loss no surer when the groups are told."""
    scores, labels = normal_data(16)
    other = scores + np.random.default_rng(3).normal(size=90)
    once = auroc_loss_interval(scores, other, labels)
    copied = [np.repeat(one, 5) for one in (scores, other, labels, np.arange(90))]
    clustered = auroc_loss_interval(copied[0], copied[1], copied[2], groups=copied[3])
    assert (clustered.lower, clustered.upper) == pytest.approx((once.lower, once.upper), abs=1e-9)

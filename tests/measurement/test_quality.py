"""Thresholds of all categories and of each, and what a report says of categories."""

from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetc.core.dataset import Sample
from budgetc.measurement.quality import (
    FALSE_POSITIVE_RATE,
    FEWEST_NORMALS,
    Scored,
    category_losses,
    fit_threshold,
    fit_thresholds,
    loss_between,
    own_thresholds,
    quality_of,
)


def normals(**counts: int) -> list[Sample]:
    return [Sample(f"{name}/{n}.png", f"{name}-{n}", name, "good") for name, count in counts.items()
            for n in range(count)]  # fmt: skip


def unified(shift: float = 0.0, distances: dict[str, float] | None = None) -> Scored:
    """Brick, and grass whose scores all lie higher by `shift`; 40 good and 40 bad of each."""
    rng, samples, scores = np.random.default_rng(0), list[Sample](), list[float]()
    for name, distance in (distances or {"brick": 3.0, "grass": 3.0}).items():
        for n in range(80):
            samples.append(Sample(f"{name}/{n}.png", f"{name}-{n}", name, "good" if n < 40 else "hole"))
            scores.append(float(rng.normal()) + distance * (n >= 40) + shift * (name == "grass"))
    return Scored("confirmation", samples, np.array(scores), "host")


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(1, 90), min_size=2, max_size=4), seed=st.integers(0, 2**16))
def test_thresholds_keep_their_rate_on_calibration(counts: list[int], seed: int) -> None:
    """Of all categories together and of each alone, wherever their scores lie; to within one image."""
    samples = normals(**{f"c{place}": count for place, count in enumerate(counts)})
    rng, names = np.random.default_rng(seed), np.array([sample.category for sample in samples])
    scores = rng.normal(size=len(samples)) + 5.0 * np.array([int(name[1:]) for name in names])
    own = fit_thresholds(scores, samples)
    assert sorted(own) == own_thresholds(samples) == [f"c{n}" for n, one in enumerate(counts) if one >= FEWEST_NORMALS]
    for threshold, of in [(fit_threshold(scores), scores), *((own[name], scores[names == name]) for name in own)]:
        assert (of > threshold).sum() <= ceil(FALSE_POSITIVE_RATE * (len(of) - 1))


def test_scores_at_the_threshold_are_no_alarms() -> None:
    """As where the artifact runs: INT8 scores tie, and those of normals with the threshold that was fitted to them."""
    samples = [Sample(f"{n}.png", str(n), "brick", "good" if n < 4 else "hole") for n in range(8)]
    scored = Scored("confirmation", samples, np.array([1.0, 1, 2, 3] * 2), "host")
    found = quality_of(scored, 2.0, thresholds={"brick": 1.0})
    assert found.false_positive_rate.value == 1 / 4
    own = found.categories[0].own_false_positive_rate
    assert own is not None and own.value == 2 / 4
    assert [(row.found, row.found_by_own) for row in found.recall] == [(1, 2)]


def test_a_single_category_has_one_threshold() -> None:
    """It would be the same number twice."""
    assert fit_thresholds(np.arange(50.0), normals(all=50)) == {}


def test_false_alarms_of_a_category_by_both_thresholds() -> None:
    """Where one category's scores lie higher, the threshold of all hides that it alone raises every alarm."""
    found = quality_of(unified(shift=2.0), 2.5, thresholds={"brick": 1.7, "grass": 3.7})
    brick, grass = found.categories
    rates = [one.value for one in (brick.false_positive_rate, grass.false_positive_rate) if one is not None]
    own = [one.value for one in (brick.own_false_positive_rate, grass.own_false_positive_rate) if one is not None]
    assert rates[0] == 0.0 < 0.2 < rates[1]
    assert max(own) < 0.1
    assert found.false_positive_rate.value == pytest.approx(np.mean(rates))
    assert grass.false_positive_rate is not None
    assert grass.false_positive_rate.n == 40
    assert (brick.threshold, grass.threshold) == (1.7, 3.7)


def test_pooled_is_not_the_mean() -> None:
    """Every category is told apart perfectly, and their scores lie on different scales: only pooled sees it."""
    found = quality_of(unified(shift=6.0, distances={"brick": 5.0, "grass": 5.0}), 0.0)
    assert found.auroc_mean.value > 0.999
    assert found.auroc_worst.value <= found.auroc_mean.value
    assert found.auroc_pooled.value < 0.9


def test_a_category_without_its_own_threshold_has_no_rate_of_it() -> None:
    """It is not judged by another one unseen."""
    brick, grass = quality_of(unified(), 2.0, thresholds={"brick": 1.7}).categories
    assert (grass.threshold, grass.own_false_positive_rate) == (None, None)
    assert brick.own_false_positive_rate is not None


def test_the_category_that_lost_most_comes_first() -> None:
    """Though the mean hides half of it."""
    before, after = unified(), unified(distances={"brick": 3.0, "grass": 1.0})
    loss = loss_between(before, after)
    rows = category_losses(loss, after)
    assert [one.category for one in rows] == ["grass", "brick"]
    assert rows[0].auroc_loss.value == pytest.approx(2 * loss.mean.value)
    assert rows[0].auroc_loss.lower is not None
    assert rows[0].auroc_loss.lower > 0


def test_a_single_category_lost_nothing_beside_the_mean() -> None:
    """Its row would be the overall one again."""
    one = unified(distances={"brick": 2.0})
    assert category_losses(loss_between(one, one), one) == ()


def test_recall_is_counted_by_both_thresholds() -> None:
    """What a threshold of all misses of the category with the lower scores, its own one finds."""
    found = quality_of(unified(shift=6.0), 7.0, thresholds={"brick": 1.7})
    (hole,) = found.recall
    assert hole.found < 45
    assert (hole.found_by_own or 0) - hole.found > 30
    assert hole.of == 80
    (hole,) = quality_of(unified(), 7.0).recall
    assert hole.found_by_own is None

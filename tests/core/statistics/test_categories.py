"""Mean, worst and pooled AUROC of a unified detector."""

from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetc.core.statistics import (
    IDENTICAL,
    auroc,
    auroc_by_category,
    auroc_interval,
    auroc_loss_by_category,
    auroc_loss_interval,
)

Data = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.str_]]


def three_categories(seed: int = 0, distances: tuple[float, ...] = (2.5, 2.0, 1.2), n: int = 30) -> Data:
    rng = np.random.default_rng(seed)
    names = np.repeat(["cable", "tile", "wood"][: len(distances)], 2 * n)
    labels = np.tile(np.repeat([0, 1], n), len(distances))
    scores = rng.normal(size=labels.size) + np.repeat(distances, 2 * n) * labels
    # Scores of categories live on different scales, which only the pooled AUROC sees.
    return scores + 3.0 * (names == "wood"), labels, names


def test_each_category_gets_its_own_interval() -> None:
    """The interval of a category is that of its images alone."""
    scores, labels, names = three_categories()
    found, tile = auroc_by_category(scores, labels, categories=names), names == "tile"
    assert list(found.categories) == ["cable", "tile", "wood"]
    assert found.categories["tile"] == auroc_interval(scores[tile], labels[tile])


def test_mean_is_the_mean_of_categories() -> None:
    """Every category counts the same, whatever its number of images."""
    scores, labels, names = three_categories()
    scores, labels, names = scores[5:], labels[5:], names[5:]
    found = auroc_by_category(scores, labels, categories=names)
    assert found.mean.value == pytest.approx(
        np.mean([auroc(scores[names == c], labels[names == c]) for c in set(names)])
    )
    assert (found.mean.n_good, found.mean.n_bad) == (85, 90)


def test_mean_is_surer_than_its_categories() -> None:
    """k equal independent categories: the margin shrinks by about sqrt(k)."""
    scores, labels, names = three_categories(1, (2.0, 2.0, 2.0), 200)
    found = auroc_by_category(scores, labels, categories=names)
    margins = [one.value - one.lower for one in found.categories.values()]
    assert found.mean.value - found.mean.lower == pytest.approx(np.mean(margins) / sqrt(3), rel=0.1)


def test_one_category_has_one_auroc() -> None:
    """With a single category mean, worst and pooled are the same interval."""
    scores, labels, names = three_categories(2, (1.5,))
    found, alone = auroc_by_category(scores, labels, categories=names), auroc_interval(scores, labels)
    assert found.pooled == found.worst == alone
    assert found.mean.method == alone.method
    assert (found.mean.lower, found.mean.upper) == pytest.approx((alone.lower, alone.upper), abs=1e-9)


def test_worst_names_the_broken_category() -> None:
    """A mean of good categories cannot hide the one that is broken."""
    scores, labels, names = three_categories()
    found = auroc_by_category(scores, labels, categories=names)
    assert found.worst_category == "wood"
    assert found.worst.value == found.categories["wood"].value
    assert found.worst.method.endswith("worst of 3 categories")


def test_worst_lower_bound_is_an_intersection_union_test() -> None:
    """Worst reaches a floor exactly if every category's own lower bound does, also a small sample of a good one."""
    scores, labels, names = three_categories()
    keep = (names != "cable") | (np.arange(names.size) % 10 == 0)
    found = auroc_by_category(scores[keep], labels[keep], categories=names[keep])
    assert found.worst.lower == min(one.lower for one in found.categories.values())
    assert found.worst.lower <= found.worst.value <= found.worst.upper


def test_pooled_sees_scales_that_differ() -> None:
    """One threshold for all categories suffers when a category scores higher throughout."""
    scores, labels, names = three_categories()
    found = auroc_by_category(scores, labels, categories=names)
    assert found.pooled == auroc_interval(scores, labels)
    assert found.pooled.value < found.mean.value


def test_over_follows_the_budget() -> None:
    """`auroc.over` picks one of the three."""
    scores, labels, names = three_categories()
    found = auroc_by_category(scores, labels, categories=names)
    assert [found.over("mean"), found.over("worst-category"), found.over("pooled")] == [
        found.mean, found.worst, found.pooled,
    ]  # fmt: skip


def test_nine_bad_images_are_insufficient() -> None:
    """Fewer than ten of a class are named, but still drag mean and worst: leaving them out would flatter."""
    scores, labels, names = three_categories()
    keep = np.ones(names.size, bool)
    keep[np.flatnonzero((names == "wood") & (labels == 1))[9:]] = False
    found = auroc_by_category(scores[keep], labels[keep], categories=names[keep])
    assert found.insufficient == ("wood",)
    assert "wood" in found.categories


def test_ten_images_a_class_are_sufficient() -> None:
    """Ten of each is enough to be judged."""
    scores, labels, names = three_categories(n=10)
    assert auroc_by_category(scores, labels, categories=names).insufficient == ()


def test_a_category_without_defects_is_insufficient() -> None:
    """It has no AUROC, is not in the mean, and is named."""
    scores, labels, names = three_categories()
    keep = (names != "tile") | (labels == 0)
    found = auroc_by_category(scores[keep], labels[keep], categories=names[keep])
    assert found.insufficient == ("tile",)
    assert list(found.categories) == ["cable", "wood"]


def test_no_scorable_category_is_refused() -> None:
    """All defects in one product and all normals in another give no AUROC per category."""
    with pytest.raises(ValueError, match=r"no category has both good and bad images"):
        auroc_by_category([0.0, 1.0], [0, 1], categories=["a", "b"])


def test_categories_of_another_length_are_refused() -> None:
    """One category an image."""
    with pytest.raises(ValueError, match=r"categories must be \(2,\), one name an image, found shape \(1,\)"):
        auroc_by_category([0.0, 1.0], [0, 1], categories=["a"])


def test_groups_widen_every_interval() -> None:
    """Four copies of each image, told as groups: mean, worst and pooled are as unsure as without the copies."""
    scores, labels, names = three_categories()
    once = auroc_by_category(scores, labels, categories=names)
    copied = [np.repeat(one, 4) for one in (scores, labels, names, np.arange(180))]
    again = auroc_by_category(copied[0], copied[1], categories=copied[2], groups=copied[3])
    for over in ("mean", "worst-category", "pooled"):
        assert again.over(over).lower == pytest.approx(once.over(over).lower, abs=0.006)


def test_mean_loss_adds_variances() -> None:
    """Mean loss of independent categories: margins add as squares and divide by k."""
    scores, labels, names = three_categories()
    other = scores + 0.4 * np.random.default_rng(5).normal(size=180)
    found = auroc_loss_by_category(scores, other, labels, categories=names)
    each = found.categories.values()
    assert found.mean.value == pytest.approx(np.mean([one.value for one in each]))
    assert found.mean.upper - found.mean.value == pytest.approx(
        sqrt(sum((one.upper - one.value) ** 2 for one in each)) / 3
    )
    assert found.pooled == auroc_loss_interval(scores, other, labels)


def test_worst_loss_compares_the_two_worst() -> None:
    """Worst before minus worst after, even where another category became the worst; bounds contain it."""
    scores, labels, names = three_categories()
    other = scores.copy()
    tile = names == "tile"
    other[tile] += 6 * np.random.default_rng(6).normal(size=tile.sum())
    found = auroc_loss_by_category(scores, other, labels, categories=names)
    before, after = (auroc_by_category(one, labels, categories=names) for one in (scores, other))
    assert (before.worst_category, after.worst_category, found.worst_category) == ("wood", "tile", "tile")
    assert found.worst.value == pytest.approx(before.worst.value - after.worst.value)
    assert found.worst.lower <= found.worst.value <= found.worst.upper


def test_identical_detectors_lose_nothing_anywhere() -> None:
    """Every interval is a point at 0 that says why."""
    scores, labels, names = three_categories()
    found = auroc_loss_by_category(scores, scores * 2, labels, categories=names)
    for over in ("mean", "worst-category", "pooled"):
        one = found.over(over)
        assert (one.value, one.lower, one.upper) == (0, 0, 0)
        assert one.method.startswith(IDENTICAL)


def test_one_changed_category_is_not_called_identical() -> None:
    """Two untouched categories do not lend their certainty to the mean's method."""
    scores, labels, names = three_categories()
    other = scores + (names == "tile") * np.random.default_rng(7).normal(size=180)
    found = auroc_loss_by_category(scores, other, labels, categories=names)
    assert not found.mean.method.startswith(IDENTICAL)
    assert found.mean.upper > found.mean.value

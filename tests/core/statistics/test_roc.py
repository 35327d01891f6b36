"""AUROC and its variance, against definitions that are too slow to ship."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from budgetc.core.statistics.groups import kish_size
from budgetc.core.statistics.roc import auroc, components, effective_sizes, same_ranking, variance

Floats = NDArray[np.float64]
# Few distinct values, so that ties are the rule.
tied_scores = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30).filter(
    lambda rows: len({label for _, label in rows}) == 2
)
Rows = list[tuple[int, bool]]


def arrays(rows: Rows) -> tuple[Floats, NDArray[np.int64]]:
    return np.array([score for score, _ in rows], float), np.array([int(label) for _, label in rows])


def kernel(scores: Floats, labels: NDArray[Any]) -> Floats:
    """(n_bad, n_good) 1 where the bad image wins, 1/2 for a tie."""
    bad, good = scores[labels == 1, None], scores[None, labels == 0]
    return np.asarray((bad > good) + 0.5 * (bad == good))


def normal_data(seed: int, n_good: int, n_bad: int, distance: float = 2.0) -> tuple[Floats, NDArray[np.int64]]:
    rng, labels = np.random.default_rng(seed), np.repeat([0, 1], [n_good, n_bad])
    return rng.normal(size=labels.size) + distance * labels, labels


@given(tied_scores)
def test_auroc_is_the_share_of_won_pairs(rows: Rows) -> None:
    """AUROC equals the mean over all pairs of its O(mn) definition, ties counting half."""
    scores, labels = arrays(rows)
    assert auroc(scores, labels) == pytest.approx(kernel(scores, labels).mean(), abs=1e-15)


@given(tied_scores, st.randoms(use_true_random=False))
def test_auroc_ignores_the_order_of_images(rows: Rows, random: Any) -> None:
    """Shuffling the images changes not even the last bit."""
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert auroc(*arrays(rows)) == auroc(*arrays(shuffled))


@given(tied_scores)
def test_flipping_labels_mirrors_auroc(rows: Rows) -> None:
    """Calling normals anomalous turns A into 1 - A."""
    scores, labels = arrays(rows)
    assert auroc(scores, 1 - labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-15)


@given(tied_scores)
def test_auroc_sees_only_the_ranking(rows: Rows) -> None:
    """An increasing transform of the scores changes nothing."""
    scores, labels = arrays(rows)
    assert auroc(np.exp(3 * scores) - 7, labels) == auroc(scores, labels)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([1, 2, 3, 4], 1.0), ([3, 4, 1, 2], 0.0), ([5, 5, 5, 5], 0.5), ([1, 3, 2, 4], 0.75), ([1, 2, 2, 3], 0.875)],
)
def test_auroc_by_hand(scores: list[float], expected: float) -> None:
    """Two good images, then two bad ones: four pairs that can be counted on one hand."""
    assert auroc(scores, [0, 0, 1, 1]) == expected


def test_infinite_scores_are_ranked() -> None:
    """An overflowing detector is still a ranking."""
    assert auroc([-np.inf, 0.0, np.inf, np.inf], [0, 0, 1, 1]) == 1.0


def test_nan_is_refused() -> None:
    """A nan has no rank; the message says which image."""
    with pytest.raises(ValueError, match=r"1 of 3 scores are nan, the first at index 1"):
        auroc([1.0, np.nan, 2.0], [0, 1, 1])


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_refused(label: int) -> None:
    """Without both classes there is no pair to compare."""
    with pytest.raises(ValueError, match=r"AUROC needs both classes, found \d normal and \d anomalous"):
        auroc([1.0, 2.0], [label, label])


def test_other_labels_are_refused() -> None:
    """-1/1 labels would silently count nothing as normal."""
    with pytest.raises(ValueError, match=r"labels must be 0 \(normal\) or 1 \(anomalous\), found .*-1"):
        auroc([1.0, 2.0], [-1, 1])


def test_different_lengths_are_refused() -> None:
    """Scores and labels belong to the same images."""
    with pytest.raises(ValueError, match=r"scores and labels must be \(n,\) and \(n,\), found \(3,\) and \(2,\)"):
        auroc([1.0, 2.0, 3.0], [0, 1])


def test_groups_of_another_length_are_refused() -> None:
    """One group name an image."""
    with pytest.raises(ValueError, match=r"groups must be \(3,\), one name an image, found shape \(2,\)"):
        components([1.0, 2.0, 3.0], [0, 1, 1], ["a", "b"])


@given(tied_scores)
def test_components_are_rows_and_columns_of_the_definition(rows: Rows) -> None:
    """DeLong's structural components are the means of the O(mn) comparison over rows and columns."""
    scores, labels = arrays(rows)
    parts, won = components(scores, labels), kernel(scores, labels)
    np.testing.assert_allclose(parts.bad, won.mean(axis=1))
    np.testing.assert_allclose(parts.good, won.mean(axis=0))


@pytest.mark.parametrize("seed", range(5))
def test_ungrouped_variance_is_delongs(seed: int) -> None:
    """Without groups: var(rows) / n_bad + var(columns) / n_good with unbiased sample variances, exactly."""
    scores, labels = normal_data(seed, 17, 29)
    won = kernel(scores, labels)
    expected = won.mean(axis=1).var(ddof=1) / 29 + won.mean(axis=0).var(ddof=1) / 17
    assert variance(components(scores, labels)).total == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_one_image_change_nothing(seed: int) -> None:
    """Obuchowski's variance with one image a group equals DeLong's; no finite-sample factor is left over."""
    scores, labels = normal_data(seed, 12, 19)
    names = np.random.default_rng(seed).permutation(31)
    single, plain = variance(components(scores, labels, names)), variance(components(scores, labels))
    assert single.total == pytest.approx(plain.total, rel=1e-12)
    assert single.shared == pytest.approx(0, abs=1e-18)


@pytest.mark.parametrize("seed", range(5))
def test_grouped_variance_is_obuchowskis(seed: int) -> None:
    """The formula of the paper, written out with loops, on groups that mix good and bad images."""
    scores, labels = normal_data(seed, 30, 24)
    groups = np.random.default_rng(seed).integers(0, 11, labels.size)
    won, theta = kernel(scores, labels), auroc(scores, labels)
    good, bad = groups[labels == 0], groups[labels == 1]
    s10 = s01 = s11 = 0.0
    for group in set(groups.tolist()):
        of_bad = won.mean(axis=1)[bad == group].sum() - (bad == group).sum() * theta
        of_good = won.mean(axis=0)[good == group].sum() - (good == group).sum() * theta
        s10, s01, s11 = s10 + of_bad**2, s01 + of_good**2, s11 + of_bad * of_good
    i10, i01, i11 = len(set(bad.tolist())), len(set(good.tolist())), len(set(groups.tolist()))
    s10, s01, s11 = s10 * i10 / (i10 - 1) / 24, s01 * i01 / (i01 - 1) / 30, s11 * i11 / (i11 - 1)
    expected = s10 / 24 + s01 / 30 + 2 * s11 / (24 * 30)
    assert variance(components(scores, labels, groups)).total == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_inside_their_group_add_no_certainty(copies: int) -> None:
    """Every image k times in its own group: the variance stays exactly the same."""
    scores, labels = normal_data(3, 15, 20)
    groups = np.arange(35) // 2
    once = variance(components(scores, labels, groups)).total
    again = variance(components(*(np.tile(one, copies) for one in (scores, labels, groups)))).total
    assert again == pytest.approx(once, rel=1e-12)


def test_a_single_group_has_no_variance() -> None:
    """Nothing can be learned about the spread between groups from one: nan, not 0."""
    assert np.isnan(variance(components([1.0, 2, 3, 4], [0, 1, 0, 1], ["a"] * 4)).total)


def test_kish_counts_copies_once() -> None:
    """Equal groups count as their number, unequal ones as fewer: (3 + 1)^2 / (9 + 1) = 1.6."""
    assert kish_size(np.repeat(np.arange(6), 4)) == 6
    assert kish_size(np.array([0, 0, 0, 1])) == pytest.approx(1.6)


def test_independent_images_are_worth_themselves() -> None:
    """Without groups the effective sizes are the counts."""
    assert effective_sizes(components(*normal_data(0, 13, 21))) == (13, 21)


def test_copies_are_worth_their_groups() -> None:
    """Four copies of each image count about once: within the n / (n - 1) of the unbiased variances."""
    scores, labels = normal_data(1, 20, 25)
    parts = components(np.repeat(scores, 4), np.repeat(labels, 4), np.repeat(np.arange(45), 4))
    good, bad = effective_sizes(parts)
    assert good == pytest.approx(20, rel=0.06)
    assert bad == pytest.approx(25, rel=0.06)


def test_perfect_separation_is_worth_its_groups() -> None:
    """At AUROC 1 no correlation can be seen, so the cautious one is assumed."""
    parts = components([0.0] * 6 + [1.0] * 6, [0] * 6 + [1] * 6, np.repeat([0, 1, 2, 3], 3))
    assert effective_sizes(parts) == (2, 2)


def test_rankings_are_compared_with_their_ties() -> None:
    """Same order is not enough: a tie that one vector breaks is another ranking."""
    assert same_ranking([1, 2, 3], [10, 20, 30])
    assert not same_ranking([1, 2, 2], [10, 20, 30])
    assert not same_ranking([1, 2, 3], [10, 30, 20])

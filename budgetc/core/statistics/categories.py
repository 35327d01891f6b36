"""A unified detector's AUROC: per category, their mean, the worst one, and all images pooled."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from budgetc.core.budget import Over
from budgetc.core.statistics.intervals import (
    IDENTICAL,
    Interval,
    auroc_interval,
    auroc_loss_interval,
    logit_bounds,
    newcombe_bounds,
    normal_quantile,
    widest,
)
from budgetc.core.statistics.roc import Components, components, effective_sizes, variance

MINIMUM_IMAGES = 10
"""Good and bad images below which a category is "insufficient data", which is no pass."""
_Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ByCategory:
    """AUROCs of one detector, or losses between two, on one split."""

    categories: Mapping[str, Interval]
    """Sorted; every category that has good and bad images."""
    insufficient: tuple[str, ...]
    """Categories with fewer than 10 good or 10 bad images. They count in mean and worst if both classes exist."""
    mean: Interval
    worst: Interval
    worst_category: str
    """With the lowest AUROC; of a loss, the lowest after it."""
    pooled: Interval

    def over(self, over: Over) -> Interval:
        """The one that a budget's `auroc.over` names."""
        match over:
            case "mean":
                return self.mean
            case "worst-category":
                return self.worst
            case "pooled":
                return self.pooled


def auroc_by_category(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    categories: ArrayLike,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
) -> ByCategory:
    """AUROC of each category, their mean, the worst and the pooled one.

    The mean treats categories as independent: its variance is the sum of theirs over k^2 on the logit scale, and
    Newcombe's bounds are combined alike (MOVER); the wider counts. The lower bound of the worst is the lowest
    lower bound (intersection-union: it reaches a floor only if every category does, each at `confidence`); its
    upper bound is Bonferroni's, because the smallest of k values is biased low.

    Args:
        scores: (n,) higher means more anomalous.
        labels: (n,) 0 normal, 1 anomalous.
        categories: (n,) product of each image.
        groups: (n,) as in `auroc_interval`; a group's name means the same part in every category.
        confidence: of each bound, one-sided.

    Raises:
        ValueError: as `auroc_interval`; or no category has both good and bad images.
    """
    values, classes = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    pooled = auroc_interval(values, classes, groups=groups, confidence=confidence)
    members, insufficient = _members(categories, classes)
    parts = {name: components(values[at], classes[at], _at(groups, at)) for name, at in members.items()}

    def found(at: _Indexes, level: float) -> Interval:
        return auroc_interval(values[at], classes[at], groups=_at(groups, at), confidence=level)

    each = {name: found(at, confidence) for name, at in members.items()}
    strict = {name: found(at, 1 - (1 - confidence) / len(members)) for name, at in members.items()}
    worst = min(each, key=lambda name: each[name].value)
    return ByCategory(
        categories=each, insufficient=insufficient, pooled=pooled, worst_category=worst,
        mean=_mean_auroc(list(parts.values()), each),
        worst=replace(
            each[worst],
            lower=min(one.lower for one in each.values()), upper=min(one.upper for one in strict.values()),
            method=_of_many(each[worst].method, "worst", len(each)),
        ),
    )  # fmt: skip


def auroc_loss_by_category(
    baseline_scores: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    categories: ArrayLike,
    groups: ArrayLike | None = None,
    confidence: float = 0.95,
) -> ByCategory:
    """Paired loss, AUROC(baseline) - AUROC(scores), of each category, of the mean, the worst and the pooled AUROC.

    The mean combines the categories' margins as independent (MOVER; for Wald margins that is the sum of variances
    over k^2). The loss of the worst is worst(baseline) - worst(scores), perhaps of two categories; it cannot exceed
    the largest loss of any category nor fall below the smallest, so its bounds are the outermost of theirs.

    Args:
        baseline_scores: (n,) of the baseline, same images.
        scores: (n,) higher means more anomalous.
        labels: (n,) 0 normal, 1 anomalous.
        categories: (n,) product of each image.
        groups: (n,) as in `auroc_by_category`.
        confidence: of each bound, one-sided.

    Raises:
        ValueError: as `auroc_by_category`.
    """
    before, after = np.asarray(baseline_scores, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    classes = np.asarray(labels)
    pooled = auroc_loss_interval(before, after, classes, groups=groups, confidence=confidence)
    members, insufficient = _members(categories, classes)
    each = {
        name: auroc_loss_interval(before[at], after[at], classes[at], groups=_at(groups, at), confidence=confidence)
        for name, at in members.items()
    }
    old, new = ({name: components(s[at], classes[at]).value for name, at in members.items()} for s in (before, after))
    worst = min(new, key=lambda name: new[name])
    return ByCategory(
        categories=each, insufficient=insufficient, pooled=pooled, worst_category=worst,
        mean=_mean_loss(each),
        worst=replace(
            each[worst], value=min(old.values()) - new[worst],
            lower=min(one.lower for one in each.values()), upper=max(one.upper for one in each.values()),
            method=_of_many(each[worst].method, "worst", len(each)),
        ),
    )  # fmt: skip


def _members(categories: ArrayLike, labels: NDArray[np.generic]) -> tuple[dict[str, _Indexes], tuple[str, ...]]:
    """Indexes of the images of each category with both classes, and the names of those with too few."""
    names = np.asarray(categories)
    if names.shape != labels.shape:
        raise ValueError(f"categories must be {labels.shape}, one name an image, found shape {names.shape}")
    members, insufficient = dict[str, _Indexes](), list[str]()
    for name in np.unique(names):
        at = np.flatnonzero(names == name)
        bad = int((labels[at] == 1).sum())
        fewest = min(bad, at.size - bad)
        if fewest < MINIMUM_IMAGES:
            insufficient.append(str(name))
        if fewest > 0:
            members[str(name)] = at
    if not members:
        raise ValueError("no category has both good and bad images, so no AUROC can be given per category")
    return members, tuple(insufficient)


def _at(groups: ArrayLike | None, at: _Indexes) -> NDArray[np.generic] | None:
    return None if groups is None else np.asarray(groups)[at]


def _mean_auroc(parts: list[Components], each: Mapping[str, Interval]) -> Interval:
    z = normal_quantile(next(iter(each.values())).confidence)
    value = _mean([one.value for one in parts])
    of_each = [(one.value, newcombe_bounds(one.value, effective_sizes(one), z)) for one in parts]
    logit = logit_bounds(value, sum(variance(one).total for one in parts) / len(parts) ** 2, z)
    bounds = widest(_combined(of_each), logit)
    return _mean_interval(each, value, bounds, method=next(iter(each.values())).method)


def _mean_loss(each: Mapping[str, Interval]) -> Interval:
    value = _mean([one.value for one in each.values()])
    bounds = _combined([(one.value, (one.lower, one.upper)) for one in each.values()])
    methods = sorted({one.method for one in each.values()}, key=lambda method: method == IDENTICAL)
    return _mean_interval(each, value, bounds, method=methods[0])


def _combined(of_each: list[tuple[float, tuple[float, float]]]) -> tuple[float, float]:
    """Bounds of the mean of independent values from the bounds of each (Zou 2007, eq. 12)."""
    value, count = _mean([value for value, _ in of_each]), len(of_each)
    down = sqrt(sum((value - lower) ** 2 for value, (lower, _) in of_each)) / count
    up = sqrt(sum((upper - value) ** 2 for value, (_, upper) in of_each)) / count
    return value - down, value + up


def _mean_interval(each: Mapping[str, Interval], value: float, bounds: tuple[float, float], *, method: str) -> Interval:
    found = list(each.values())
    return Interval(
        value=value, lower=bounds[0], upper=bounds[1],
        n_good=sum(one.n_good for one in found), n_bad=sum(one.n_bad for one in found),
        groups_good=sum(one.groups_good for one in found), groups_bad=sum(one.groups_bad for one in found),
        method=_of_many(method, "mean", len(found)), confidence=found[0].confidence,
    )  # fmt: skip


def _of_many(method: str, what: str, count: int) -> str:
    return method if count == 1 else f"{method}; {what} of {count} categories"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)

"""AUROC from ranks, its structural components, and their variance when images come in groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from budgetc.core.statistics.groups import (
    Floats,
    Integers,
    correction,
    deflated_size,
    deviations,
    group_numbers,
)


@dataclass(frozen=True, slots=True)
class Components:
    """How every single image contributes to an AUROC, or to the difference of two.

    For an AUROC, `good` and `bad` are DeLong's structural components (DeLong, DeLong and Clarke-Pearson 1988,
    Biometrics 44, eq. 4); both average to `value`.
    """

    value: float
    good: Floats
    """(n_good,) share of bad images that score higher than this good one, ties half."""
    bad: Floats
    """(n_bad,) share of good images that score lower than this bad one, ties half."""
    good_groups: Integers
    """(n_good,) number of the group of each good image; a group may hold good and bad images."""
    bad_groups: Integers

    def minus(self, other: "Components") -> "Components":
        """Components of the difference of two AUROCs of the same images."""
        good, bad = self.good - other.good, self.bad - other.bad
        return Components(self.value - other.value, good, bad, self.good_groups, self.bad_groups)

    def ungrouped(self) -> "Components":
        """The same as if every image were its own group."""
        good = np.arange(self.good.size, dtype=np.int64)
        bad = np.arange(self.bad.size, dtype=np.int64) + self.good.size
        return Components(self.value, self.good, self.bad, good, bad)


@dataclass(frozen=True, slots=True)
class Variance:
    """Variance of an AUROC by where it comes from; nan where one group is all there is."""

    good: float
    bad: float
    shared: float
    """Twice the covariance that groups with good and bad images bring in."""

    @property
    def total(self) -> float:
        """Variance of the AUROC; rounding cannot make it negative."""
        total = self.good + self.bad + self.shared
        return 0.0 if total < 0 else total


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Probability that an anomalous image scores higher than a normal one, ties counting half.

    Args:
        scores: (n,) higher means more anomalous; infinite scores are ranked, nan is not.
        labels: (n,) 0 normal, 1 anomalous.

    Raises:
        ValueError: shapes differ, a score is nan, a label is neither 0 nor 1, or one class is missing.
    """
    good, bad = _split(scores, labels)[:2]
    # Twice the number of won pairs is a whole number, so no summation order can change the result.
    return int(_doubled_wins(good, bad).sum()) / (2 * good.size * bad.size)


def components(scores: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None) -> Components:
    """AUROC with the contribution of each image.

    Args:
        scores: (n,) higher means more anomalous.
        labels: (n,) 0 normal, 1 anomalous.
        groups: (n,) names or numbers; images of one group are correlated. None: every image is independent.

    Raises:
        ValueError: as `auroc`, or `groups` has another length.
    """
    good, bad, is_bad = _split(scores, labels)
    numbers = group_numbers(groups, is_bad.size)
    wins, losses = _doubled_wins(good, bad), _doubled_wins(-bad, -good)
    return Components(
        value=int(wins.sum()) / (2 * good.size * bad.size),
        good=losses / (2 * bad.size), bad=wins / (2 * good.size),
        good_groups=numbers[~is_bad], bad_groups=numbers[is_bad],
    )  # fmt: skip


def same_ranking(first: ArrayLike, second: ArrayLike) -> bool:
    """Whether two score vectors (n,) order and tie their images in the same way."""
    ranks, others = (
        np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True)[1] for scores in (first, second)
    )
    return bool(np.array_equal(ranks, others))


def variance(parts: Components) -> Variance:
    """Variance of an AUROC, or of a paired difference, whose images are correlated within groups.

    Nonparametric estimate of Obuchowski 1997, Biometrics 53, p. 567-578, section 2. Where every group is one
    image it equals DeLong's exactly: its factors groups / (groups - 1) become n / (n - 1).
    """
    n_groups = int(max(parts.good_groups.max(), parts.bad_groups.max())) + 1
    good = deviations(parts.good, parts.good_groups, value=parts.value, n_groups=n_groups)
    bad = deviations(parts.bad, parts.bad_groups, value=parts.value, n_groups=n_groups)
    total = np.unique(np.concatenate([parts.good_groups, parts.bad_groups])).size
    return Variance(
        good=correction(np.unique(parts.good_groups).size) * float(good @ good),
        bad=correction(np.unique(parts.bad_groups).size) * float(bad @ bad),
        shared=2 * correction(total) * float(good @ bad),
    )


def effective_sizes(parts: Components) -> tuple[float, float]:
    """How many independent good and bad images the grouped ones are worth: (good, bad).

    The ratio of grouped to ungrouped variance deflates each count, never below Kish's n^2 / sum(group size^2),
    which is what remains when images of a group are copies. Where no variance can be estimated (AUROC 0 or 1,
    one group) Kish's number is assumed.
    """
    grouped, plain = variance(parts), variance(parts.ungrouped())
    # Mixed groups can only be trusted to hurt: a helpful covariance is not claimed as extra images.
    spread = grouped.good + grouped.bad
    extra = 1 + grouped.shared / spread if grouped.shared > 0 and spread > 0 else 1.0
    return (
        deflated_size(parts.good_groups, extra * grouped.good, plain.good),
        deflated_size(parts.bad_groups, extra * grouped.bad, plain.bad),
    )


def _split(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    values, classes = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != classes.shape:
        raise ValueError(f"scores and labels must be (n,) and (n,), found {values.shape} and {classes.shape}")
    missing = np.flatnonzero(np.isnan(values))
    if missing.size:
        raise ValueError(f"{missing.size} of {values.size} scores are nan, the first at index {missing[0]}")
    unknown = classes[(classes != 0) & (classes != 1)]
    if unknown.size:
        raise ValueError(f"labels must be 0 (normal) or 1 (anomalous), found {unknown[0]!r}")
    is_bad = classes == 1
    if is_bad.all() or not is_bad.any():
        raise ValueError(f"AUROC needs both classes, found {(~is_bad).sum()} normal and {is_bad.sum()} anomalous")
    return values[~is_bad], values[is_bad], is_bad


def _doubled_wins(good: Floats, bad: Floats) -> Integers:
    """(n_bad,) twice the number of good scores below each bad one, ties counting one: mid-ranks, in integers."""
    ordered = np.sort(good)
    wins = np.searchsorted(ordered, bad, side="left") + np.searchsorted(ordered, bad, side="right")
    return wins.astype(np.int64)

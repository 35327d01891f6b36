"""Shares of images above a threshold, with bounds."""

from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from budgetc.core.statistics.groups import correction, deflated_size, deviations, group_numbers
from budgetc.core.statistics.intervals import normal_quantile


class Rate(NamedTuple):
    """A share between two one-sided bounds."""

    value: float
    lower: float
    upper: float


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> Rate:
    """Share of successes with Wilson's score bounds (Wilson 1927, JASA 22, p. 209).

    Each bound alone holds with `confidence` (one-sided); both together are a two-sided interval at
    2 * confidence - 1, so 0.975 gives the usual two-sided 95 %.

    Args:
        successes: 0 to n; need not be whole, so that correlated images can count for fewer.
        n: trials.
        confidence: of each bound, one-sided.

    Raises:
        ValueError: n is not positive, or successes are not between 0 and n.
    """
    if not (n > 0 and 0 <= successes <= n):
        raise ValueError(f"expected 0 <= successes <= n and n > 0, found {successes} of {n}")
    z, share = normal_quantile(confidence), successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    spread = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # At 0 and n the exact bound is the share itself; rounding would leave 1e-17.
    lower = 0.0 if successes == 0 else max(0.0, center - spread)
    return Rate(share, lower, 1.0 if successes == n else min(1.0, center + spread))


def rate_interval(hits: ArrayLike, *, groups: ArrayLike | None = None, confidence: float = 0.95) -> Rate:
    """Share of images that are hits, Wilson's bounds, correlated images deflated.

    Args:
        hits: (n,) bool, such as score > threshold.
        groups: (n,) images of one group are correlated; None: all are independent.
        confidence: of each bound, one-sided.

    Raises:
        ValueError: no images, or `groups` has another length.
    """
    values = np.asarray(hits, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"a rate needs (n,) hits with n > 0, found shape {values.shape}")
    numbers, share = group_numbers(groups, values.size), float(values.mean())
    n_groups = int(numbers.max()) + 1
    by_group = deviations(values, numbers, value=share, n_groups=n_groups)
    plain = share * (1 - share) / (values.size - 1) if values.size > 1 else 0.0
    size = deflated_size(numbers, correction(n_groups) * float(by_group @ by_group), plain)
    return wilson_interval(share * size, size, confidence)

"""Percentiles of latencies with bounds that assume nothing about their distribution."""

from math import ceil, log
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Percentile(NamedTuple):
    """A percentile between two one-sided bounds, all in the unit of the samples and each one of them."""

    value: float
    lower: float
    upper: float


def minimum_samples(q: float, confidence: float = 0.95) -> int:
    """Samples from which both one-sided bounds of the `q` quantile are finite: p95 needs 59, p99 needs 299.

    Solves 1 - q^n >= confidence, the chance that the largest sample lies above the quantile.

    Raises:
        ValueError: `q` is not between 0 and 1, or `confidence` not between 0.5 and 1.
    """
    if not 0 < q < 1:
        raise ValueError(f"a quantile must be between 0 and 1 (0.95 for p95), found {q}")
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence must be between 0.5 and 1, found {confidence}")
    return ceil(log(1 - confidence) / log(max(q, 1 - q)))


def percentile_bounds(samples: ArrayLike, q: float, confidence: float = 0.95) -> Percentile:
    """The `q` quantile of independent samples, bounded by order statistics.

    The number of samples below the quantile is binomial (Conover 1999, Practical Nonparametric Statistics,
    section 3.2). Each bound alone holds with at least `confidence`. The value is the smallest sample that at least
    a share `q` of all samples do not exceed.

    Args:
        samples: (n,) in any unit.
        q: 0.95 for p95.
        confidence: of each bound, one-sided.

    Raises:
        ValueError: fewer samples than `minimum_samples`, a sample that is not finite, or `q` or `confidence` out of
            range.
    """
    from scipy.special import bdtr  # here, because importing budgetc must stay quick

    ordered = np.sort(np.asarray(samples, dtype=np.float64).ravel())
    n, needed = ordered.size, minimum_samples(q, confidence)
    if n < needed:
        raise ValueError(f"p{100 * q:g} with {100 * confidence:g} % confidence needs {needed} samples, found {n}")
    if not np.isfinite(ordered).all():
        raise ValueError(f"{int((~np.isfinite(ordered)).sum())} of {n} samples are not finite")
    at_most = bdtr(np.arange(n, dtype=np.float64), n, q)
    # Ranks in `ordered`; at the minimum of samples, rounding must not push them off its ends.
    upper = min(int(np.searchsorted(at_most, confidence)), n - 1)
    lower = max(int(np.sum(1 - at_most >= confidence)) - 1, 0)
    return Percentile(
        float(np.quantile(ordered, q, method="inverted_cdf")), float(ordered[lower]), float(ordered[upper])
    )

"""Whether two detectors put the same pictures in the same order."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_REPETITIONS = 500


class Agreement(NamedTuple):
    """Spearman's rho between two one-sided bounds."""

    value: float
    lower: float
    upper: float


def rank_agreement(
    first: NDArray[np.float64], second: NDArray[np.float64], *, categories: Sequence[str], groups: Sequence[str],
    confidence: float = 0.95,
) -> Agreement:  # fmt: skip
    """Spearman's rho of two scores of the same pictures, the mean over categories; bounds by resampling groups.

    Args:
        first: (n,) scores of one detector.
        second: (n,) scores of the other.
        categories: (n,) products; ranks are taken within each, since detectors score products at different levels.
        groups: (n,) pictures of one group are resampled together (percentile bootstrap, fixed seed).
        confidence: of each bound, one-sided.
    """
    products = np.unique(np.asarray(categories), return_inverse=True)[1]
    parts = np.unique(np.asarray(groups), return_inverse=True)[1]
    members = [np.flatnonzero(parts == part) for part in range(parts.max() + 1)]
    rng = np.random.default_rng(0)
    drawn = [
        _rho(first, second, products, np.concatenate([members[one] for one in chosen]))
        for chosen in rng.integers(0, len(members), (_REPETITIONS, len(members)))
    ]
    value = _rho(first, second, products, np.arange(len(first)))
    lower, upper = np.quantile(drawn, (1 - confidence, confidence))
    return Agreement(value, min(float(lower), value), max(float(upper), value))


def _rho(
    first: NDArray[np.float64], second: NDArray[np.float64], products: NDArray[np.int64], at: NDArray[np.int64]
) -> float:
    """Over the pictures `at`; 0 for a product whose scores are all equal, as they rank nothing."""
    from scipy.stats import rankdata  # here, because importing budgetc must stay quick

    found = []
    for product in np.unique(products[at]):
        rows = at[products[at] == product]
        x, y = (ranks - ranks.mean() for ranks in (rankdata(first[rows]), rankdata(second[rows])))
        scale = float(np.sqrt((x @ x) * (y @ y)))
        found.append(float(x @ y) / scale if scale > 0 else 0.0)
    return float(np.mean(found))

"""Images in groups: photographs of one part or frames of one clip are worth fewer than they are."""

from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def group_numbers(groups: ArrayLike | None, n: int) -> Integers:
    """(n,) number of each image's group, from 0; without groups every image is its own.

    Raises:
        ValueError: `groups` is not (n,).
    """
    if groups is None:
        return np.arange(n, dtype=np.int64)
    names = np.asarray(groups)
    if names.shape != (n,):
        raise ValueError(f"groups must be ({n},), one name an image, found shape {names.shape}")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def deviations(parts: Floats, groups: Integers, *, value: float, n_groups: int) -> Floats:
    """(n_groups,) what each group adds to the average of `parts` (n,) beyond `value`."""
    return np.bincount(groups, weights=parts - value, minlength=n_groups) / parts.size


def correction(n_groups: int) -> float:
    """Factor that makes a sum of squared deviations an unbiased variance; nan for one group."""
    return n_groups / (n_groups - 1) if n_groups > 1 else nan


def kish_size(groups: Integers) -> float:
    """Independent images that groups of perfectly correlated images are worth: n^2 / sum(group size^2).

    Kish 1965, Survey Sampling, section 8.2, with an intra-group correlation of 1.
    """
    counts = np.bincount(groups).astype(np.float64)
    return float(counts.sum() ** 2 / (counts @ counts))


def deflated_size(groups: Integers, grouped: float, plain: float) -> float:
    """Independent images that correlated ones are worth, from a variance with and without regard to groups.

    Between `kish_size` and the number of images; `kish_size` where a variance is nan or `plain` is 0, because
    then nothing says that images of a group differ.
    """
    if not (grouped >= 0 and plain > 0):
        return kish_size(groups)
    return max(kish_size(groups), groups.size / max(1.0, grouped / plain))

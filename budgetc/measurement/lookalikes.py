"""Pictures that show the same part although they are said to show different ones: other exposures of one scratch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COARSE, DETAIL = 0.97, 0.85
"""Correlations of two thumbnails and of two pictures' fine structure above which they are taken for one part.

On 1046 photographs of metal tiles under up to six exposures: 530 of 2,424 pairs that are said to show one tile, which
is enough to connect its exposures, and 76 of 544,111 pairs that are not. These form 11 clusters of 2 to 6 tiles, and
within most of them the serial numbers of the pictures are neighbors.
"""
TOO_MANY = 0.05
"""Share of pairs of different groups above which looks say nothing: good products look alike."""
_SHRINK = 2
_WIDE, _NARROW = 4.0, 0.7
_ROWS = 512
Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Alike:
    """Two pictures of different groups that look like one part."""

    one: int
    other: int
    detail: float
    """Correlation of the fine structure."""


def lookalikes(thumbnails: NDArray[np.uint8], small: NDArray[np.uint8], groups: Sequence[str]) -> list[Alike] | None:
    """Pairs of pictures of different groups that look like one part; None where most pictures look alike.

    Neither brightness nor contrast counts, so that exposures of one part match.

    Args:
        thumbnails: (n, 1024) gray levels of whole pictures.
        small: (n, 192, 192) gray levels.
        groups: (n,) names.
    """
    names = np.unique(np.asarray(groups), return_inverse=True)[1]
    coarse, fine = _standardized(thumbnails.astype(np.float32)), _standardized(_fine_structure(small))
    found, compared = list[Alike](), 0
    for start in range(0, len(names), _ROWS):
        rows = slice(start, start + _ROWS)
        later = np.arange(len(names))[None, :] > np.arange(len(names))[rows, None]
        different = later & (names[rows, None] != names[None, :])
        compared += int(different.sum())
        detail = fine[rows] @ fine.T
        for i, j in np.argwhere(different & (coarse[rows] @ coarse.T >= COARSE) & (detail >= DETAIL)):
            found.append(Alike(start + int(i), int(j), float(detail[i, j])))
    return None if len(found) > max(TOO_MANY * compared, 3) else found


def connected(pairs: Sequence[Alike], groups: Sequence[str]) -> Iterator[list[str]]:
    """Groups that pairs join, directly or through others; sorted names."""
    neighbors: dict[str, set[str]] = {}
    for pair in pairs:
        for mine, other in ((pair.one, pair.other), (pair.other, pair.one)):
            neighbors.setdefault(groups[mine], set()).add(groups[other])
    seen = set[str]()
    for name in sorted(neighbors):
        if name in seen:
            continue
        reached, border = {name}, [name]
        while border:
            new = neighbors[border.pop()] - reached
            reached |= new
            border += new
        seen |= reached
        yield sorted(reached)


def _fine_structure(small: NDArray[np.uint8]) -> Singles:
    """(n, 192, 192) -> (n, 9216): a band of spatial frequencies, without the slow changes of lighting."""
    from scipy.ndimage import gaussian_filter  # here, because importing budgetc must stay quick

    count, side = len(small), small.shape[1] // _SHRINK
    halved = small.reshape(count, side, _SHRINK, side, _SHRINK).mean(axis=(2, 4), dtype=np.float32)
    bands = [gaussian_filter(one, _NARROW) - gaussian_filter(one, _WIDE) for one in halved]
    return np.stack(bands).reshape(count, -1)


def _standardized(rows: Singles) -> Singles:
    """Rows of mean 0 and length 1; rows without contrast stay 0 and match nothing."""
    away = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    found: Singles = np.where(length > 1e-3 * away.shape[1] ** 0.5, away / np.maximum(length, 1e-12), 0)
    return found

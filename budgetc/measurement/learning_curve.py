"""Would more normals help? A plain patch memory, scored with 10, 20, 40 ... of the normals at hand.

The memory stands in for detectors of any kind: cells of a picture are described by levels and edges, and are as
anomalous as they are far from the nearest cell of a normal. It needs no training, so every number of normals can be
tried many times. Its AUROC is lower than a detector's; what counts is how it grows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budgetc.core.statistics import auroc

SIDE = 192
"""Pixels of the pictures that are compared."""
CELL = 16
FEWEST = 10
DRAWS = 10
MOST_NORMALS, MOST_JUDGED = 800, 200
"""Pictures of a category that are looked at: bounds time and memory."""
_SCALES = (0.7, 2.0)
_CONTRAST = 30.0
"""Gray levels of standard deviation that every picture is brought to."""
_TOP = 5
Singles = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Nearest:
    """Distances of judged cells to the nearest cell of each normal."""

    distances: Singles
    """(judged, cells, normals)."""
    groups: Sequence[str]
    """(normals,)."""
    labels: NDArray[np.int64]
    """(judged,) 0 normal, 1 anomalous."""


@dataclass(frozen=True, slots=True)
class Point:
    """What the memory reaches with so many normals."""

    normals: int
    values: tuple[float, ...]
    """One a draw."""


def nearest_cells(normals: Bytes, judged: Bytes, groups: Sequence[str], labels: NDArray[np.int64]) -> Nearest:
    """Compare pictures (n, 192, 192) of gray levels; the features are whitened by those of the normals."""
    known, asked = cell_features(normals), cell_features(judged)
    count, cells, size = known.shape
    flat = known.reshape(-1, size)
    center = flat.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((flat - center).T.astype(np.float64)) + 1e-3 * np.eye(size))
    whiten = (axes / np.sqrt(spread)).astype(np.float32)
    memory = (flat - center) @ whiten
    squares = np.square(memory).sum(axis=1)
    found = np.empty((len(asked), cells, count), np.float32)
    for number, picture in enumerate((asked - center) @ whiten):
        apart = squares - 2 * (picture @ memory.T)
        found[number] = apart.reshape(cells, count, cells).min(axis=2) + np.square(picture).sum(axis=1, keepdims=True)
    return Nearest(np.sqrt(np.maximum(found, 0, out=found)), tuple(groups), labels)


def cell_features(pictures: Bytes) -> Singles:
    """(n, 192, 192) -> (n, 144, 13): edges by direction and spots on two scales, and the level, in cells of 16 pixels.

    Levels are relative to the picture's mean and contrast, so that the exposure does not matter.
    """
    return np.stack([_one_picture(picture.astype(np.float64)) for picture in pictures]).astype(np.float32)


def _one_picture(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter  # here, because importing budgetc must stay quick

    levels = _CONTRAST * (levels - levels.mean()) / (levels.std() + 4)
    maps = []
    for scale in _SCALES:
        smooth = gaussian_filter(levels, scale)
        down, right = np.gradient(smooth)
        spots = smooth - gaussian_filter(levels, 2 * scale)
        maps += [np.abs(right), np.abs(down), np.abs(right + down), np.abs(right - down),
                 np.maximum(spots, 0), np.maximum(-spots, 0)]  # fmt: skip
    means = [np.log(_averaged(one) + 0.3) for one in maps]
    return np.stack([*means, 2 * _averaged(levels) / _CONTRAST], axis=-1).reshape(-1, len(maps) + 1)


def learning_curve(nearest: Nearest, rng: np.random.Generator) -> tuple[Point, ...]:
    """AUROC (or, without anomalies, `spread`) with 10, 20, 40 ... normals, taken by whole groups, and with all.

    Each draw is one order of the groups; its smaller sets are parts of its larger ones.
    """
    members = _members(nearest.groups)
    orders = [rng.permutation(len(members)) for _ in range(DRAWS)]
    total = len(nearest.groups)
    sizes = [size for size in (FEWEST * 2**step for step in range(20)) if size <= 0.75 * total]
    points = []
    for size in sizes:
        values = tuple(judge(nearest, _first(members, order, size)) for order in orders)
        points.append(Point(size, values))
    return (*points, Point(total, (judge(nearest, np.arange(total)),)))


def judge(nearest: Nearest, chosen: NDArray[np.int64]) -> float:
    """AUROC of a memory of the chosen normals; where all that is judged is normal, the 95th percentile of scores.

    A picture's score is the mean of its five most anomalous cells.
    """
    cells = nearest.distances[:, :, chosen].min(axis=2)
    scores = np.sort(cells, axis=1)[:, -_TOP:].mean(axis=1)
    if nearest.labels.any() and not nearest.labels.all():
        return auroc(scores, nearest.labels)
    return float(np.quantile(scores, 0.95))


def _members(groups: Sequence[str]) -> list[NDArray[np.int64]]:
    names = np.asarray(groups)
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def _first(members: Sequence[NDArray[np.int64]], order: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Whole groups in an order; of the last one only as many pictures as are wanted."""
    return np.concatenate([members[number] for number in order])[:size]


def _averaged(map_: NDArray[np.float64]) -> NDArray[np.float64]:
    side = len(map_) // CELL
    found: NDArray[np.float64] = map_.reshape(side, CELL, side, CELL).mean(axis=(1, 3))
    return found

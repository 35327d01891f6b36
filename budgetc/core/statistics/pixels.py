"""How well maps mark the defects themselves: pixel AUROC and AUPRO of each category, their mean and the worst.

Pixels are counted in bins of their value, a row a group, so that everything else is sums of a few thousand numbers:
a resampled group takes all its pixels along, because pixels of one picture are anything but independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_FALSE_POSITIVE_RATE = 0.3
"""Up to which AUPRO is integrated (Bergmann et al. 2021, IJCV 129, section 5.1.2)."""
REPLICATES = 400
"""Of the bootstrap."""
_STEPS = 1024
"""Quantiles of normal pixels, and of defective ones, between which bins lie."""
_SEEN = 1 << 20
"""Pixels that quantiles are taken of, about."""
Floats = NDArray[np.float64]


class Area(NamedTuple):
    """An area under a curve between two one-sided bounds; None where one group alone says nothing about chance."""

    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class MarkedMap:
    """The map of one image, and what is known of its pixels."""

    map: NDArray[np.float32]
    """(height, width), higher means more anomalous."""
    regions: NDArray[np.int32]
    """(height, width) of 0 outside of defects, else the number of the connected region, from 1."""
    group: str


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixels of one category, (groups, bins) each, bins ascending."""

    normal: Floats
    """Pixels outside of all defects."""
    defective: Floats
    overlap: Floats
    """Shares of the regions of a group, summed over them."""

    @property
    def groups_bad(self) -> int:
        """Groups that show a defect."""
        return int((self.overlap.sum(axis=1) > 0).sum())


@dataclass(frozen=True, slots=True)
class PixelAreas:
    """Both areas of one category, or of several."""

    auroc: Area
    aupro: Area


@dataclass(frozen=True, slots=True)
class PixelsByCategory:
    """Of one detector on one split."""

    categories: Mapping[str, PixelAreas]
    mean: PixelAreas
    worst: PixelAreas


def count_pixels(maps: Sequence[MarkedMap]) -> PixelCounts:
    """Count the pixels of one category; areas follow from it to within 1/1024.

    Raises:
        ValueError: no region, or no pixel outside of all regions.
    """
    edges = _edges(maps)
    names = sorted({one.group for one in maps})
    rows, bins = {name: row for row, name in enumerate(names)}, edges.size + 1
    normal, defective, overlap = (np.zeros((len(names), bins)) for _ in range(3))
    for one in maps:
        row, regions = rows[one.group], one.regions.ravel()
        at = np.searchsorted(edges, one.map.ravel(), side="right")
        normal[row] += np.bincount(at[regions == 0], minlength=bins)
        for number in range(1, int(regions.max()) + 1):
            counts = np.bincount(at[regions == number], minlength=bins)
            defective[row] += counts
            overlap[row] += counts / counts.sum()
    return PixelCounts(normal, defective, overlap)


def _edges(maps: Sequence[MarkedMap]) -> NDArray[np.float32]:
    def quantiles(defects: bool) -> NDArray[np.float32]:
        chosen = [(one.regions > 0) == defects for one in maps]
        count = sum(int(at.sum()) for at in chosen)
        if count == 0:
            raise ValueError(f"no {'region' if defects else 'pixel outside of all regions'}: there is no area to give")
        stride = count // _SEEN | 1  # odd: not always the same column of a picture
        values = np.concatenate([one.map[at][::stride] for one, at in zip(maps, chosen, strict=True)])
        return np.asarray(np.quantile(values, np.linspace(0, 1, _STEPS + 1)), dtype=np.float32)

    return np.unique(np.concatenate([quantiles(False), quantiles(True)]))


def pixels_by_category(
    counts: Mapping[str, PixelCounts], *, confidence: float = 0.95, seed: int = 0
) -> PixelsByCategory:
    """Pixel AUROC and AUPRO with percentile bounds of a bootstrap over groups, those with defects and others apart.

    The lower bound of the worst is the lowest lower bound, its upper the lowest upper one at a confidence that is
    shared out over the categories; as `auroc_by_category` has it.

    Args:
        counts: of every category that has masks; at least one.
        confidence: of each bound, one-sided.
        seed: of the bootstrap.
    """
    values = {name: _both(one, None) for name, one in counts.items()}
    draws = {name: _drawn(one, np.random.default_rng([seed, place])) for place, (name, one) in
             enumerate(sorted(counts.items()))}  # fmt: skip
    each = {name: _areas(values[name], draws[name], confidence) for name in counts}
    strict = {name: _areas(values[name], draws[name], 1 - (1 - confidence) / len(counts)) for name in counts}
    known = [one for one in draws.values() if one is not None]
    together = np.mean(known, axis=0) if len(known) == len(counts) else None
    return PixelsByCategory(
        each,
        _areas(np.mean(list(values.values()), axis=0), together, confidence),
        PixelAreas(
            _worst([one.auroc for one in each.values()], [one.auroc for one in strict.values()]),
            _worst([one.aupro for one in each.values()], [one.aupro for one in strict.values()]),
        ),
    )


def _drawn(counts: PixelCounts, rng: np.random.Generator) -> Floats | None:
    """(2, replicates) pixel AUROC and AUPRO of resampled groups; None where only one group shows a defect."""
    if counts.groups_bad < 2:
        return None
    bad = counts.overlap.sum(axis=1) > 0
    weights = np.zeros((REPLICATES, bad.size))
    for kind in (bad, ~bad):
        size = int(kind.sum())
        if size:
            weights[:, kind] = rng.multinomial(size, np.full(size, 1 / size), size=REPLICATES)
    return _both(counts, weights)


def _both(counts: PixelCounts, weights: Floats | None) -> Floats:
    """Pixel AUROC and AUPRO, (2,), or (2, replicates) with (replicates, groups) weights of groups."""
    each = (counts.normal, counts.defective, counts.overlap)
    false, found, overlap = (_above(one.sum(axis=0) if weights is None else weights @ one) for one in each)
    return np.stack([_area(false, found, 1.0), _area(false, overlap, MAX_FALSE_POSITIVE_RATE)])


def _above(counts: Floats) -> Floats:
    """Share of the counts in a bin or one above, from none to all."""
    sums = np.cumsum(counts[..., ::-1], axis=-1)
    return np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums / sums[..., -1:]], axis=-1)


def _area(x: Floats, y: Floats, limit: float) -> Floats:
    """Area under a rising curve for x up to a limit, over the limit; values between points lie on straight lines."""
    left, width = x[..., :-1], np.diff(x)
    inside = np.clip(limit - left, 0, width)
    slope = np.divide(np.diff(y), width, out=np.zeros_like(width), where=width > 0)
    area: Floats = (inside * (y[..., :-1] + slope * inside / 2)).sum(axis=-1) / limit
    return area


def _areas(values: Floats, draws: Floats | None, confidence: float) -> PixelAreas:
    if draws is None:
        return PixelAreas(*(Area(float(value), None, None) for value in values))
    bounds = np.quantile(draws, [1 - confidence, confidence], axis=1)
    return PixelAreas(*(
        Area(float(value), min(float(value), float(lower)), max(float(value), float(upper)))
        for value, lower, upper in zip(values, *bounds, strict=True)
    ))  # fmt: skip


def _worst(each: Sequence[Area], strict: Sequence[Area]) -> Area:
    lowers = [one.lower for one in each if one.lower is not None]
    uppers = [one.upper for one in strict if one.upper is not None]
    bounded = len(lowers) == len(each)
    return Area(min(one.value for one in each), min(lowers) if bounded else None, min(uppers) if bounded else None)

"""Pixel AUROC and AUPRO by category, against plain definitions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budgetc.core.statistics import MarkedMap, auroc, count_pixels, pixels_by_category
from budgetc.core.statistics.pixels import PixelAreas

SIDE = 24


def maps(seed: int, *, distance: float = 1.5, count: int = 6, levels: int | None = None) -> list[MarkedMap]:
    """Half of the images with a large and a small region, whose values lie higher by `distance`."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        heat, regions = rng.normal(size=(SIDE, SIDE)), np.zeros((SIDE, SIDE), dtype=np.int32)
        if number % 2:
            regions[2:12, 3:13], regions[16:19, 16:18] = 1, 2
        heat += distance * (regions > 0)
        if levels is not None:
            heat = np.floor(heat * levels) / levels
        made.append(MarkedMap(heat.astype(np.float32), regions, f"part-{number}"))
    return made


def exact_aupro(marked: list[MarkedMap], limit: float = 0.3) -> float:
    """Bergmann et al. 2021, at every value that occurs."""
    normal = np.concatenate([one.map[one.regions == 0] for one in marked])
    regions = [one.map[one.regions == number] for one in marked for number in range(1, int(one.regions.max()) + 1)]
    points = [(0.0, 0.0)]
    for value in np.unique(np.concatenate([one.map.ravel() for one in marked]))[::-1]:
        points.append((float((normal >= value).mean()), float(np.mean([(one >= value).mean() for one in regions]))))
    area = 0.0
    for (left, low), (right, high) in pairwise(points):
        end = min(right, limit)
        if end > left:
            at_end = low + (high - low) * (end - left) / (right - left)
            area += (end - left) * (low + at_end) / 2
    return area / limit


def areas(marked: list[MarkedMap]) -> PixelAreas:
    return pixels_by_category({"all": count_pixels(marked)}).mean


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), distance=st.floats(-1, 3), levels=st.sampled_from([None, 2, 20]))
def test_areas_are_those_of_the_definitions(seed: int, distance: float, levels: int | None) -> None:
    """Bins cost less than a thousandth; with few levels, next to nothing."""
    marked = maps(seed, distance=distance, levels=levels)
    found = areas(marked)
    values = np.concatenate([one.map.ravel() for one in marked])
    labels = np.concatenate([(one.regions > 0).astype(int).ravel() for one in marked])
    near = 1e-3 if levels is None else 1e-5
    assert found.auroc.value == pytest.approx(auroc(values, labels), abs=near)
    assert found.aupro.value == pytest.approx(exact_aupro(marked), abs=4 * near)


def test_a_perfect_map_has_one_and_a_flat_one_chance() -> None:
    """A flat map's curve is the diagonal, of which AUPRO sees the first .3."""
    perfect = [MarkedMap((one.regions > 0).astype(np.float32), one.regions, one.group) for one in maps(0)]
    flat = [MarkedMap(np.zeros_like(one.map), one.regions, one.group) for one in maps(0)]
    found = areas(perfect)
    assert (found.auroc.value, found.aupro.value) == pytest.approx((1.0, 1.0))
    found = areas(flat)
    assert (found.auroc.value, found.aupro.value) == pytest.approx((0.5, 0.15))


def test_a_small_region_counts_as_much_as_a_large_one() -> None:
    """The map that misses the 6 pixels loses half of AUPRO, though hardly any pixel."""

    def missing(number: int) -> PixelAreas:
        return areas([
            MarkedMap(((one.regions > 0) & (one.regions != number)).astype(np.float32), one.regions, one.group)
            for one in maps(0)
        ])  # fmt: skip

    assert missing(2).auroc.value > 0.95 > 0.6 > missing(1).auroc.value
    # Half of the regions are found at once, the others along the diagonal from there to the end.
    assert missing(2).aupro.value == pytest.approx(missing(1).aupro.value, abs=0.01) == pytest.approx(0.575, abs=0.01)


@settings(max_examples=15, deadline=None)
@given(distances=st.lists(st.floats(-0.5, 3), min_size=1, max_size=4), seed=st.integers(0, 2**16))
def test_the_worst_is_never_above_the_mean(distances: list[float], seed: int) -> None:
    """And every value lies between its bounds."""
    counts = {f"c{place}": count_pixels(maps(seed + place, distance=one)) for place, one in enumerate(distances)}
    found = pixels_by_category(counts)
    both = [(areas.auroc, areas.aupro) for areas in (found.worst, found.mean, *found.categories.values())]
    for worst, mean, *each in zip(*both, strict=True):
        assert worst.value <= mean.value + 1e-12
        assert worst.value == min(one.value for one in each)
        for one in (worst, mean, *each):
            assert one.lower is not None
            assert one.upper is not None
            assert one.lower <= one.value <= one.upper


def test_bounds_follow_groups() -> None:
    """Ten pictures of one part say nothing about chance; of two parts little, of ten parts more."""

    def width(groups: int) -> float | None:
        marked = maps(3, count=20)
        found = areas([MarkedMap(one.map + n % groups, one.regions, str(n % groups)) for n, one in enumerate(marked)])
        return None if found.aupro.lower is None or found.aupro.upper is None else found.aupro.upper - found.aupro.lower

    assert width(1) is None
    assert (width(20) or 0) > 0


@pytest.mark.parametrize(("regions", "message"), [(0, "no region"), (1, "no pixel outside")])
def test_maps_of_one_kind_are_refused(regions: int, message: str) -> None:
    """A curve needs both."""
    everywhere: NDArray[np.int32] = np.full((4, 4), regions, np.int32)
    with pytest.raises(ValueError, match=message):
        count_pixels([MarkedMap(np.zeros((4, 4), np.float32), everywhere, "a")])

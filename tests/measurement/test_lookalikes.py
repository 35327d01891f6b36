"""The same part in two pictures, and parts that merely look alike."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from budgetc.measurement.lookalikes import Alike, connected, lookalikes

Bytes = NDArray[np.uint8]


def part(seed: int) -> NDArray[np.float64]:
    """(192, 192) a surface: slow changes and fine structure of its own."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8)).resize((192, 192), Image.Resampling.BICUBIC)
    fine = Image.fromarray(rng.integers(0, 256, (192, 192), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(2))
    return np.asarray(coarse, np.float64) * 0.5 + 3 * (np.asarray(fine, np.float64) - 128) + 60


def pictures(*levels: NDArray[np.float64]) -> tuple[Bytes, Bytes]:
    """(thumbnails, small) of gray levels."""
    small = np.stack([np.clip(one, 0, 255).astype(np.uint8) for one in levels])
    cells = small.reshape(len(small), 32, 6, 32, 6).mean(axis=(2, 4))
    return cells.reshape(len(small), -1).astype(np.uint8), small


def test_another_exposure_of_a_part_is_found() -> None:
    """Darker, with less contrast and with noise: the same scratch."""
    dark = 0.6 * part(0) + 20 + np.random.default_rng(9).normal(0, 1, (192, 192))
    found = lookalikes(*pictures(part(0), part(1), dark, part(2), part(3)), ["a", "b", "c", "d", "e"])
    assert found is not None
    assert [(one.one, one.other) for one in found] == [(0, 2)]


def test_pictures_of_one_group_are_not_reported() -> None:
    """That they show one part is known."""
    assert lookalikes(*pictures(part(0), part(0), part(1)), ["a", "a", "b"]) == []


def test_products_that_all_look_alike_give_no_answer() -> None:
    """Where nearly every pair matches, looks say nothing about parts."""
    rng = np.random.default_rng(0)
    same = [part(0) + rng.normal(0, 1, (192, 192)) for _ in range(8)]
    assert lookalikes(*pictures(*same), [str(number) for number in range(8)]) is None


def test_flat_pictures_match_nothing() -> None:
    """Noise of compression is no fine structure."""
    flat = [np.full((192, 192), level) for level in (90.0, 91.0, 92.0)]
    assert lookalikes(*pictures(*flat), ["a", "b", "c"]) == []


def test_groups_are_joined_through_others() -> None:
    """a = b and b = c make one cluster."""
    pairs = [Alike(0, 1, 0.9), Alike(1, 2, 0.9), Alike(3, 4, 0.9)]
    assert list(connected(pairs, ["a", "b", "c", "d", "e"])) == [["a", "b", "c"], ["d", "e"]]

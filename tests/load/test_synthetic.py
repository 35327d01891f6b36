"""Synthetic anomalies: the same for the same arguments, and a mask that tells the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from budgetc.load.synthetic import DRAWINGS, SyntheticKind, damaged, perlin

KINDS = sorted(DRAWINGS)


def surface(seed: int, kind: str = "texture", size: tuple[int, int] = (48, 60)) -> NDArray[np.uint8]:
    """(height, width, 3): texture, or a plain surface at either end of the scale."""
    rng = np.random.default_rng(seed)
    if kind != "texture":
        return np.full((*size, 3), 255 if kind == "white" else 0, np.uint8)
    levels = 128 + 60 * np.sin(np.arange(size[1])[None, :] / 3 + rng.uniform(0, 6)) + rng.normal(0, 10, size)
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS), seed=st.text(max_size=6), plain=st.sampled_from(("texture", "white", "black")),
    size=st.tuples(st.integers(8, 80), st.integers(8, 80)),
)  # fmt: skip
def test_the_mask_is_where_pixels_change(kind: SyntheticKind, seed: str, plain: str, size: tuple[int, int]) -> None:
    """Nothing outside it, most of what is inside, on any picture of any size; twice the same."""
    before = surface(0, plain, size)
    drawn, mask = damaged(before, kind, seed=seed)
    changed = (drawn != before).any(axis=2)
    assert drawn.shape == before.shape and mask.shape == size
    assert mask.any() and not (changed & ~mask).any()
    assert changed[mask].mean() > 0.5
    again, same = damaged(before, kind, seed=seed)
    assert np.array_equal(again, drawn) and np.array_equal(same, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_two_draws_differ(kind: SyntheticKind) -> None:
    """The seed is the file's own; anomalies are local."""
    masks = [damaged(surface(1), kind, seed=str(number))[1] for number in range(12)]
    assert not np.array_equal(masks[0], masks[1])
    assert 0.001 < np.mean(masks) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_gray_picture_stays_gray(kind: SyntheticKind) -> None:
    """Any color on it would be told at once."""
    drawn = damaged(surface(2), kind, seed="a")[0]
    assert (np.ptp(drawn, axis=2) == 0).all()


def test_perlin_noise_is_zero_on_its_grid_and_smooth() -> None:
    """As gradient noise is, about 0 on average."""
    noise = perlin((64, 64), 4, np.random.default_rng(0))
    assert np.allclose(noise[::16, ::16], 0)
    assert np.abs(np.diff(noise, axis=0)).max() < 0.25
    assert abs(noise.mean()) < 0.1 < noise.std()

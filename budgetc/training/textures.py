"""Pictures of nothing: what stands in for natural ones where none are at hand.

Baradad et al., "Learning to See by Looking at Noise" (NeurIPS 2021, arXiv 2106.05963): networks learn most of what
natural pictures teach from shapes that cover each other like dead leaves, with textures of a natural spectrum.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import evenly

Pixels = NDArray[np.uint8]
_SPECTRA = 64
"""Textures that all pictures are made of."""
_GRAY = 0.3
"""Share of pictures without color, as the paper's of ImageNet."""


@lru_cache(maxsize=2)
def made_textures(count: int, size: tuple[int, int], *, seed: int) -> Pixels:
    """(count, 3, H, W), not to be written to: leaves of all sizes, each plain, rough or waved, in no order."""
    rng = np.random.default_rng(seed)
    grounds = np.stack([_spectral(size, rng) for _ in range(min(_SPECTRA, count))])
    pictures = np.stack([_leaves(grounds, rng) for _ in range(count)])
    gray = evenly(count, round(_GRAY * count))
    pictures[gray] = pictures[gray].mean(1, keepdims=True)
    pixels: Pixels = np.clip(np.rint(pictures), 0, 255).astype(np.uint8)
    pixels.flags.writeable = False
    return pixels


def _spectral(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """(3, H, W) around 0 with deviation 1: random phases, and amplitudes that fall with frequency."""
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
    falling = 1 / np.maximum(frequency, 1 / max(size)) ** rng.uniform(0.5, 2.0)
    waves = np.fft.irfft2(falling * np.exp(2j * np.pi * rng.random((3, *frequency.shape))), s=size)
    mixed = waves + rng.uniform(0, 2) * waves[:1]
    texture: NDArray[np.float32] = ((mixed - mixed.mean()) / mixed.std()).astype(np.float32)
    return texture


def _leaves(grounds: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    height, width = grounds.shape[-2:]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    picture = _filled(grounds, rng)
    for _ in range(rng.integers(0, 40)):
        radius = 0.5 * max(height, width) * rng.uniform(0.05, 1.0) ** 2 + 1.5
        turn = rng.uniform(0, np.pi)
        dy, dx = y - rng.uniform(0, height), x - rng.uniform(0, width)
        along, across = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        across = across * rng.uniform(1, 6)
        round_leaf = rng.random() < 0.5
        inside = np.hypot(along, across) < radius if round_leaf else np.maximum(abs(along), abs(across)) < radius
        picture[:, inside] = _filled(grounds, rng)[:, inside]
    return picture


def _filled(grounds: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """One color, with a texture of any strength, half of them none to speak of; a third is waved."""
    height, width = grounds.shape[-2:]
    strength = 60 * rng.random() ** 2
    surface = strength * grounds[rng.integers(len(grounds))]
    if rng.random() < 1 / 3:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        fy, fx = rng.uniform(-1.5, 1.5, 2)
        surface = surface + rng.uniform(5, 60) * np.sin(fy * y + fx * x + rng.uniform(0, 6))
    color = rng.uniform(0, 255) + rng.uniform(0, 1) * rng.uniform(-128, 128, (3, 1, 1))
    filled: NDArray[np.float32] = (surface + color).astype(np.float32)
    return filled

"""Tiny data sets on disk, drawn with Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 40)
"""(width, height) of every picture here."""


def texture(seed: int) -> Image.Image:
    """A cloudy gray picture; another seed is another part."""
    rows = np.random.default_rng(seed).integers(0, 256, (5, 6))
    return Image.fromarray(rows.astype(np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)


def draw(path: Path, seed: int) -> Path:
    """A picture file of its own content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texture(seed).save(path)
    return path


def draw_many(folder: Path, count: int, seed: int, suffix: str = ".png") -> list[Path]:
    """`0000.png` ... of different contents."""
    return [draw(folder / f"{number:04d}{suffix}", seed * 1000 + number) for number in range(count)]


def draw_category(root: Path, *, train: int = 10, good: int = 5, scratch: int = 5, seed: int = 0) -> Path:
    """One category in MVTec layout, with a mask for each scratch."""
    draw_many(root / "train" / "good", train, 10 * seed + 1)
    draw_many(root / "test" / "good", good, 10 * seed + 2)
    for path in draw_many(root / "test" / "scratch", scratch, 10 * seed + 3):
        mask = root / "ground_truth" / "scratch" / f"{path.stem}_mask.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", SIZE, 255).save(mask)
    return root


def draw_frames(root: Path, *, highway: int = 220, rain: int = 60) -> Path:
    """One scene in train/, one in other/."""
    draw_many(root / "train" / "highway", highway, 1)
    draw_many(root / "other" / "rain", rain, 2)
    return root

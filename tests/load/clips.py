"""Short clips of a texture that moves, drawn with Pillow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (44, 34)
"""(width, height) of a frame: fields of 24 x 32 lie well inside."""
Path2d = Callable[[int], tuple[int, int]]
"""Frame -> (right, down): where the camera looks."""


def scene(seed: int) -> Image.Image:
    """A large cloudy picture that a camera moves over."""
    rows = np.random.default_rng(seed).integers(0, 256, (40, 60))
    return Image.fromarray(rows.astype(np.uint8)).resize((480, 320), Image.Resampling.BICUBIC)


def swaying(number: int) -> tuple[int, int]:
    """One pixel to the right a frame, and back again after a while."""
    return 60 + abs(number % 80 - 40), 60


def jumping(number: int) -> tuple[int, int]:
    """Up and down by three pixels, every frame."""
    return 60 + number % 40, 60 + 3 * (number % 2)


def draw_clip(folder: Path, count: int, *, seed: int = 0, start: int = 0, path: Path2d = swaying) -> list[Path]:
    """`0000.png` ... of a camera's way over a scene, with a little noise of the sensor."""
    folder.mkdir(parents=True, exist_ok=True)
    whole, rng, files = scene(seed), np.random.default_rng(seed), []
    for number in range(start, start + count):
        left, top = path(number)
        frame = np.asarray(whole.crop((left, top, left + SIZE[0], top + SIZE[1])), dtype=np.float64)
        noisy = np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8)
        files.append(folder / f"{number:04d}.png")
        Image.fromarray(noisy).save(files[-1])
    return files


def draw_clips(root: Path, *, road: int = 220, bumps: int = 60) -> Path:
    """One scene in train/, and another kind of motion in other/."""
    draw_clip(root / "train" / "road", road, seed=1)
    draw_clip(root / "other" / "bumps", bumps, seed=2, path=jumping)
    return root

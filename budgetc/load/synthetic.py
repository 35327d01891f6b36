"""Synthetic anomalies: local damage drawn into a normal picture, with the mask of what was drawn.

They are drawn at the size at which the picture was taken, before any resize, so that a small defect vanishes for a
detector of small input as a real one does.
"""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from budgetc.load.factors import generator

SyntheticKind = Literal["cut-paste", "cut-paste-scar", "perlin-blend", "scratch"]
Floats = NDArray[np.float32]
Drawing = Callable[[Floats, np.random.Generator], tuple[Floats, Floats]]
"""(height, width, 3) picture -> (height, width) opacity in 0..1, and (height, width, 3) what lies there instead."""
_VISIBLE = 0.08
"""Least opacity that counts as anomalous; below it the picture stays as it was."""
_LEAST_CHANGE = 5.0
"""Gray levels that the pixels of a mask differ by on average; what is fainter is drawn again."""
_ATTEMPTS = 8


def cut_paste(picture: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A piece of the picture, toned, somewhere else (Li et al., CutPaste, CVPR 2021, section 2.1)."""
    area, aspect = rng.uniform(0.004, 0.05), np.exp(rng.uniform(-1, 1))
    side = np.sqrt(area * picture.shape[0] * picture.shape[1])
    return _rectangle(picture, rng, (side * np.sqrt(aspect), side / np.sqrt(aspect)), 0.0), _elsewhere(picture, rng)


def cut_paste_scar(picture: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A long thin piece of the picture, toned and turned, somewhere else (same source, section 2.2)."""
    side = min(picture.shape[:2])
    size = side * rng.uniform(0.12, 0.35), max(2.0, side * rng.uniform(0.012, 0.04))
    return _rectangle(picture, rng, size, rng.uniform(0, np.pi)), _elsewhere(picture, rng)


def perlin_blend(picture: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Blots where Perlin noise is high, another texture shining through (Zavrtanik et al., DRAEM, ICCV 2021, 3.2)."""
    height, width = picture.shape[:2]
    cells = 2 ** int(rng.integers(2, 5))
    noise = perlin((height, width), cells, rng)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    away = np.hypot((y / height - rng.uniform(0.15, 0.85)), (x / width - rng.uniform(0.15, 0.85)))
    near = noise - 3 * away  # blots of one place: damage is seldom all over a part
    level = np.quantile(near, 1 - rng.uniform(0.004, 0.06))
    return (near > level).astype(np.float32), _elsewhere(picture, rng)


def scratch(picture: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A bent line of one width, darker or brighter than what it crosses."""
    height, width = picture.shape[:2]
    side = min(height, width)
    length, turn = side * rng.uniform(0.2, 0.6), rng.uniform(0, np.pi)
    half_width = max(0.5, side * rng.uniform(0.003, 0.012))
    along = np.array([np.sin(turn), np.cos(turn)])
    steps = np.linspace(-0.5, 0.5, 4 * side)[:, None]
    bow = along[::-1] * (-1, 1) * length * rng.uniform(-0.2, 0.2)
    line = rng.uniform(0.25, 0.75, 2) * (height, width) + along * length * steps + bow * (1 - 4 * steps**2)
    row, column = np.clip(np.rint(line), 0, (height - 1, width - 1)).astype(int).T
    away = np.ones((height, width), bool)
    away[row, column] = False
    distance = ndimage.distance_transform_edt(away)
    opacity = np.clip(half_width + 0.5 - distance, 0, 1).astype(np.float32)
    tone = 20.0 if picture[row, column].mean() > 127 or rng.random() < 0.3 else 235.0
    return opacity, np.full_like(picture, tone)


DRAWINGS: Mapping[SyntheticKind, Drawing] = {
    "cut-paste": cut_paste, "cut-paste-scar": cut_paste_scar, "perlin-blend": perlin_blend, "scratch": scratch,
}  # fmt: skip
assert set(DRAWINGS) == set(get_args(SyntheticKind))


def damaged(
    pixels: NDArray[np.uint8], kind: SyntheticKind, *, seed: str
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture with one synthetic anomaly, and the mask of it; the same arguments give the same ones.

    Strength is drawn, weak ones being more frequent; outside the mask no pixel changes, inside most do.

    Args:
        pixels: (height, width, 3).
        kind: what is drawn.
        seed: any text: the file's name, so that pictures differ and runs do not.
    """
    rng, before = generator(f"{seed}\0{kind}"), pixels.astype(np.float32)
    for _ in range(_ATTEMPTS):
        opacity, source = DRAWINGS[kind](before, rng)
        mask = opacity >= _VISIBLE
        drawn = _blended(before, source, opacity * np.float32(np.exp(rng.uniform(np.log(0.2), 0))), mask)
        change = np.abs(drawn.astype(np.float32) - before)[mask]
        if change.size and change.mean() >= _LEAST_CHANGE and (change.max(axis=1) > 0).mean() > 0.5:
            return drawn, mask
    # A surface as plain as paper: whatever is pasted looks like it, so that only another tone shows.
    return _blended(before, np.where(before > 127, before - 90, before + 90), opacity, mask), mask


def _blended(before: Floats, source: Floats, opacity: Floats, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    mixed = before + opacity[..., None] * (source - before)
    drawn: NDArray[np.uint8] = np.clip(np.rint(np.where(mask[..., None], mixed, before)), 0, 255).astype(np.uint8)
    return drawn


def _rectangle(picture: Floats, rng: np.random.Generator, size: tuple[float, float], turn: float) -> Floats:
    """(height, width) opacity of a turned rectangle of `size` in pixels, its center well inside the picture."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    v, u = y - rng.uniform(0.15, 0.85) * height, x - rng.uniform(0.15, 0.85) * width
    along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    outside = np.maximum(np.abs(along) - size[0] / 2, np.abs(across) - size[1] / 2)
    opacity: Floats = np.clip(0.5 - outside, 0, 1).astype(np.float32)
    return opacity


def _elsewhere(picture: Floats, rng: np.random.Generator) -> Floats:
    """The picture moved, maybe turned by half, and toned: what a piece of it from another place looks like."""
    height, width = picture.shape[:2]
    shift = [int(side * rng.uniform(0.15, 0.85)) for side in (height, width)]
    moved = np.roll(picture[::-1, ::-1] if rng.random() < 0.5 else picture, shift, axis=(0, 1))
    # A gray surface has no colored defects, and any color would stand out from it.
    color = min(1.0, float(np.ptp(picture, axis=2).mean()) / 10)
    contrast, tint = np.exp(rng.uniform(-0.5, 0.5)), color * rng.uniform(-12, 12, 3)
    # Away from the nearer end of the scale, so that a tone is not clipped away.
    tone = rng.uniform(5, 70) * (-1 if moved.mean() > 127 else 1)
    toned: Floats = (moved.mean() + contrast * (moved - moved.mean()) + tone + tint).astype(np.float32)
    return toned


def perlin(size: tuple[int, int], cells: int, rng: np.random.Generator) -> Floats:
    """(height, width) gradient noise, about -1 to 1, of `cells` x `cells` cells (Perlin 1985; fade curve of 2002)."""
    angle = rng.uniform(0, 2 * np.pi, (cells + 1, cells + 1))
    y, x = (np.linspace(0, cells, side, endpoint=False) for side in size)
    row, column = y.astype(int)[:, None], x.astype(int)[None, :]
    v, u = y[:, None] - row, x[None, :] - column

    def corner(down: int, right: int) -> NDArray[np.float64]:
        turned = angle[row + down, column + right]
        found: NDArray[np.float64] = np.sin(turned) * (v - down) + np.cos(turned) * (u - right)
        return found

    fade_v, fade_u = (t**3 * (t * (6 * t - 15) + 10) for t in (v, u))
    top = corner(0, 0) + fade_u * (corner(0, 1) - corner(0, 0))
    bottom = corner(1, 0) + fade_u * (corner(1, 1) - corner(1, 0))
    noise: Floats = (1.41 * (top + fade_v * (bottom - top))).astype(np.float32)
    return noise

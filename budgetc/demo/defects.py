"""Scratches, stains, holes and cuts, drawn anti-aliased into a gray image of a surface."""

from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Defect = Literal["scratch", "stain", "hole", "cut"]
DEFECTS: tuple[Defect, ...] = ("scratch", "stain", "hole", "cut")

Gray = NDArray[np.float64]
_VISIBLE = 0.08
"""Least opacity that counts as defective; below it the image stays as it was."""


def draw(defect: Defect, surface: NDArray[np.uint8], rng: np.random.Generator, *, contrast: float) -> tuple[
    NDArray[np.uint8], NDArray[np.bool_]
]:  # fmt: skip
    """A copy of `surface` (height, width) with one defect, and the mask of the pixels that it covers.

    `contrast` scales how far the defect differs from the surface, not its shape or place: the mask is
    the same for every contrast. Pixels outside the mask keep their value.
    """
    before = surface.astype(np.float64)
    depth = contrast * rng.uniform(0.7, 1.3)
    match defect:
        case "scratch":
            after, opacity = _scratch(before, rng, depth)
        case "stain":
            after, opacity = _stain(before, rng, depth)
        case "hole":
            after, opacity = _hole(before, rng, depth)
        case "cut":
            after, opacity = _cut(before, rng, depth)
        case _:
            assert_never(defect)
    mask = opacity >= _VISIBLE
    drawn = np.clip(np.rint(np.where(mask, after, before)), 0, 255).astype(np.uint8)
    return drawn, mask


def _scratch(before: Gray, rng: np.random.Generator, depth: float) -> tuple[Gray, Gray]:
    """A bent, tapering line, bright or dark, with the shadow of its burr beside it."""
    side, size = min(before.shape), _size(before)
    start, angle = _place(rng, side, 0.35), rng.uniform(0, np.pi)
    length = min(size * rng.uniform(0.35, 0.7), 0.95) * side
    along = np.array([np.sin(angle), np.cos(angle)])
    bow = along[::-1] * (-1, 1) * length * rng.uniform(-0.15, 0.15)
    steps = np.linspace(-0.5, 0.5, 160)[:, None]
    line = start + along * length * steps + bow * (1 - 4 * steps**2)
    half_width = size * rng.uniform(0.35, 0.7) * np.sqrt(np.clip(1 - (2 * steps[:, 0]) ** 4, 0, 1))
    pressure = np.clip(1 + 0.5 * _profile(rng, len(steps)), 0.35, 1.3)
    groove = _stroke(before.shape, line, half_width, pressure)
    burr = _stroke(before.shape, line + size * along[::-1] * (1, -1), half_width, pressure)
    sign = 1 if rng.random() < 0.6 else -1
    step = sign * depth * _reach(before)
    return _toned(before, step * (groove - 0.4 * np.clip(burr - groove, 0, 1))), np.maximum(groove, 0.4 * burr)


def _stain(before: Gray, rng: np.random.Generator, depth: float) -> tuple[Gray, Gray]:
    """An uneven wet or dusty patch: darker or lighter, its texture dulled, its rim stronger."""
    side = min(before.shape)
    edge = _blob_distance(before.shape, rng, _size(before) * side * rng.uniform(0.12, 0.2), roughness=0.25)
    feather = rng.uniform(1.0, 2.5)
    opacity = np.clip(0.5 - edge / (2 * feather), 0, 1)
    rim = np.exp(-(((edge + feather) / feather) ** 2))
    cover = np.clip(depth * (0.6 + 0.09 * _busyness(before)), 0, 0.8)
    film = before + cover * (ndimage.gaussian_filter(before, 1.3) - before)
    sign = -1 if rng.random() < 0.7 else 1
    tone = sign * depth * 0.5 * _reach(before) * (0.8 + 0.35 * rim)
    return before + opacity * (_toned(film, tone) - before), opacity


def _hole(before: Gray, rng: np.random.Generator, depth: float) -> tuple[Gray, Gray]:
    """A small pit: dark inside, darkest towards the light, a lit rim on the far side."""
    side = min(before.shape)
    edge = _blob_distance(before.shape, rng, _size(before) * side * rng.uniform(0.05, 0.09), roughness=0.18)
    inside = np.clip(0.5 - edge, 0, 1)
    lip = np.clip(1 - np.abs(edge - 0.8), 0, 1)
    light = rng.uniform(-0.9, -0.3)
    slope_y, slope_x = np.gradient(edge)
    towards = np.clip(slope_y * np.sin(light) + slope_x * np.cos(light), -1, 1)
    floor = before.min() + 0.1 * (np.median(before) - before.min()) - 12 * towards
    share = min(1.6 * depth, 1.0)
    lit = 0.3 * depth * _reach(before) * lip * np.clip(-towards, 0, 1)
    return _toned(before + share * inside * np.minimum(floor - before, 0), lit), np.maximum(inside, 0.6 * lip)


def _cut(before: Gray, rng: np.random.Generator, depth: float) -> tuple[Gray, Gray]:
    """A piece cut out and put back turned: a little sunk, the dark gap of the knife around it."""
    side, size = min(before.shape), _size(before)
    radius = min(round(size * side * rng.uniform(0.14, 0.21)), side // 2 - 1)
    row, column = (int(v) for v in rng.integers(radius, side - radius, 2))
    window = np.s_[row - radius : row + radius + 1, column - radius : column + radius + 1]
    piece = before.copy()
    piece[window] = np.rot90(before[window], int(rng.integers(1, 4)))
    y, x = np.mgrid[: before.shape[0], : before.shape[1]] - np.array([row, column])[:, None, None]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.55, 0.9)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    edge = np.maximum(np.abs(u), np.abs(v) / stretch) - 0.68 * radius
    opacity = np.clip(0.5 - edge, 0, 1)
    gap = np.clip(0.5 + 0.5 * size - np.abs(edge), 0, 1) * np.clip(
        0.9 + (u * np.sign(rng.random() - 0.5) + v) / radius, 0, 1
    )
    cut = before + opacity * (piece - before)
    sunk = -depth * _reach(before) * (0.8 * gap + 0.15 * opacity)
    return _toned(cut, sunk), np.maximum(opacity, gap)


def _toned(surface: Gray, change: Gray) -> Gray:
    """`surface` moved towards light gray (`change` > 0) or dark gray; a change of 100 goes 63 % of the way."""
    goal = np.where(change > 0, 240.0, 15.0)
    return np.asarray(surface + (1 - np.exp(-np.abs(change) / 100)) * (goal - surface))


def _busyness(surface: Gray) -> float:
    """Median slope in gray levels per pixel: about 1 on a brick, 14 on gravel, 19 on grass."""
    return float(np.median(np.hypot(*np.gradient(surface))))


def _reach(surface: Gray) -> float:
    """The change in `_toned` of one unit of contrast: what is just seen on a busy surface shouts on a plain one."""
    return 45.0 + 17.0 * _busyness(surface)


def _size(surface: Gray) -> float:
    """How much larger a defect has to be to stand out from a busy surface."""
    return 1.15 + 0.03 * min(_busyness(surface), 20.0)


def _place(rng: np.random.Generator, side: int, border: float) -> NDArray[np.float64]:
    return rng.uniform(border * side, (1 - border) * side, 2)


def _profile(rng: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Smooth noise with zero mean and unit deviation, (length,)."""
    noise = ndimage.gaussian_filter1d(rng.standard_normal(length), 8)
    return np.asarray((noise - noise.mean()) / noise.std())


def _stroke(shape: tuple[int, ...], line: Gray, half_width: NDArray[np.float64], weight: NDArray[np.float64]) -> Gray:
    """Opacity (height, width) of a pen that follows `line` (n, 2) of (y, x), with a width and weight at each point."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(y[..., None] - line[:, 0], x[..., None] - line[:, 1])
    return np.asarray((np.clip(half_width + 0.5 - distance, 0, 1) * weight).max(axis=-1))


def _blob_distance(shape: tuple[int, ...], rng: np.random.Generator, radius: float, *, roughness: float) -> Gray:
    """Signed distance in pixels, about, to the edge of an uneven ellipse; negative inside."""
    center = _place(rng, min(shape), 0.25)
    y, x = np.mgrid[: shape[0], : shape[1]] - center[:, None, None]
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.65, 1)
    u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / squeeze
    angle = np.arctan2(v, u)
    waves = sum(rng.normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    return np.asarray(np.hypot(u, v) - radius * (1 + roughness * waves))

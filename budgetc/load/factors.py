"""OOD factors: what weather, light and a failing sensor do to a frame, at a severity from 0 to 1.

Each function maps (height, width, 3) float32 in 0..255 to the same; severity 0 changes nothing, 1 is as bad as it gets.
They act on the picture as it was taken, before any resize, as the camera would.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import ndimage

from budgetc.core.frozen import Frozen

Frame = NDArray[np.float32]
Change = Callable[[Frame, float, np.random.Generator], Frame]
FactorName = Literal[
    "rain", "fog", "darkness", "noise", "blur", "occlusion", "dead-rows", "glare", "shake", "reverse", "faster"
]

Severity = Annotated[float, Field(gt=0, le=1)]


class Factors(Frozen):
    """What happens to copies of the test normals."""

    factors: Annotated[dict[FactorName, tuple[Severity, ...]], Field(min_length=1)]
    """Factor -> severities; every test normal gets a copy of each. Equal numbers of severities make the pooled AUROC
    the mean over factors."""
    held_back: tuple[FactorName, ...] = ()
    """Factors that the selection split does not show, so that the search cannot fit itself to them."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _holds_back_less_than_all(self) -> "Factors":
        unknown = sorted(set(self.held_back) - set(self.factors))
        if unknown:
            raise ValueError(f"held_back: {', '.join(unknown)} is not among factors")
        if set(self.held_back) == set(self.factors):
            raise ValueError("held_back: at least one factor must be left for the selection split")
        return self


def rain(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """Bright streaks of one direction over a scene that loses contrast behind them."""
    height, width = frame.shape[:2]
    drops = (rng.random((height, width)) < 0.03 * severity).astype(np.float32)
    length = max(3, round(height / 12))
    slant = rng.uniform(-0.4, 0.4)
    rows = np.arange(length)
    streak = np.zeros((length, 2 * length + 1), np.float32)
    streak[rows, np.round(length + slant * rows).astype(int)] = 1.0
    fallen = np.clip(ndimage.convolve(drops, streak, mode="wrap"), 0, 1)[..., None]
    washed = frame + 0.35 * severity * (frame.mean() + 20 - frame)
    rained: Frame = washed + fallen * np.float32(0.6) * (225 - washed)
    return rained


def fog(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """Airlight that grows towards the horizon (Koschmieder's law; what is higher in the picture is farther)."""
    height = frame.shape[0]
    depth = np.interp(np.linspace(0, 1, height), [0, 0.4, 1], [0.9, 1.0, 0.25])
    passed = np.exp(-2.2 * severity * depth * rng.uniform(0.9, 1.1)).astype(np.float32)[:, None, None]
    hazy: Frame = frame * passed + np.float32(205) * (1 - passed)
    return hazy


def darkness(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """Less light: a gain below 1, shadows that drown, and more of the sensor's own noise."""
    dark = 255 * (frame / 255) ** (1 + severity) * (1 - 0.75 * severity)
    return (dark + rng.normal(0, 4 * severity, frame.shape)).astype(np.float32)


def noise(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """Shot noise, which grows with the root of the light, and read noise."""
    shot = np.sqrt(np.maximum(frame, 0)) * rng.normal(0, 2.5 * severity, frame.shape)
    return frame + (shot + rng.normal(0, 22 * severity, frame.shape)).astype(np.float32)


def blur(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """Out of focus: Gaussian, at most a twentieth of the height wide."""
    sigma = severity * frame.shape[0] / 20
    blurred: Frame = ndimage.gaussian_filter(frame, (sigma, sigma, 0))
    return blurred


def occlusion(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """Something dark and soft-edged on the lens."""
    height, width = frame.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    radius = np.sqrt(severity) * 0.45 * height
    cy, cx = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width
    away = np.hypot(y - cy, x - cx) - radius
    cover: Frame = (1 / (1 + np.exp(np.clip(away / (0.03 * height), -30, 30)))).astype(np.float32)[..., None]
    return frame + cover * min(1.0, 10 * severity) * (25 - frame)


def dead_rows(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """Rows that the sensor no longer reads: black or full."""
    dead = np.flatnonzero(rng.random(frame.shape[0]) < 0.25 * severity)
    result = frame.copy()
    result[dead] = rng.choice(np.array([0, 255], np.float32), len(dead))[:, None, None]
    return result


def glare(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """The sun in the picture: a saturated disc, its halo, and a veil over everything."""
    height, width = frame.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    cy, cx = rng.uniform(0.05, 0.5) * height, rng.uniform(0.1, 0.9) * width
    away = np.hypot(y - cy, x - cx) / height
    light: Frame = (300 * np.exp(-((away / (0.12 + 0.2 * severity)) ** 2)) + 60 * np.exp(-away / 0.6)).astype(
        np.float32
    )
    return frame + np.float32(severity) * light[..., None]


def shake(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """A camera that is not held still: every frame is moved on its own, by up to some twentieth of the height."""
    height, width = frame.shape[:2]
    down, right = np.rint(rng.normal(0, severity * height / 20, 2)).astype(int)
    rows, columns = np.clip(np.arange(height) - down, 0, height - 1), np.clip(np.arange(width) - right, 0, width - 1)
    moved: Frame = frame[rows][:, columns]
    return moved


def unchanged(frame: Frame, severity: float, rng: np.random.Generator) -> Frame:
    """What the factors of order do to a frame by itself."""
    return frame


ORDERS: tuple[FactorName, ...] = ("reverse", "faster")
"""Factors that change which frame follows which: only a detector of motion can see them (`load/motion.py`)."""


def stride_of(severity: float) -> int:
    """Frames from one to the next under `faster`: 2 to 4."""
    return 1 + max(1, round(3 * severity))


FACTORS: Mapping[FactorName, Change] = {
    "rain": rain, "fog": fog, "darkness": darkness, "noise": noise, "blur": blur, "occlusion": occlusion,
    "dead-rows": dead_rows, "glare": glare, "shake": shake, "reverse": unchanged, "faster": unchanged,
}  # fmt: skip
assert set(FACTORS) == set(get_args(FactorName))


def changed(pixels: NDArray[np.uint8], factor: FactorName, severity: float, *, seed: str) -> NDArray[np.uint8]:
    """A frame under a factor; the same arguments give the same picture.

    Args:
        pixels: (height, width, 3).
        factor: what happens to it.
        severity: 0 (nothing) to 1.
        seed: any text: the file's name, so that frames differ and runs do not.
    """
    rng = generator(f"{seed}\0{factor}\0{severity:g}")
    result = FACTORS[factor](pixels.astype(np.float32), severity, rng)
    return np.clip(np.round(result), 0, 255).astype(np.uint8)


def generator(text: str) -> np.random.Generator:
    """Randomness that follows from a text, so that the order in which pictures are read does not matter."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))

"""How pictures were taken: exposure, sharpness, clipping; and which of them stick out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.core.dataset import Reader, Sample
from budgetc.core.pictures import gray_levels, picture_statistics
from budgetc.measurement.controls import LONGEST
from budgetc.measurement.learning_curve import SIDE

STICKS_OUT = 4.0
"""Robust standard deviations from the median of the category's normals."""
FLAT_CONTRAST = 2.0
"""Gray levels of standard deviation below which a picture shows nothing."""
CLIPPED = 0.2
"""Share of pixels at the end of the scale above which a picture has lost something."""
_ENDS = (1, 254)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at every picture gave, in the order of `samples`."""

    samples: Sequence[Sample]
    statistics: Floats
    """(n, 4): mean, contrast, gradient energy, blur."""
    clipped: Floats
    """(n,) share of pixels that are black or white."""
    small: NDArray[np.uint8]
    """(n, 192, 192) gray levels."""


def survey(samples: Sequence[Sample], sizes: Sequence[tuple[int, int]], read: Reader) -> Survey:
    """Look once at every picture as it was taken, large ones scaled down; `sizes` are (width, height)."""
    statistics, clipped = np.zeros((len(samples), 4)), np.zeros(len(samples))
    small = np.zeros((len(samples), SIDE, SIDE), np.uint8)
    for number, (sample, (width, height)) in enumerate(zip(samples, sizes, strict=True)):
        scale = min(1.0, LONGEST / max(width, height))
        gray = gray_levels(read(sample, (max(4, round(scale * height)), max(4, round(scale * width)))))
        statistics[number] = picture_statistics(gray)
        clipped[number] = max((gray <= _ENDS[0]).mean(), (gray >= _ENDS[1]).mean())
        image = Image.fromarray(np.rint(gray).astype(np.uint8))
        small[number] = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return Survey(samples, statistics, clipped, small)


def robust_deviations(values: Floats, resolution: float) -> Floats:
    """(n,) distances from the median in units of 1.4826 x the median absolute deviation, which is at least
    `resolution`: of a normal distribution that is its standard deviation.
    """
    middle = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), resolution)
    deviations: Floats = (values - middle) / spread
    return deviations

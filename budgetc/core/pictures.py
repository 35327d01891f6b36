"""What can be said of a picture without looking at what it shows: how bright, how much contrast, how sharp."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STATISTICS = ("mean", "contrast", "gradient energy", "blur")
"""In the order of `picture_statistics`."""


def gray_levels(pixels: NDArray[np.uint8]) -> Floats:
    """(3, height, width) -> (height, width): the mean of the channels, 0..255."""
    gray: Floats = pixels.mean(axis=0, dtype=np.float64)
    return gray


def picture_statistics(gray: Floats) -> Floats:
    """(4,): mean level, standard deviation, mean squared gradient, variance of the Laplacian.

    The last is a measure of sharpness (Pech-Pacheco et al. 2000, ICPR, section 3): low in blurred pictures.
    `gray` is (height, width), at least 3 x 3.
    """
    down, right = np.gradient(gray)
    inner = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * inner
    return np.array([gray.mean(), gray.std(), np.square(down).mean() + np.square(right).mean(), laplacian.var()])

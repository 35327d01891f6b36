"""Four numbers of a picture."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from budgetc.core.pictures import gray_levels, picture_statistics


def test_a_flat_picture_has_only_a_level() -> None:
    """No contrast, no gradients, no curvature."""
    assert picture_statistics(np.full((8, 9), 40.0)).tolist() == [40.0, 0.0, 0.0, 0.0]


def test_a_ramp_has_a_gradient_and_no_curvature() -> None:
    """Two levels a pixel: gradient energy 4, and a Laplacian of zero everywhere."""
    ramp = np.tile(2.0 * np.arange(10), (7, 1))
    assert picture_statistics(ramp)[2:] == pytest.approx([4.0, 0.0])


def test_blurring_lowers_sharpness() -> None:
    """The variance of the Laplacian is a measure of focus; the mean level stays."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    sharp, soft = (
        picture_statistics(np.asarray(one, np.float64)) for one in (noise, noise.filter(ImageFilter.GaussianBlur(2)))
    )
    assert soft[3] < sharp[3] / 100
    assert soft[0] == pytest.approx(sharp[0], abs=2)


def test_gray_is_the_mean_of_the_channels() -> None:
    """(3, height, width) -> (height, width), not rounded."""
    pixels = np.stack([np.full((4, 5), level, np.uint8) for level in (255, 0, 1)])
    assert gray_levels(pixels).tolist() == np.full((4, 5), 256 / 3).tolist()

"""Defects change what their mask says, and as strongly as asked."""

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetc.demo.defects import DEFECTS, Defect, draw
from budgetc.demo.textures import CATEGORIES, layout, texture


def surfaces() -> list[NDArray[np.uint8]]:
    """Nine cells: three of every texture."""
    found = []
    for category in CATEGORIES:
        photograph = texture(category)
        for cell in [cell for cell in layout(3) if cell.category == category][:3]:
            top, left, bottom, right = cell.box
            found.append(photograph[top:bottom, left:right])
    return found


@pytest.mark.parametrize("defect", DEFECTS)
def test_only_the_mask_changes_and_most_of_it_does(defect: Defect) -> None:
    """Outside the mask every pixel keeps its value; inside, most differ."""
    for number, surface in enumerate(surfaces()):
        image, mask = draw(defect, surface, np.random.default_rng(number), contrast=1.0)
        assert image.dtype == np.uint8
        assert np.array_equal(image[~mask], surface[~mask])
        assert np.mean(image[mask] != surface[mask]) > 0.7


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_small_and_there(defect: Defect) -> None:
    """A mask covers between 0.3 % and half of the image."""
    for number, surface in enumerate(surfaces() * 10):
        _, mask = draw(defect, surface, np.random.default_rng(number), contrast=1.0)
        assert 0.003 < mask.mean() < 0.5


@pytest.mark.parametrize("defect", DEFECTS)
def test_contrast_changes_strength_and_not_shape(defect: Defect) -> None:
    """With the same randomness a higher contrast differs more, under the same mask."""
    changes = {0.5: 0.0, 2.0: 0.0}
    for number, surface in enumerate(surfaces()):
        masks = []
        for contrast in changes:
            image, mask = draw(defect, surface, np.random.default_rng(number), contrast=contrast)
            changes[contrast] += float(np.abs(image.astype(int) - surface)[mask].mean())
            masks.append(mask)
        first, second = masks
        assert np.array_equal(first, second)
    assert changes[2.0] > 1.2 * changes[0.5]


@pytest.mark.parametrize("defect", DEFECTS)
def test_edges_are_anti_aliased(defect: Defect) -> None:
    """On a plain surface a defect has several shades, not one."""
    plain = np.full((32, 32), 128, np.uint8)
    plain[:, ::7] = 140
    image, mask = draw(defect, plain, np.random.default_rng(1), contrast=1.0)
    assert len(np.unique(image[mask])) >= 5


def test_the_surface_is_left_alone() -> None:
    """Drawing never writes into its input."""
    for defect in DEFECTS:
        surface = surfaces()[0].copy()
        before = surface.copy()
        draw(defect, surface, np.random.default_rng(0), contrast=1.0)
        assert np.array_equal(surface, before)

"""Cells of the demo's textures: disjoint, in regions, in the numbers that the splits need."""

import sys
from collections import Counter, defaultdict

import numpy as np
import pytest

from budgetc.core.dataset import GOOD
from budgetc.demo.defects import DEFECTS
from budgetc.demo.textures import CATEGORIES, CELL_PX, layout, texture
from budgetc.errors import UsageError

SEEDS = (0, 1, 7)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_pixel_is_in_two_images(seed: int) -> None:
    """Every pixel of a texture belongs to at most one image, and every box lies inside the texture."""
    for category in CATEGORIES:
        uses = np.zeros(texture(category).shape, int)
        for cell in (cell for cell in layout(seed) if cell.category == category):
            top, left, bottom, right = cell.box
            height, width = texture(category).shape
            assert 0 <= top < bottom <= height
            assert 0 <= left < right <= width
            assert (bottom - top, right - left) == (CELL_PX, CELL_PX)
            uses[top:bottom, left:right] += 1
        assert uses.max() == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_region_is_one_block_of_one_kind(seed: int) -> None:
    """The cells of a region touch, and share category, part and defect type."""
    regions = defaultdict(list)
    for cell in layout(seed):
        regions[cell.region].append(cell)
    for cells in regions.values():
        assert len({(cell.category, cell.part, cell.defect) for cell in cells}) == 1
        rows, columns = {cell.row for cell in cells}, {cell.column for cell in cells}
        assert len(cells) == len(rows) * len(columns)
        assert max(rows) - min(rows) < 2
        assert max(columns) - min(columns) < 2


@pytest.mark.parametrize("seed", SEEDS)
def test_every_category_has_the_same_numbers(seed: int) -> None:
    """176 normals to train on, 40 to test, 10 anomalies of each defect type."""
    counts = Counter((cell.category, cell.part, cell.defect) for cell in layout(seed))
    for category in CATEGORIES:
        assert counts[category, "train", GOOD] == 176
        assert counts[category, "test", GOOD] == 40
        assert [counts[category, "test", defect] for defect in DEFECTS] == [10] * len(DEFECTS)


def test_good_and_bad_lie_side_by_side() -> None:
    """Every defective region touches a good one of the same block, so that place says nothing about the label."""
    blocks = defaultdict(list)
    for cell in layout(0):
        if cell.part == "test":
            blocks[cell.category, cell.row // 2, cell.column // 2].append(cell.defect == GOOD)
    assert {tuple(sorted(labels)) for labels in blocks.values()} == {(False, False, True, True)}


def test_another_seed_is_another_layout() -> None:
    """The seed decides what becomes of a cell."""
    assert layout(0) == layout(0)
    assert set(layout(0)) != set(layout(1))


def test_missing_scikit_image_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without scikit-image the error names the extra to install."""
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(UsageError, match=r"pip install 'budgetc\[demo\]'"):
        texture("brick")

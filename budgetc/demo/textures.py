"""Real photographs of surfaces, cut into cells that share no pixel."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import GOOD
from budgetc.demo.defects import DEFECTS
from budgetc.errors import UsageError

Category = Literal["brick", "grass", "gravel"]
CATEGORIES: tuple[Category, ...] = ("brick", "grass", "gravel")

CELL_PX = 32
"""Height and width of an image: 16 cells fit into the 512 pixels of a texture."""
_GRID = 16
_BLOCKS = _GRID // 2
_TRAIN_BLOCKS = 44
_BLOCKS_PER_DEFECT = 5


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of a texture, what becomes of it, and the region it belongs to."""

    category: Category
    row: int
    column: int
    part: Literal["train", "test"]
    defect: str
    """`good` or the defect type to draw."""
    region: str
    """Name of the contiguous block of cells, all with the same part and defect type."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) in pixels of the texture; bottom and right are exclusive."""
        top, left = _MARGIN + self.row * CELL_PX, _MARGIN + self.column * CELL_PX
        return top, left, top + CELL_PX, left + CELL_PX

    @property
    def stem(self) -> str:
        """File name without suffix: where in the texture the image was cut."""
        return f"r{self.row:02d}c{self.column:02d}"

    @property
    def file(self) -> str:
        """Path of the image relative to the data set's root."""
        return f"{self.category}/{self.part}/{self.defect}/{self.stem}.png"

    @property
    def mask_file(self) -> str | None:
        """Path of the ground-truth mask, relative to the data set's root; None for normals."""
        return None if self.defect == GOOD else f"{self.category}/ground_truth/{self.defect}/{self.stem}_mask.png"


_TEXTURE_PX = 512
_MARGIN = (_TEXTURE_PX - _GRID * CELL_PX) // 2


def texture(category: Category) -> NDArray[np.uint8]:
    """The photograph of a category, (512, 512); part of the scikit-image wheel, license CC0.

    Raises:
        UsageError: scikit-image is not installed.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise UsageError(
            f"The demo cuts its images from the textures of scikit-image, which cannot be imported ({error}). "
            "Install it: pip install 'budgetc[demo]'"
        ) from error
    match category:
        case "brick":
            photograph = data.brick()
        case "grass":
            photograph = data.grass()
        case "gravel":
            photograph = data.gravel()
    return np.asarray(photograph, dtype=np.uint8)


def layout(seed: int) -> tuple[Cell, ...]:
    """Every cell of every category: 176 to train, 40 good and 10 of each defect type to test.

    The grid falls into blocks of 2 x 2 cells. A training block is one region. A block for tests is cut
    into two regions, one good and one defective, so that place and light tell nothing about the label.
    """
    return tuple(cell for number in range(len(CATEGORIES)) for cell in _category_layout(seed, number))


def _category_layout(seed: int, number: int) -> list[Cell]:
    rng = np.random.default_rng([seed, number])
    category = CATEGORIES[number]
    tested = [defect for defect in DEFECTS for _ in range(_BLOCKS_PER_DEFECT)]
    cells = list[Cell]()
    for place, block in enumerate(rng.permutation(_BLOCKS**2)):
        row, column = 2 * (int(block) // _BLOCKS), 2 * (int(block) % _BLOCKS)
        corners = [(row + down, column + right) for down in (0, 1) for right in (0, 1)]
        name = f"{category}-{row:02d}-{column:02d}"
        if place < _TRAIN_BLOCKS:
            cells += [Cell(category, *corner, "train", GOOD, name) for corner in corners]
            continue
        defect = tested[place - _TRAIN_BLOCKS]
        across, swapped = rng.random(2) < 0.5
        halves = (corners[:2], corners[2:]) if across else (corners[::2], corners[1::2])
        good, bad = halves[::-1] if swapped else halves
        cells += [Cell(category, *corner, "test", GOOD, f"{name}-good") for corner in good]
        cells += [Cell(category, *corner, "test", defect, f"{name}-{defect}") for corner in bad]
    return cells

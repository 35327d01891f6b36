"""The demo's images on disk, in MVTec layout with the region of every image in groups.csv."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.demo.defects import DEFECTS, draw
from budgetc.demo.textures import CATEGORIES, Cell, layout, texture
from budgetc.errors import UsageError


def write_demo_data(root: Path, *, seed: int = 0, contrast: float = 1.0) -> None:
    """Write three categories of surface photographs, good and defective, with masks and groups.csv.

    Images are gray, 32 x 32 pixels, unchanged crops of the photograph but for the defect. `contrast` scales
    how visible the defects are; their shapes and places follow from `seed` alone. `root` appears whole or not at all.

    Raises:
        UsageError: `root` exists, `contrast` is not positive, or scikit-image is missing.
    """
    if root.exists():
        raise UsageError(f"{root} exists. Remove it or name another folder for the demo's data.")
    if not 0 < contrast <= 10:
        raise UsageError(f"contrast is {contrast}; expected a number above 0, at most 10.")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}.", dir=root.parent) as scratch:
        whole = Path(scratch, "data")
        _write(whole, seed, contrast)
        whole.rename(root)


def _write(root: Path, seed: int, contrast: float) -> None:
    photographs = {category: texture(category) for category in CATEGORIES}
    cells = sorted(layout(seed), key=lambda cell: cell.file)
    for cell in cells:
        image, mask = render(cell, photographs[cell.category], seed=seed, contrast=contrast)
        _save(root / cell.file, image)
        if cell.mask_file is not None:
            _save(root / cell.mask_file, mask.astype(np.uint8) * 255)
    rows = [f"{cell.file},{cell.region}\n" for cell in cells]
    (root / "groups.csv").write_text("file,group\n" + "".join(rows), encoding="utf-8", newline="\n")


def render(
    cell: Cell, photograph: NDArray[np.uint8], *, seed: int, contrast: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The image of a cell and the mask of its defect, both (32, 32); the mask of a normal is empty."""
    top, left, bottom, right = cell.box
    surface = photograph[top:bottom, left:right]
    for defect in DEFECTS:
        if cell.defect == defect:
            # A stream of its own for every cell: a defect does not depend on what was drawn before it.
            rng = np.random.default_rng([seed, CATEGORIES.index(cell.category), cell.row, cell.column])
            return draw(defect, surface, rng, contrast=contrast)
    return surface.copy(), np.zeros(surface.shape, np.bool_)


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)

"""Magnetic tiles: a gaussian detector on ImageNet features of photographs, split by physical tile."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from line import Line  # beside this script

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_gaussian
from budgetc.core.dataset import Dataset
from budgetc.core.statistics import auroc
from budgetc.detectors.detector import score_images
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.training.loop import Effort

RECIPES = ("quantize", "truncate-quantize", "truncate-prune-quantize")
GPU_RECIPES = ("fp16", "truncate-fp16")
"""The same for a GPU without INT8."""
SIDES = (128, 160, 192, 224, 256, 288, 320, 384)
"""Input sizes that were tried."""
SIDE = 256
"""The smallest whose AUROC on selection is within .01 of the best: `--sides` measures the table."""
LOCAL = ("blowhole", "break", "crack", "fray")
"""Defects of a few square millimeters; `uneven` is a fault of the light over the whole surface."""


def make_data(source: Path, folder: Path) -> Path:
    """The photographs as they lie in `source`, whose groups.csv names the tile of each."""
    return source


def train(data: Path, model: Path, *, quick: bool) -> list[Line]:
    """As `budgetc train gaussian --input-size 256`; its AUROC on selection."""
    side = 128 if quick else SIDE
    trained = train_bundle(new_gaussian((side, side)), data=data, out=model, effort=Effort(1, 1e-3, 0))
    found = Line("magnetic-tile baseline, normals", trained.images, "reported", True, "images", trained.images, "")
    return [found, *_aurocs(load_dataset(data), model, side)]


def sides(data: Path, folder: Path) -> Iterator[Line]:
    """AUROC of the baseline at every input size: how `SIDE` was found."""
    dataset = load_dataset(data)
    for side in SIDES:
        model = folder / f"side-{side}.pt"
        train_bundle(new_gaussian((side, side)), data=data, out=model, effort=Effort(1, 1e-3, 0))
        yield from _aurocs(dataset, model, side)


def _aurocs(dataset: Dataset, model: Path, side: int) -> Iterator[Line]:
    """On selection alone: the input size is chosen by it."""
    detector = load_model(model).detector
    scores = score_images(detector.deployed(), dataset.images("selection", (side, side))).astype(np.float64)
    defects = np.array([sample.defect for sample in dataset.samples["selection"]])
    labels = dataset.labels("selection")
    values = {}
    for defect in sorted(set(defects[labels == 1])):
        chosen = (labels == 0) | (defects == defect)
        values[str(defect)] = auroc(scores[chosen], labels[chosen])
    words = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
    local = float(np.mean([values[name] for name in LOCAL]))
    name = f"magnetic-tile baseline at {side} px, AUROC on selection"
    yield Line(name, round(auroc(scores, labels), 4), "reported", True, "1", len(labels), words)
    yield Line(f"{name}, local defects", round(local, 4), "reported", True, "1", len(labels), "mean of four types")

"""Two controls beside every AUROC: what the size of an image tells, and what four statistics of it tell.

Both are Mahalanobis distances to the training normals of the category. A detector that does little better has
learned how the pictures were taken, or nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import Dataset, Sample, SplitName
from budgetc.core.pictures import gray_levels, picture_statistics
from budgetc.core.statistics.mahalanobis import fit_normals

Floats = NDArray[np.float64]
Name = Literal["image size", "image statistics"]
CONTROLS: tuple[Name, ...] = ("image size", "image statistics")
LONGEST = 512
"""Pixels of the longer side above which a picture is scaled down: bounds the time."""
_UNKNOWN = (256, 256)
_RESOLUTION = {"image size": (0.01, 0.01), "image statistics": (0.5, 0.02, 0.02, 0.02)}
"""Smallest spread that is believed: 1 % of a side; half a gray level, and 2 % of the other statistics."""


@dataclass(frozen=True, slots=True)
class Described:
    """Images of a split and six numbers of each."""

    split: str
    samples: Sequence[Sample]
    features: Floats
    """(n, 6): width, height (0 where unknown), mean, contrast, gradient energy, blur."""


def describe_images(dataset: Dataset, split: SplitName) -> Floats:
    """(n, 6) features of a split, as in `Described`.

    Images are looked at as they were taken. Where the size of any image of the data set is not known, all are looked
    at in one size: scaling changes sharpness, and would tell them apart.
    """
    everyone = [sample for samples in dataset.samples.values() for sample in samples]
    known = all(sample.file in dataset.sizes for sample in everyone)
    rows = [_row(dataset, sample, dataset.sizes[sample.file] if known else None) for sample in dataset.samples[split]]
    return np.array(rows, dtype=np.float64).reshape(-1, 6)


def control_scores(control: Name, train: Described, judged: Described) -> Floats | str:
    """(n,) distances of the judged images from the training normals of their category, or why there are none."""
    missing = sorted({sample.category for sample in judged.samples} - {sample.category for sample in train.samples})
    if missing:
        return f"no training normals of {', '.join(missing)}"
    if control == "image size":
        sides = np.concatenate([train.features[:, :2], judged.features[:, :2]])
        if (sides == 0).any():
            return "the sizes of the pictures as taken are not known"
        if (sides == sides[0]).all():
            return "not applicable: all pictures have one size"
    known, asked = (_scaled(control, described.features) for described in (train, judged))
    return _by_category(control, (train.samples, known), (judged.samples, asked))


def _by_category(
    control: Name, train: tuple[Sequence[Sample], Floats], judged: tuple[Sequence[Sample], Floats]
) -> Floats:
    theirs = np.array([sample.category for sample in train[0]])
    mine = np.array([sample.category for sample in judged[0]])
    scores = np.zeros(len(mine))
    for category in np.unique(mine):
        normals = fit_normals(train[1][theirs == category], resolution=np.array(_RESOLUTION[control]))
        scores[mine == category] = normals.distances(judged[1][mine == category])
    return scores


def _scaled(control: Name, features: Floats) -> Floats:
    """Logarithms of all but the mean level: sides and sharpness differ by factors."""
    if control == "image size":
        return np.log(features[:, :2])
    return np.column_stack([features[:, 2], np.log(features[:, 3:] + 1e-3)])


def _row(dataset: Dataset, sample: Sample, size: tuple[int, int] | None) -> Floats:
    width, height = size or _UNKNOWN
    scale = min(1.0, LONGEST / max(width, height))
    pixels = dataset.read(sample, (max(4, round(scale * height)), max(4, round(scale * width))))
    return np.array([*(size or (0, 0)), *picture_statistics(gray_levels(pixels))])

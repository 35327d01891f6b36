"""Samples and splits."""

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import Dataset, Sample


def sample(name: str, category: str = "tile", defect: str = "good") -> Sample:
    return Sample(file=name, group=name, category=category, defect=defect)


def dataset(reads: list[str]) -> Dataset:
    def read(one: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
        reads.append(one.file)
        return np.full((3, *size), len(reads), np.uint8)

    samples = {
        "train": (sample("a"), sample("b", category="cable")),
        "calibration": (),
        "selection": (sample("c"), sample("d", defect="crack")),
        "confirmation": (),
    }
    return Dataset(root="data", digest="0", samples=samples, read=read)  # type: ignore[arg-type]


def test_labels_follow_from_the_defect() -> None:
    """`good` is 0, every type of defect is 1."""
    assert dataset([]).labels("selection").tolist() == [0, 1]


def test_images_come_in_the_order_of_samples() -> None:
    """(n, 3, height, width), first sample first."""
    images = dataset([]).images("selection", (4, 5))
    assert images.shape == (2, 3, 4, 5)
    assert images[:, 0, 0, 0].tolist() == [1, 2]


def test_images_are_read_once_a_size() -> None:
    """A second look costs no disk; another size is another reading."""
    reads: list[str] = []
    data = dataset(reads)
    data.images("train", (4, 4))
    data.images("train", (4, 4))
    assert reads == ["a", "b"]
    data.images("train", (8, 8))
    assert reads == ["a", "b", "a", "b"]


def test_an_empty_split_has_no_images() -> None:
    """The shape stays usable."""
    assert dataset([]).images("calibration", (4, 4)).shape == (0, 3, 4, 4)


def test_categories_are_sorted_and_from_all_splits() -> None:
    """Each product once."""
    assert dataset([]).categories == ("cable", "tile")

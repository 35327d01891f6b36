"""What can be told without a detector."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import Dataset, Sample
from budgetc.core.statistics import auroc
from budgetc.measurement.controls import Described, control_scores, describe_images

Size = tuple[int, int]


def samples(count: int, defect: str = "good", category: str = "all", prefix: str = "a") -> tuple[Sample, ...]:
    return tuple(Sample(f"{prefix}{n}.png", f"{prefix}{n}", category, defect) for n in range(count))


def dataset(
    train: tuple[Sample, ...], judged: tuple[Sample, ...], size_of: Callable[[Sample], Size | None], noise: float = 0.0
) -> Dataset:
    """Pictures of random levels; those of defects have `noise` more of them."""

    def read(sample: Sample, size: Size) -> NDArray[np.uint8]:
        rng = np.random.default_rng([int(sample.group[1:]), ord(sample.group[0])])
        levels = rng.normal(128, 10 + noise * sample.label, (3, *size))
        return np.clip(levels, 0, 255).astype(np.uint8)

    sizes = {one.file: size for one in (*train, *judged) if (size := size_of(one)) is not None}
    return Dataset("root", "0" * 64, {"train": train, "calibration": (), "selection": judged, "confirmation": ()},
                   read, sizes=sizes)  # fmt: skip


def both(data: Dataset) -> tuple[Described, Described]:
    return (
        Described("train", data.samples["train"], describe_images(data, "train")),
        Described("selection", data.samples["selection"], describe_images(data, "selection")),
    )


TRAIN = samples(40)
JUDGED = (*samples(20, prefix="b"), *samples(20, "scratch", prefix="c"))


def test_size_tells_where_defects_are_cut_smaller() -> None:
    """Pictures of 40 to 44 pixels are normal, of 30 not: no detector is needed."""
    data = dataset(TRAIN, JUDGED, lambda one: (30, 40) if one.label else (40 + int(one.group[1:]) % 5, 40))
    scores = control_scores("image size", *both(data))
    assert not isinstance(scores, str)
    assert auroc(scores, data.labels("selection")) == 1.0


def test_size_does_not_apply_where_all_have_one() -> None:
    """Not an AUROC of .5 by accident: a reason."""
    data = dataset(TRAIN, JUDGED, lambda one: (32, 32))
    assert control_scores("image size", *both(data)) == "not applicable: all pictures have one size"


def test_unknown_sizes_are_said_and_do_not_tell_pictures_apart() -> None:
    """One picture without a size, and all are looked at in the same one."""
    data = dataset(TRAIN, JUDGED, lambda one: None if one.group == "c3" else (64, 64))
    assert control_scores("image size", *both(data)) == "the sizes of the pictures as taken are not known"
    assert (describe_images(data, "train")[:, :2] == 0).all()


def test_statistics_tell_noise() -> None:
    """Noisier pictures have more contrast, gradient and curvature."""
    data = dataset(TRAIN, JUDGED, lambda one: (32, 32), noise=10)
    scores = control_scores("image statistics", *both(data))
    assert not isinstance(scores, str)
    assert auroc(scores, data.labels("selection")) == 1.0


def test_statistics_of_the_same_kind_tell_nothing() -> None:
    """Pictures drawn alike stay near .5."""
    data = dataset(
        samples(200), (*samples(150, prefix="b"), *samples(150, "scratch", prefix="c")), lambda one: (24, 24)
    )
    scores = control_scores("image statistics", *both(data))
    assert not isinstance(scores, str)
    assert 0.4 < auroc(scores, data.labels("selection")) < 0.6


def test_each_category_is_held_against_its_own_normals() -> None:
    """Large tiles among small ones are no anomalies; a tile of the other's size is."""
    train = (*samples(20, category="small"), *samples(20, category="large", prefix="d"))
    judged = (*samples(10, category="small", prefix="b"), *samples(10, "cut", category="small", prefix="c"))
    data = dataset(train, judged, lambda one: (90, 90) if one.category == "large" or one.label else (50, 50))
    scores = control_scores("image size", *both(data))
    assert not isinstance(scores, str)
    assert auroc(scores, data.labels("selection")) == 1.0


def test_a_category_without_normals_is_named() -> None:
    """Nothing is fitted on another product."""
    data = dataset(TRAIN, samples(4, category="gravel", prefix="b"), lambda one: (32, 32))
    assert control_scores("image statistics", *both(data)) == "no training normals of gravel"

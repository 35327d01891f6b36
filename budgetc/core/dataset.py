"""A data set as the compiler sees it: who is in which split, and how to read an image."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["train", "calibration", "selection", "confirmation"]
SPLITS: tuple[SplitName, ...] = ("train", "calibration", "selection", "confirmation")
GOOD = "good"


@dataclass(frozen=True, slots=True)
class Sample:
    """One image. `file` is relative to the data set's root and unique in it."""

    file: str
    group: str
    category: str
    defect: str
    """Defect type; `good` for normals."""
    mask: str | None = None
    """Ground-truth mask, relative to the root; of a synthetic anomaly, a name that the data set's reader knows."""
    synthetic: bool = False
    """Whether its anomaly was made of a normal, because there are no real ones."""

    @property
    def label(self) -> int:
        """0 normal, 1 anomalous."""
        return int(self.defect != GOOD)


Reader = Callable[[Sample, tuple[int, int]], NDArray[np.uint8]]
"""(sample, (height, width)) -> (3, height, width)."""
MaskReader = Callable[[Sample], NDArray[np.bool_]]
"""Sample with a mask -> (height, width) of the picture as it was taken."""


def no_masks(sample: Sample) -> NDArray[np.bool_]:
    """For data without masks.

    Raises:
        LookupError: always.
    """
    raise LookupError(f"{sample.file} has no mask")


@dataclass(frozen=True, slots=True)
class Motion:
    """What a detector of motion reads up to a frame: flow fields of both directions, as bytes."""

    size: tuple[int, int]
    """(height, width) of the fields."""
    frame_size: tuple[int, int]
    """(height, width) of the frames that they are the center of."""
    fields: int
    """Successive ones, of each direction."""
    largest: float
    """Pixels between two frames that the end of the scale stands for."""

    def at(self, size: tuple[int, int]) -> "Motion":
        """The same of frames that are as much smaller as `size` is smaller than these fields."""
        if size == self.size:
            return self
        shares = [new / old for new, old in zip(size, self.size, strict=True)]
        height, width = (max(side, round(frame * share))
                         for frame, share, side in zip(self.frame_size, shares, size, strict=True))  # fmt: skip
        return Motion(size, (height, width), self.fields, self.largest * width / self.frame_size[1])


@dataclass(frozen=True)
class Dataset:
    """Samples by split. Train and calibration hold normals only; no group is in two splits."""

    root: str
    digest: str
    """sha256 over the files' contents and their places."""
    samples: Mapping[SplitName, tuple[Sample, ...]]
    read: Reader
    """(sample, (height, width)) -> (3, height, width), resized by the runtime's own function."""
    video: bool = False
    """Whether groups are blocks of consecutive frames."""
    upright: bool = False
    """Whether pictures are frames, of cameras that are never turned."""
    inputs: Reader | None = None
    """(sample, (height, width)) -> (channels, height, width), where a network reads something else than the picture
    itself: the motion up to a frame. `read` is then still the picture."""
    channels: int = 3
    """Of what a network reads."""
    clips: Mapping[SplitName, Sequence[Sequence[Sample]]] = field(default_factory=dict, repr=False)
    """Where it reads motion: successive frames in the order of time. The first of each clip are no samples of a split,
    for the motion up to them is not whole."""
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    """File -> (width, height) of the picture as it was taken, in pixels; without those that are not known."""
    read_mask: MaskReader = field(default=no_masks, repr=False)
    _cache: dict[tuple[SplitName, tuple[int, int]], NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    def images(self, split: SplitName, size: tuple[int, int]) -> NDArray[np.uint8]:
        """What a network reads of a split, (n, channels, height, width) uint8, in the order of its samples; cached."""
        key = (split, size)
        if key not in self._cache:
            reader = self.inputs or self.read
            read = [reader(sample, size) for sample in self.samples[split]]
            self._cache[key] = np.stack(read) if read else np.zeros((0, self.channels, *size), np.uint8)
        return self._cache[key]

    def labels(self, split: SplitName) -> NDArray[np.int64]:
        """(n,) of 0 and 1."""
        return np.array([sample.label for sample in self.samples[split]], dtype=np.int64)

    @property
    def synthetic(self) -> bool:
        """Whether anomalies are judged that were made of normals."""
        return any(sample.synthetic for split in self.samples.values() for sample in split)

    @property
    def categories(self) -> tuple[str, ...]:
        """Sorted names of the products in the data set."""
        return tuple(sorted({sample.category for split in self.samples.values() for sample in split}))


def evenly(count: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` indices of `count`, spread over all: samples are sorted, so the first ones are one category."""
    return (
        np.unique(np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64))
        if count
        else np.zeros(0, np.int64)
    )

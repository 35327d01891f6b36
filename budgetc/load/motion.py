"""A data set as a detector of motion reads it: a sample is the last of successive frames of one clip."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from statistics import median

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import SPLITS, Dataset, Motion, Reader, Sample, SplitName
from budgetc.errors import InputRejected
from budgetc.load.factors import ORDERS, stride_of
from budgetc.load.listing import natural
from budgetc.load.splits import refuse_one_class
from budgetc.runtime.flow import new_stream, to_frame

Size = tuple[int, int]
_COPY = re.compile(r"#([a-z-]+)=([0-9.e-]+)$")
"""Of the name of a frame's copy under a factor and its severity (`load/declared.py`)."""
_JUMP = 1.5
"""Usual differences of two frames' numbers, above which frames are missing and a clip begins anew."""


def as_read_by(dataset: Dataset, motion: Motion | None) -> Dataset:
    """The data set itself; for a detector of motion, the frames that have enough others of their clip before them.

    A clip is a stretch of successive frames of one scene (and one factor) within one split, so that no field is
    computed from frames of two splits: the warm start of a field, too, goes back to the first frame of the stretch.
    Within a split, a sample may reach back into the block before that of its last frame.

    Raises:
        InputRejected: the data are no frames, or no clip of a split is long enough.
        UsageError: OpenCV is missing.
    """
    if motion is None:
        _refuse_orders(dataset)
        return dataset
    if not dataset.upright:
        raise InputRejected(
            f"{dataset.root}: a detector of motion reads successive frames, and these are single pictures; expected "
            "train/<scene>/0000.png ... and other/<scene>/"
        )
    new_stream(motion.size, motion.fields, motion.largest)
    clips = {name: list(_clips(dataset.samples[name], dataset)) for name in SPLITS}
    # A list of names, not of positions: reading starts at the first frame of a clip, whatever is asked for.
    before = {sample.file: clip for found in clips.values() for clip in found for sample in clip}
    samples = {name: _with_history(dataset.samples[name], clips[name], motion.fields) for name in SPLITS}
    _refuse_short(dataset, samples, motion.fields)
    reader = MotionReader(dataset.read, motion, before)
    return replace(dataset, samples=samples, inputs=reader, channels=2 * motion.fields, clips=clips, _cache={})


@dataclass(frozen=True)
class MotionReader:
    """Reads the flow fields up to a frame; a module-level class, so that worker processes can be handed one."""

    frames: Reader
    motion: Motion
    clips: Mapping[str, Sequence[Sample]]
    """File -> all frames of its clip."""
    _latest: dict[tuple[Size, str], NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    """Fields of the clip that was read last: its frames are asked for one after another."""

    def __call__(self, sample: Sample, size: Size) -> NDArray[np.uint8]:
        """(2 * fields, height, width): motion as bytes, see `budgetc.runtime.device_flow`; of smaller frames where
        `size` is smaller than the detector's fields.
        """
        if (size, sample.file) not in self._latest:
            self._latest.clear()
            self._latest.update(self._read(self.clips[sample.file], self.motion.at(size)))
        return self._latest[size, sample.file]

    def _read(self, clip: Sequence[Sample], motion: Motion) -> Iterator[tuple[tuple[Size, str], NDArray[np.uint8]]]:
        stream = new_stream(motion.size, motion.fields, motion.largest)
        for sample in clip:
            stream.push(to_frame(self.frames(sample, motion.frame_size)))
            if not stream.missing:
                yield (motion.size, sample.file), stream.fields()


def _clips(samples: Sequence[Sample], dataset: Dataset) -> Iterator[list[Sample]]:
    """Stretches of one folder and factor in the order of time and of frames of one size; of one group, where groups
    are no blocks of a scene.
    """
    scenes: dict[tuple[str, str, str], list[Sample]] = {}
    for sample in samples:
        path = PurePosixPath(sample.file)
        changed = _COPY.search(path.name)
        key = (str(path.parent), changed.group() if changed else "", "" if dataset.video else sample.group)
        scenes.setdefault(key, []).append(sample)
    for (_, copy, _), scene in scenes.items():
        ordered = sorted(scene, key=lambda sample: natural(_COPY.sub("", sample.file)))
        for clip in _unbroken(ordered, dataset.sizes):
            yield from _reordered(clip, copy)


def _reordered(clip: list[Sample], copy: str) -> Iterator[list[Sample]]:
    """The clip in the order that its factor shows it in: backwards, or every second frame, and then the others."""
    known = _COPY.search(copy)
    match known.group(1) if known else "":
        case "reverse":
            yield clip[::-1]
        case "faster" if known is not None:
            stride = stride_of(float(known.group(2)))
            yield from (clip[first::stride] for first in range(min(stride, len(clip))))
        case _:
            yield clip


def _unbroken(scene: Sequence[Sample], sizes: Mapping[str, tuple[int, int]]) -> Iterator[list[Sample]]:
    numbers = [natural(_COPY.sub("", sample.file))[0] for sample in scene]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    usual = median(steps) if steps else 1
    clip = [scene[0]]
    for sample, step in zip(scene[1:], steps, strict=True):
        # Another size is another camera, or another crop: what seems to move in between is not the scene.
        if step > _JUMP * usual or sizes.get(sample.file) != sizes.get(clip[-1].file):
            yield clip
            clip = []
        clip.append(sample)
    yield clip


def _with_history(samples: Sequence[Sample], clips: Sequence[Sequence[Sample]], fields: int) -> tuple[Sample, ...]:
    whole = {sample.file for clip in clips for sample in clip[fields:]}
    return tuple(sample for sample in samples if sample.file in whole)


def _refuse_orders(dataset: Dataset) -> None:
    for name in SPLITS:
        found = next((sample.defect for sample in dataset.samples[name] if sample.defect in ORDERS), None)
        if found is not None and any(_COPY.search(sample.file) for sample in dataset.samples[name]):
            raise InputRejected(
                f"{dataset.root}: factors.yaml: {found} changes the order of frames alone, and this detector reads "
                "single pictures; leave it out, or train a flow_vae"
            )


def _refuse_short(dataset: Dataset, samples: Mapping[SplitName, tuple[Sample, ...]], fields: int) -> None:
    empty = [name for name in SPLITS if dataset.samples[name] and not samples[name]]
    if empty:
        raise InputRejected(
            f"{dataset.root}: no clip in {', '.join(empty)} has {fields + 1} successive frames, which a sample of "
            f"{fields} flow fields needs; add frames, or choose fewer fields"
        )
    if dataset.samples["selection"]:
        refuse_one_class(dict(samples))

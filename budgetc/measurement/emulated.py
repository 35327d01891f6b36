"""Scores on an emulated processor: what an artifact says on an instruction set that is not here. Nothing about time."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from budgetc.core.dataset import Dataset, Sample, SplitName
from budgetc.core.layout import ARTIFACT, DEVICE_CONFIG, DEVICE_FLOW, DEVICE_SCRIPT, MODEL
from budgetc.errors import InputRejected, TargetUnreachable
from budgetc.measurement.emulator import Emulator
from budgetc.measurement.quality import Scores
from budgetc.runtime import device_flow, device_score
from budgetc.runtime.spec import read_spec

_AT_ONCE = 500
"""Images of one process: a command line is no longer than two megabytes. A clip is never cut in two."""
_CLIP = "--clip"
"""Tells the script that the next frame is the first of another clip."""


def score_emulated(
    directory: Path, images: Sequence[Path], emulator: Emulator, progress: Callable[[int], None] = lambda done: None
) -> Scores:
    """(n,) scores of image files by the artifact's own device script under QEMU.

    Of a detector of motion the images are one clip, and the first ones have no score: they are NaN.

    Raises:
        TargetUnreachable: the process cannot be started or dies, as where the runtime executes what the processor
            cannot. InputRejected: the script refuses an image or the artifact.
    """
    if read_spec(directory / ARTIFACT).flow is not None:
        return _score(directory, [[images]], emulator, progress)
    parts = [images[first : first + _AT_ONCE] for first in range(0, len(images), _AT_ONCE)]
    return _score(directory, [[part] for part in parts], emulator, progress)


def score_split_emulated(
    directory: Path, dataset: Dataset, split: SplitName, *, emulator: Emulator,
    progress: Callable[[int], None] = lambda done: None,
) -> Scores:  # fmt: skip
    """(n,) scores of a split, decoded and resized there, too, wherever its images are files.

    A detector of motion gets the split's clips, each from its first frame on.

    Raises:
        TargetUnreachable, InputRejected: as `score_emulated`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if not dataset.clips:
            images = _files(dataset, dataset.samples[split], directory, Path(scratch))
            return score_emulated(directory, images, emulator, progress)
        frames = list(chain.from_iterable(dataset.clips[split]))
        files = iter(_files(dataset, frames, directory, Path(scratch)))
        clips = [list(islice(files, len(clip))) for clip in dataset.clips[split]]
        scores = _score(directory, _batches(clips), emulator, progress)
    known = dict(zip((frame.file for frame in frames), scores, strict=True))
    return np.array([known[sample.file] for sample in dataset.samples[split]], dtype=np.float64)


def _files(dataset: Dataset, samples: Sequence[Sample], directory: Path, scratch: Path) -> list[Path]:
    """The files of images; PNGs at the size that the detector resizes to, where the data set only holds pixels."""
    spec = read_spec(directory / ARTIFACT)
    size = (spec.height, spec.width) if spec.flow is None else (spec.flow.frame_height, spec.flow.frame_width)
    paths = [Path(dataset.root) / sample.file for sample in samples]
    for number, sample in enumerate(samples):
        if not paths[number].is_file():
            paths[number] = scratch / f"{number}.png"
            Image.fromarray(dataset.read(sample, size).transpose(1, 2, 0)).save(paths[number])
    return paths


def _batches(clips: Sequence[Sequence[Path]]) -> list[list[Sequence[Path]]]:
    """The clips of each process: QEMU starts Python slowly, so as many as a command line holds."""
    batches, room = list[list[Sequence[Path]]](), 0
    for clip in clips:
        if not batches or room < len(clip):
            batches.append([])
            room = _AT_ONCE
        batches[-1].append(clip)
        room -= len(clip)
    return batches


def _score(
    directory: Path, batches: Sequence[Sequence[Sequence[Path]]], emulator: Emulator, progress: Callable[[int], None]
) -> Scores:
    """(n,) scores of all images of all clips of all processes; `progress` counts those that have one."""
    scores, done = list[float](), 0
    with tempfile.TemporaryDirectory() as scratch:
        script = _script(directory, Path(scratch))
        for clips in batches:
            for line in _lines(script, clips, emulator):
                if "error" in line:
                    raise InputRejected(f"{line['file']}: {line['error']}")
                scores.append(float("nan") if line["score"] is None else float(line["score"]))
                done += line["score"] is not None
                progress(done)
    return np.array(scores, dtype=np.float64)


def _script(directory: Path, scratch: Path) -> Path:
    """The device script and what lies beside it: the artifact's own files, where it has them, else this version's."""
    own = {DEVICE_SCRIPT: device_score.__file__, DEVICE_FLOW: device_flow.__file__}
    for name in (MODEL, ARTIFACT, DEVICE_CONFIG, *own):
        source = directory / name
        if not source.is_file() and name in own:
            source = Path(own[name])
        if source.is_file():
            (scratch / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, scratch / name)
    return scratch / DEVICE_SCRIPT


def _lines(script: Path, clips: Sequence[Sequence[Path]], emulator: Emulator) -> Iterator[dict[str, Any]]:
    """What the script says of each image, as it says it."""
    own = {"XDG_CACHE_HOME": str(script.parent), "PYTHONSAFEPATH": ""}  # flow.py is found beside the script
    environment = {**os.environ, **emulator.environment, **own}
    arguments = [part for clip in clips for part in (_CLIP, *(str(path.resolve()) for path in clip))][1:]
    command = [*emulator.command, str(script), *arguments]
    with tempfile.TemporaryFile("w+") as stderr, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            given = 0
            for line in map(json.loads, process.stdout):
                if line["file"] == _CLIP:  # scripts that came before it take it for a frame that ends a clip, too
                    continue
                given += 1
                yield line
            if process.wait() < 0 or given < sum(map(len, clips)):
                stderr.seek(0)
                raise _died(process.returncode, stderr.read(), emulator)
        finally:
            process.kill()


def _died(code: int, said: str, emulator: Emulator) -> TargetUnreachable:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    hint = " (4: an instruction that the emulated processor does not have)" if code == -4 else ""
    return TargetUnreachable(
        f"{emulator.device}: the device script {how}{hint}; it said: {said.strip()[-500:] or 'nothing'}"
    )

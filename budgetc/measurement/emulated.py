"""Scores on an emulated processor: what an artifact says on an instruction set that is not here. Nothing about time."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from budgetc.core.dataset import Dataset, SplitName
from budgetc.core.layout import ARTIFACT, DEVICE_CONFIG, DEVICE_SCRIPT, MODEL
from budgetc.errors import InputRejected, TargetUnreachable
from budgetc.measurement.emulator import Emulator
from budgetc.measurement.quality import Scores
from budgetc.runtime import device_score
from budgetc.runtime.spec import read_spec

_AT_ONCE = 500
"""Images of one process: a command line is no longer than two megabytes."""


def score_emulated(
    directory: Path, images: Sequence[Path], emulator: Emulator, progress: Callable[[int], None] = lambda done: None
) -> Scores:
    """(n,) scores of image files by the artifact's own device script under QEMU.

    Raises:
        TargetUnreachable: the process cannot be started or dies, as where the runtime executes what the processor
            cannot. InputRejected: the script refuses an image or the artifact.
    """
    scores = list[float]()
    with tempfile.TemporaryDirectory() as scratch:
        script = _script(directory, Path(scratch))
        for first in range(0, len(images), _AT_ONCE):
            for line in _lines(script, images[first : first + _AT_ONCE], emulator):
                if "error" in line:
                    raise InputRejected(f"{line['file']}: {line['error']}")
                scores.append(float(line["score"]))
                progress(len(scores))
    return np.array(scores, dtype=np.float64)


def score_split_emulated(
    directory: Path, dataset: Dataset, split: SplitName, *, emulator: Emulator,
    progress: Callable[[int], None] = lambda done: None,
) -> Scores:  # fmt: skip
    """(n,) scores of a split, decoded and resized there, too, wherever its images are files."""
    with tempfile.TemporaryDirectory() as scratch:
        images = split_images(dataset, split, directory, Path(scratch))
        return score_emulated(directory, images, emulator, progress)


def split_images(dataset: Dataset, split: SplitName, directory: Path, scratch: Path) -> list[Path]:
    """The files of a split's images; PNGs at the detector's input size where the data set holds arrays or frames."""
    spec = read_spec(directory / ARTIFACT)
    paths = [Path(dataset.root) / sample.file for sample in dataset.samples[split]]
    for number, sample in enumerate(dataset.samples[split]):
        if not paths[number].is_file():
            paths[number] = scratch / f"{number}.png"
            Image.fromarray(dataset.read(sample, (spec.height, spec.width)).transpose(1, 2, 0)).save(paths[number])
    return paths


def _script(directory: Path, scratch: Path) -> Path:
    """The device script beside the artifact's files, the artifact's own where it has one."""
    for name in (MODEL, ARTIFACT, DEVICE_CONFIG, DEVICE_SCRIPT):
        source = directory / name
        if name == DEVICE_SCRIPT and not source.is_file():
            source = Path(device_score.__file__)
        if source.is_file():
            (scratch / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source, scratch / name)
    return scratch / DEVICE_SCRIPT


def _lines(script: Path, images: Sequence[Path], emulator: Emulator) -> Iterator[dict[str, Any]]:
    """What the script says of each image, as it says it."""
    environment = {**os.environ, **emulator.environment, "XDG_CACHE_HOME": str(script.parent), "PYTHONSAFEPATH": "1"}
    command = [*emulator.command, str(script), *(str(path.resolve()) for path in images)]
    with tempfile.TemporaryFile("w+") as stderr, subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            given = 0
            for line in process.stdout:
                given += 1
                yield json.loads(line)
            if process.wait() < 0 or given < len(images):
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

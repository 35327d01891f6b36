"""Cost of one file on a target: what `budgetc measure` does."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.candidate import write
from budgetc.compiler.confirming import sample_images
from budgetc.core.frozen import Frozen
from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.target import Target
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.load.motion import as_read_by
from budgetc.measurement.board.record import BoardRecord
from budgetc.measurement.latency import screen_latency
from budgetc.measurement.memory import measure_memory
from budgetc.measurement.motion import motion_of
from budgetc.measurement.predicted import predict_files, predicted_measurements
from budgetc.measurement.size import measure_size
from budgetc.runtime.spec import Flow, read_spec

_NOISE = 8
"""Pictures of noise that are scored."""
CALLS = 300
"""Timed calls of the one process: a p99 needs 299."""


class Cost(Frozen):
    """Size, latency and memory of a detector on a target."""

    schema_version: int = 1
    file: str
    target: str
    measurements: tuple[Measurement, ...]
    board: BoardRecord | None = None
    """Where a board was measured."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A file as it runs on a target, and images to measure it with."""

    directory: Path
    target: Target
    pictures: list[Path]


def measure_file(
    file: str | Path,
    *,
    target: str | Path = "host-cpu",
    calls: int = CALLS,
    data: str | Path | None = None,
    group: str | None = None,
) -> Cost:
    """Cost of an artifact, or of a bundle exported for the target: measured, or predicted.

    Args:
        file: artifact directory or `model.pt`.
        target: name or path of a target.
        calls: timed calls of the one process.
        data: a data set whose calibration normals are scored, as `compile` does; without it noise of the
            input's size (of a detector of motion, that moves), which needs no resize and little decoding. A prediction
            needs neither.
        group: regular expression that names the part or clip of a file, where no groups.csv does.

    Raises:
        ConfigError: unknown target. InputRejected: the file is no detector.
    """
    with subject(file, target=target, data=data, group=group) as one:
        found = [measure_size(one.directory)]
        if one.target.measured_on is None:
            found += predicted_measurements(predict_files(one.directory, one.target), one.target).values()
        else:
            found += screen_latency(one.directory, one.pictures, calls=calls).values()
            found += measure_memory(one.directory, one.pictures).values()
        return Cost(file=str(file), target=one.target.name, measurements=tuple(found))


@contextmanager
def subject(file: str | Path, *, target: str | Path, data: str | Path | None, group: str | None) -> Iterator[Subject]:
    """The file as a directory with a graph, and encoded images."""
    settled = load_target(target).target
    with tempfile.TemporaryDirectory() as scratch:
        directory = as_artifact(Path(file), settled, Path(scratch) / "file")
        if data is None:
            pictures = noise_images(directory, Path(scratch))
        else:
            dataset = as_read_by(load_dataset(data, group=group), motion_of(read_spec(directory / ARTIFACT)))
            pictures = sample_images(dataset, Path(scratch) / "pictures")
        yield Subject(directory, settled, pictures)


def as_artifact(path: Path, target: Target, scratch: Path) -> Path:
    """The directory of an artifact; of a bundle, what `scratch` becomes by its export for the target."""
    if path.is_dir():
        return path
    detector = load_model(path).detector
    return write(
        export_detector(detector, target), detector, scratch,
        threshold=detector.threshold or 0.0, threads=target.threads, session=target.session,
    ).directory  # fmt: skip


def noise_images(directory: Path, scratch: Path) -> list[Path]:
    """Eight PNGs of noise at an artifact's input size; of one that reads motion, the frames of eight scores."""
    spec, rng = read_spec(directory / ARTIFACT), np.random.default_rng(0)
    if spec.flow is None:
        made = [rng.integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8) for _ in range(_NOISE)]
    else:
        made = _moving_noise(spec.flow, _NOISE + spec.flow.fields, rng)
    paths = []
    for number, pixels in enumerate(made):
        paths.append(scratch / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def _moving_noise(flow: Flow, count: int, rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Successive frames of coarse noise that moves by a pixel a frame: of anything wilder, flow is chance."""
    coarse = rng.integers(0, 256, (flow.frame_height // 8 + 1, flow.frame_width // 8 + 1, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((flow.frame_width, flow.frame_height), Image.Resampling.BICUBIC))
    return [np.roll(smooth, step, axis=1) for step in range(count)]

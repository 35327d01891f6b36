"""Load an artifact and score images with it, through the file that is deployed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Mapping, NoReturn, Sequence, Union

import numpy as np
import onnxruntime
from PIL import Image

from budgetc import errors
from budgetc.runtime.cache import cache_graph, cached_graph, file_sha256, warn_unused
from budgetc.runtime.flow import frame_pixels, open_stream
from budgetc.runtime.monitor import Monitor
from budgetc.runtime.preprocess import decode, resize_rgb, to_input, to_rgb
from budgetc.runtime.session import open_session, session_options
from budgetc.runtime.spec import Spec, parse_spec, read_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

Picture = Union[str, "os.PathLike[str]", bytes, Image.Image, "NDArray[np.uint8]"]
Cache = Union[str, "os.PathLike[str]", Literal[False], None]
"""A directory of optimized graphs; None is the user's, False none at all."""
RUNTIME = f"onnxruntime {onnxruntime.__version__}"
ARTIFACT_FILE = "artifact.json"


@dataclass(frozen=True)
class ScoredImage:
    """What the detector says about one image."""

    score: float
    """Higher is more anomalous."""
    anomalous: bool
    """score > threshold."""
    map: NDArray[np.float32] | None
    """(height, width) of the graph's input, where the detector has a map."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the score is made of, by the names of outputs."""
    missing: int = 0
    """Frames that are still to come before an artifact that reads motion has a score; it is NaN until then."""


class Artifact:
    """A loaded detector. `score` is `prepare`, `run`, `judge` one after the other.

    One that reads motion remembers the frames of one stream: give it each, in order, and `reset` it before another.
    """

    def __init__(self, spec: Spec, session: onnxruntime.InferenceSession, *, installed: bool = False) -> None:
        self.spec = spec
        self.installed = installed
        """Whether the optimized graph was loaded that `install_artifact` had cached."""
        self._session = session
        self._outputs = [spec.score, *([] if spec.map is None else [spec.map]), *spec.parts]
        self._stream = None if spec.flow is None else open_stream(spec)

    def score(self, image: Picture, category: str | None = None) -> ScoredImage:
        """Score a path, encoded bytes, a PIL image, or uint8 pixels (height, width, 3).

        Args:
            image: of any category that the detector was made for.
            category: judges by the threshold of this one; None by the threshold of all together.

        Raises:
            InputRejected: the image cannot be read, or the graph returns a score that is no number.
            UsageError: the artifact has no threshold of this category.
        """
        self.spec.threshold_of(category)  # before any work
        found = self.judge(self.run(self.prepare(image)), category)
        missing = 0 if self._stream is None else self._stream.missing
        return ScoredImage(float("nan"), False, None, missing=missing) if missing else found

    def reset(self) -> None:
        """The next frame is the first of another clip."""
        if self._stream is not None:
            self._stream.reset()

    def score_pixels(self, pixels: NDArray[np.uint8]) -> ScoredImage:
        """Score uint8 (3, height, width) that `decode` and `resize_rgb` already made, or flow fields as bytes.

        Raises:
            InputRejected: another shape or type, or the graph returns a score that is no number.
        """
        expected = self.spec.input_shape[1:]
        if pixels.dtype != np.uint8 or pixels.shape != expected:
            raise errors.InputRejected(f"expected resized uint8 pixels {expected}, found {pixels.dtype} {pixels.shape}")
        return self.judge(self.run(to_input(pixels)))

    def prepare(self, image: Picture) -> NDArray[np.float32]:
        """Decode and resize to the graph's input, (1, channels, height, width) in [0, 1].

        Where that is motion, the image is the next frame: one field is computed, and the latest ones are read. A frame
        that cannot be read ends the clip, for the next one would seem to move twice as far.
        """
        if self._stream is None:
            return to_input(resize_rgb(_as_rgb(image), self.spec.height, self.spec.width))
        try:
            pixels = frame_pixels(_as_rgb(image), self.spec)
        except errors.InputRejected:
            self.reset()
            raise
        return to_input(self._stream.take(pixels))

    def run(self, inputs: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """The graph alone: score (1,) and, where there is one, map (1, 1, height, width)."""
        outputs: Sequence[NDArray[np.float32]] = self._session.run(self._outputs, {self.spec.input: inputs})
        return outputs

    def judge(self, outputs: Sequence[NDArray[np.float32]], category: str | None = None) -> ScoredImage:
        """Compare the score with the threshold, as `score`."""
        score = float(outputs[0].reshape(-1)[0])
        if not np.isfinite(score):
            # Every comparison with NaN is false: it would pass as a normal image.
            raise errors.InputRejected(
                f"{self.spec.model} returned the score {score}: the weights it was made of are broken, or too large "
                "for its number format; train the detector again, or compile it again"
            )
        anomaly_map = None if self.spec.map is None else outputs[1][0, 0]
        known = outputs[len(outputs) - len(self.spec.parts) :]
        parts = {name: float(value.reshape(-1)[0]) for name, value in zip(self.spec.parts, known)}
        return ScoredImage(score, score > self.spec.threshold_of(category), anomaly_map, parts)

    def monitor(self, state: str | None = None, *, smoothing: int | None = None) -> Monitor:
        """A monitor of one stream of frames: give it the score of each, in order.

        Args:
            state: what `Monitor.to_json` returned, to continue where that monitor stood; it has its own smoothing.
            smoothing: as of `Monitor`.

        Raises:
            InputRejected: the artifact has no monitor, because its data were no frames, or the state is of another.
        """
        if self.spec.monitor is None:
            raise errors.InputRejected(
                f"{ARTIFACT_FILE} has no monitor: compile with frames of a video (a folder a scene), at least 10 of "
                "them for calibration"
            )
        if state is not None:
            return Monitor.from_json(state, self.spec.monitor)
        return Monitor(self.spec.monitor, smoothing=smoothing)


def load_artifact(path: str | os.PathLike[str], *, cache: Cache = None) -> Artifact:
    """Load the artifact in the directory `path`; the digest of the graph that is loaded is checked.

    Args:
        cache: where `install_artifact` cached the optimized graph, if not in `cache_directory()`; False loads
            `model.onnx` itself. What was made by another runtime or on another processor is not found. What is
            damaged, refused by onnxruntime, or could have been written by another user than this one and root is
            warned of, and `model.onnx` is loaded.

    Raises:
        InputRejected: a file is missing, damaged, changed since it was compiled, or of another version.
    """
    model, spec = _read(Path(path))
    return load_model(model, spec, cache=cache)


def install_artifact(path: str | os.PathLike[str], *, cache: str | os.PathLike[str] | None = None) -> Path:
    """Optimize the graph for this machine once, so that every load takes less time and memory; returns where it lies.

    The artifact itself is only read. An optimized graph that is there is made again.

    Args:
        cache: a directory; None takes `cache_directory()`.

    Raises:
        InputRejected: as `load_artifact`, or the optimized graph scores differently.
        UsageError: the cache cannot be written, or others could write into it.
    """
    model, spec = _read(Path(path))
    _check_digest(model, spec)
    _open(model, spec)
    return cache_graph(model, spec, None if cache is None else Path(cache))


def load_model(model: str | os.PathLike[str], spec: Spec | Mapping[str, object], *, cache: Cache = None) -> Artifact:
    """Load a graph that is not emitted yet; `spec` holds the fields of `artifact.json`.

    Raises:
        InputRejected: as `load_artifact`.
    """
    checked = spec if isinstance(spec, Spec) else parse_spec(spec)
    graph = None if cache is False else cached_graph(checked, None if cache is None else Path(cache))
    if graph is not None:  # it has digests of its own, and the model's in its name
        try:
            return _open(Path(model), checked, graph)
        except errors.InputRejected as error:
            warn_unused(
                f"{graph.parent}: {RUNTIME} refuses the optimized graph ({str(error.__cause__ or error).strip()})"
            )
    _check_digest(Path(model), checked)
    return _open(Path(model), checked)


def _read(directory: Path) -> tuple[Path, Spec]:
    if not directory.is_dir():
        raise errors.InputRejected(f"{directory}: not a directory; an artifact is a directory with {ARTIFACT_FILE}")
    spec = read_spec(directory / ARTIFACT_FILE)
    return directory / spec.model, spec


def _check_digest(model: Path, spec: Spec) -> None:
    try:
        found = file_sha256(model)
    except OSError as error:
        raise errors.InputRejected(
            f"{model}: cannot be read ({error.strerror}); copy the whole artifact again"
        ) from error
    if found != spec.model_sha256:
        raise errors.InputRejected(
            f"{model}: sha256 is {found}, but {ARTIFACT_FILE} says {spec.model_sha256}; "
            "the file was changed or damaged after it was compiled: copy the whole artifact again"
        )


def _open(model: Path, spec: Spec, optimized: Path | None = None) -> Artifact:
    try:
        session = open_session(optimized or model, spec, session_options(spec), optimized=optimized is not None)
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise errors.InputRejected(
            f"{model}: {RUNTIME} refuses it: {error}; compile for a target with this runtime"
        ) from error
    _check_signature(session, spec, str(model))
    return Artifact(spec, session, installed=optimized is not None)


def read_encoded(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image file.

    Raises:
        InputRejected: it cannot be read.
    """
    file = Path(path)
    try:
        if not (file.is_file() or file.is_dir()) and file.exists():
            # Reading a FIFO waits for a writer, maybe forever.
            raise errors.InputRejected(
                f"{path}: is not a regular file (FIFO, socket or device); expected an image file"
            )
        return file.read_bytes()
    except OSError as error:
        raise errors.InputRejected(f"{path}: cannot be read ({error.strerror}); expected an image file") from error


def _check_signature(session: onnxruntime.InferenceSession, spec: Spec, where: str) -> None:
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    if inputs != {spec.input: ("tensor(float)", list(spec.input_shape))}:
        _mismatch(where, "inputs", inputs, f"only {spec.input}: float {spec.input_shape}")
    outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    expected = {name: ("tensor(float)", [1]) for name in (spec.score, *spec.parts)}
    if spec.map is not None:
        expected[spec.map] = ("tensor(float)", [1, 1, spec.height, spec.width])
    if any(outputs.get(name) != value for name, value in expected.items()):
        _mismatch(where, "outputs", outputs, str(expected))


def _mismatch(where: str, what: str, found: object, expected: str) -> NoReturn:
    raise errors.InputRejected(f"{where}: {what} are {found}, but {ARTIFACT_FILE} declares {expected}; compile again")


def _as_rgb(image: Picture) -> Image.Image:
    if isinstance(image, bytes):
        return decode(image)
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            found = f"{image.dtype} {image.shape}"
            raise errors.InputRejected(f"expected pixels of uint8 (height, width, 3), found {found}")
        return Image.fromarray(image)
    data = read_encoded(image)
    try:
        return decode(data)
    except errors.InputRejected as error:
        raise errors.InputRejected(f"{os.fspath(image)}: {error}") from error

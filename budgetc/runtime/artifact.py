"""Load an artifact and score images with it, through the file that is deployed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Mapping, NoReturn, Sequence, Union

import numpy as np
import onnxruntime
from PIL import Image

from budgetc import errors
from budgetc.runtime.preprocess import decode, resize_rgb, to_input, to_rgb
from budgetc.runtime.spec import Spec, parse_spec, read_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

Picture = Union[str, "os.PathLike[str]", bytes, Image.Image, "NDArray[np.uint8]"]
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


class Artifact:
    """A loaded detector. `score` is `prepare`, `run`, `judge` one after the other."""

    def __init__(self, spec: Spec, session: onnxruntime.InferenceSession) -> None:
        self.spec = spec
        self._session = session
        self._outputs = [spec.score] if spec.map is None else [spec.score, spec.map]

    def score(self, image: Picture) -> ScoredImage:
        """Score a path, encoded bytes, a PIL image, or uint8 pixels (height, width, 3).

        Raises:
            InputRejected: the image cannot be read, or the graph returns a score that is no number.
        """
        return self.judge(self.run(self.prepare(image)))

    def score_pixels(self, pixels: NDArray[np.uint8]) -> ScoredImage:
        """Score uint8 (3, height, width) that `decode` and `resize_rgb` already made.

        Raises:
            InputRejected: another shape or type, or the graph returns a score that is no number.
        """
        expected = (3, self.spec.height, self.spec.width)
        if pixels.dtype != np.uint8 or pixels.shape != expected:
            raise errors.InputRejected(f"expected resized uint8 pixels {expected}, found {pixels.dtype} {pixels.shape}")
        return self.judge(self.run(to_input(pixels)))

    def prepare(self, image: Picture) -> NDArray[np.float32]:
        """Decode and resize to the graph's input, (1, 3, height, width) in [0, 1]."""
        return to_input(resize_rgb(_as_rgb(image), self.spec.height, self.spec.width))

    def run(self, inputs: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """The graph alone: score (1,) and, where there is one, map (1, 1, height, width)."""
        outputs: Sequence[NDArray[np.float32]] = self._session.run(self._outputs, {self.spec.input: inputs})
        return outputs

    def judge(self, outputs: Sequence[NDArray[np.float32]]) -> ScoredImage:
        """Compare the score with the threshold."""
        score = float(outputs[0].reshape(-1)[0])
        if not np.isfinite(score):
            # Every comparison with NaN is false: it would pass as a normal image.
            raise errors.InputRejected(f"{self.spec.model} returned the score {score}; compile the detector again")
        anomaly_map = outputs[1][0, 0] if len(outputs) > 1 else None
        return ScoredImage(score, score > self.spec.threshold, anomaly_map)


def load_artifact(path: str | os.PathLike[str]) -> Artifact:
    """Load the artifact in the directory `path`; the digest of its graph is checked.

    Raises:
        InputRejected: a file is missing, damaged, changed since it was compiled, or of another version.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise errors.InputRejected(f"{directory}: not a directory; an artifact is a directory with {ARTIFACT_FILE}")
    spec = read_spec(directory / ARTIFACT_FILE)
    return load_model(directory / spec.model, spec)


def load_model(model: str | os.PathLike[str], spec: Spec | Mapping[str, object]) -> Artifact:
    """Load a graph that is not emitted yet; `spec` holds the fields of `artifact.json`.

    Raises:
        InputRejected: as `load_artifact`.
    """
    checked = spec if isinstance(spec, Spec) else parse_spec(spec)
    found = _sha256(Path(model))
    if found != checked.model_sha256:
        raise errors.InputRejected(
            f"{model}: sha256 is {found}, but {ARTIFACT_FILE} says {checked.model_sha256}; "
            "the file was changed or damaged after it was compiled: copy the whole artifact again"
        )
    try:
        session = onnxruntime.InferenceSession(
            str(model), session_options(checked.threads), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise errors.InputRejected(
            f"{model}: {RUNTIME} refuses it: {error}; compile for a target with this runtime"
        ) from error
    _check_signature(session, checked, str(model))
    return Artifact(checked, session)


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


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """How every session of an artifact runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if threads > 1:
        # Spinning workers burn the cores of other processes between two images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _check_signature(session: onnxruntime.InferenceSession, spec: Spec, where: str) -> None:
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    if inputs != {spec.input: ("tensor(float)", [1, 3, spec.height, spec.width])}:
        _mismatch(where, "inputs", inputs, f"only {spec.input}: float (1, 3, {spec.height}, {spec.width})")
    outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    expected = {spec.score: ("tensor(float)", [1])}
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


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except OSError as error:
        raise errors.InputRejected(
            f"{path}: cannot be read ({error.strerror}); copy the whole artifact again"
        ) from error
    return digest.hexdigest()

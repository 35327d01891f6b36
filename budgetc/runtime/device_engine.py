"""TensorRT on a board: the engine is built there by `trtexec` and runs through TensorRT's Python and CUDA's runtime.

Lies beside `score.py` as `engine.py`; needs Python 3.6 and numpy, and for the calls themselves JetPack's trtexec,
tensorrt and libcudart. An engine is of one board and one TensorRT: it is never copied.
"""

import ctypes
import importlib
import json
import os
import shutil
import subprocess
from typing import Any, Callable

import numpy as np

TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
"""Where JetPack puts it, outside of PATH."""
WORKSPACE_MIB = 256
"""Scratch memory that layers may take, where the config names none; the Nano's is shared with everything else."""
FALSE_POSITIVE_RATE, FEWEST_NORMALS = 0.05, 20
TO_DEVICE, TO_HOST = 1, 2
TAIL = 600


class NoTensorRT(Exception):
    """TensorRT, or a part of it, is not on this board, or cannot use the graph; the text says what to do."""


def tensorrt() -> Any:
    """TensorRT's Python module."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise NoTensorRT(
            f"Python has no module tensorrt ({error}); JetPack installs it for the system's python3: use that one"
        ) from error


def trtexec() -> str:
    """The program that builds engines."""
    found = shutil.which("trtexec") or (TRTEXEC if os.access(TRTEXEC, os.X_OK) else "")
    if not found:
        raise NoTensorRT(f"there is no trtexec, neither in PATH nor {TRTEXEC}; apt-get install libnvinfer-bin")
    return found


def made_by(spec: "dict[str, Any]") -> "list[Any]":
    """What an engine depends on beside the graph and the board."""
    try:
        version = str(tensorrt().__version__)
    except NoTensorRT:
        version = ""
    return ["tensorrt", version, spec.get("workspace_mib"), spec.get("fp16")]


def threshold(place: str, otherwise: float, say: "Callable[[str], None]") -> float:
    """What was fitted to the engine at a place; the compiler's, and a sentence, where nothing was."""
    try:
        with open(os.path.join(place, "threshold.json"), encoding="utf-8") as file:
            return float(json.load(file)["threshold"])
    except (OSError, ValueError, KeyError, TypeError):
        say("note: the threshold is that of another runtime; fit it to this engine: score.py --install --normals "
            "IMAGE... with 20 good images or more")  # fmt: skip
        return otherwise


def fit_threshold(place: str, scores: "list[Any]") -> float:
    """Fit the threshold to scores of good images, as the compiler does, and write it beside the engine.

    Args:
        place: directory of the engine.
        scores: None of frames that have none.

    Raises:
        ValueError: too few.
    """
    known = [score for score in scores if score is not None]
    if len(known) < FEWEST_NORMALS:
        raise ValueError(f"{len(known)} good images with a score, and the threshold needs {FEWEST_NORMALS} or more")
    found = float(np.percentile(known, 100 * (1 - FALSE_POSITIVE_RATE)))
    with open(os.path.join(place, "threshold.json"), "w", encoding="utf-8") as file:
        json.dump({"threshold": found, "n": len(known)}, file)
    return found


def build(model: str, engine: str, spec: "dict[str, Any]") -> None:
    """Build the engine of a graph: minutes on a Nano.

    Raises:
        NoTensorRT: trtexec is missing or refuses the graph.
    """
    tensorrt()  # without it the minutes of a build are lost
    program, workspace = trtexec(), int(spec.get("workspace_mib", WORKSPACE_MIB))
    # 8.4 renamed the option; a Nano's 8.0 and 8.2 know the old one only.
    usage = run([program, "--help"])[1]
    limit = f"--memPoolSize=workspace:{workspace}" if "--memPoolSize" in usage else f"--workspace={workspace}"
    command = [program, f"--onnx={model}", f"--saveEngine={engine}", limit] + ["--fp16"] * bool(spec.get("fp16"))
    code, said = run(command)
    if code or not os.path.isfile(engine):
        raise NoTensorRT(f"{' '.join(command)} ended with {code}: {' '.join(said[-TAIL:].split())}")


def run(command: "list[str]") -> "tuple[int, str]":
    """Exit code and everything that was said."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode("utf-8", "replace")


class Memory:
    """Memory of the GPU, through CUDA's runtime."""

    def __init__(self) -> None:
        try:
            self.cuda = ctypes.CDLL("libcudart.so")
        except OSError as error:
            raise NoTensorRT(f"libcudart.so cannot be loaded ({error}); add CUDA's lib64 to LD_LIBRARY_PATH") from error

    def take(self, size: int) -> int:
        """Address of a new block."""
        place = ctypes.c_void_p()
        self.called("cudaMalloc", ctypes.byref(place), ctypes.c_size_t(size))
        return int(place.value or 0)

    def copy(self, to: int, source: int, size: int, kind: int) -> None:
        """Copy and wait for the end."""
        self.called("cudaMemcpy", ctypes.c_void_p(to), ctypes.c_void_p(source), ctypes.c_size_t(size), kind)

    def called(self, name: str, *arguments: Any) -> None:
        """Call a function of CUDA."""
        code = getattr(self.cuda, name)(*arguments)
        if code:
            raise NoTensorRT(f"{name} failed with CUDA error {code}; is the GPU's memory full?")


class Session:
    """An engine, asked as onnxruntime's session is."""

    def __init__(self, engine: str) -> None:
        trt, self.memory = tensorrt(), Memory()
        self.runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        with open(engine, "rb") as file:
            self.engine = self.runtime.deserialize_cuda_engine(file.read())
        if self.engine is None:
            raise NoTensorRT(f"{engine}: TensorRT {trt.__version__} refuses the engine; build it again on this board")
        self.context = self.engine.create_execution_context()
        self.hosts, self.places = {}, {}  # type: dict[str, Any], dict[str, int]
        self.names = [self.engine.get_binding_name(index) for index in range(self.engine.num_bindings)]
        for index, name in enumerate(self.names):
            shape, kind = tuple(self.engine.get_binding_shape(index)), trt.nptype(self.engine.get_binding_dtype(index))
            self.hosts[name] = np.zeros(shape, dtype=kind)
            self.places[name] = self.memory.take(self.hosts[name].nbytes)

    def run(self, outputs: "list[str]", feeds: "dict[str, Any]") -> "list[Any]":
        """The named outputs for an input of each name."""
        for name, values in feeds.items():
            host = self.hosts[name]
            host[...] = values
            self.memory.copy(self.places[name], host.ctypes.data, host.nbytes, TO_DEVICE)
        if not self.context.execute_v2([self.places[name] for name in self.names]):
            raise NoTensorRT("the engine failed; build it again on this board: score.py --install")
        for name in outputs:
            host = self.hosts[name]
            self.memory.copy(host.ctypes.data, self.places[name], host.nbytes, TO_HOST)
        return [self.hosts[name].astype(np.float32) for name in outputs]

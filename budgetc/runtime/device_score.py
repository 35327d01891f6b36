"""Score images on a board: `python score.py IMAGE...` prints one JSON line an image.

`python score.py --install` optimizes the graph for this board once, so that every later start takes less time and
memory; it lies in $XDG_CACHE_HOME or ~/.cache, where `budgetc install` puts it, too. What is not there is not used.

Needs Python 3.6, numpy, onnxruntime and Pillow, nothing of budgetc. Reads config.json beside this file, else
artifact.json one directory up, and the graph that it names, from the same two places.
Exit codes: 0 all images scored, 2 no image given, 4 an image or the artifact cannot be used.
"""

import ctypes
import hashlib
import io
import json
import math
import os
import platform
import shutil
import sys
import tempfile
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_PIXELS = 64000000
BILINEAR = 2  # Image.BILINEAR in old Pillows, Image.Resampling.BILINEAR in new ones
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
SCHEMA_VERSION = 1


class Rejected(Exception):
    """An image or an artifact that cannot be used; the text says why."""


def find(*names: str) -> str:
    """The first of the names that exists beside this script or one directory up."""
    places = [os.path.join(HERE, names[0])] + [os.path.join(os.path.dirname(HERE), name) for name in names]
    for place in places:
        if os.path.isfile(place):
            return place
    raise Rejected("found none of " + ", ".join(places) + "; copy the whole artifact again")


class Detector:
    """The graph, its input size and its threshold."""

    def __init__(self, install: bool = False) -> None:
        path = find("config.json", "artifact.json")
        with open(path, encoding="utf-8") as file:
            spec = json.load(file)
        if spec.get("schema_version", 1) != SCHEMA_VERSION:
            raise Rejected(f"{path}: schema_version is not {SCHEMA_VERSION}")
        self.spec, self.model = spec, find(spec.get("model", "model.onnx"))
        self.place = cache_place(spec)
        if install:
            self.install()
        cached = os.path.join(self.place, "graph.onnx") if whole(self.place) else ""
        if not cached:
            self.check()
        self.session = open_session(cached or self.model, spec, ready=bool(cached))
        self.input = spec.get("input", "image")
        self.output = spec.get("score", "score")
        self.size = (spec["preprocessing"]["width"], spec["preprocessing"]["height"])
        self.threshold = float(spec["threshold"])

    def check(self) -> None:
        """The graph is the one that was compiled."""
        if digest(self.model) != self.spec["model_sha256"]:
            raise Rejected(f"{self.model}: changed or damaged after it was compiled; copy it again")

    def install(self) -> None:
        """Write the optimized graph, whole and by rename."""
        self.check()
        os.makedirs(os.path.dirname(self.place), exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(self.place))
        try:
            open_session(self.model, self.spec, save=os.path.join(scratch, "graph.onnx"))
            digests = {name: digest(os.path.join(scratch, name)) for name in sorted(os.listdir(scratch))}
            with open(os.path.join(scratch, "digests.json"), "w", encoding="utf-8") as file:
                json.dump(digests, file)
            shutil.rmtree(self.place, ignore_errors=True)
            os.rename(scratch, self.place)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def score(self, path: str) -> float:
        """Higher is more anomalous."""
        pixels = np.asarray(fit(read_rgb(path), self.size), dtype=np.uint8).transpose(2, 0, 1)
        inputs = np.ascontiguousarray(pixels[np.newaxis]).astype(np.float32) / np.float32(255)
        score = float(self.session.run([self.output], {self.input: inputs})[0].reshape(-1)[0])
        if not math.isfinite(score):
            raise Rejected(f"the graph returned the score {score}")
        return score


def open_session(graph: str, spec: "dict[str, Any]", ready: bool = False, save: str = "") -> Any:
    """A session as the artifact asks for it; of a graph that is optimized and ready, or to save what it becomes."""
    wanted, options = spec.get("session", {}), onnxruntime.SessionOptions()
    options.intra_op_num_threads = spec["threads"]
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.enable_mem_pattern = wanted.get("memory_pattern", True)
    if spec["threads"] > 1:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if wanted.get("arena") == "as-requested" and exact_arena():
        options.add_session_config_entry("session.use_env_allocators", "1")
    if ready:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if save:
        options.optimized_model_filepath = save
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    disabled = [] if wanted.get("blocked", True) else ["NchwcTransformer"]
    session = onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled
    )
    if wanted.get("trim") and sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    return session


REGISTERED: "list[bool]" = []  # the arena belongs to the process, and is registered once


def exact_arena() -> bool:
    """Whether sessions can share an arena that takes no more than it is asked for."""
    if not REGISTERED:
        try:
            kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
            where = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
            onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg(0, 1, -1, -1))
            REGISTERED.append(True)
        except Exception:  # old runtimes cannot
            REGISTERED.append(False)
    return REGISTERED[0]


def cache_place(spec: "dict[str, Any]") -> str:
    """The directory of an optimized graph, named after the model, the runtime and the processor."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.startswith(("flags", "Features"))]
        processor = [platform.machine(), *sorted({flag for line in lines for flag in line.split(":")[1].split()})]
    except OSError:
        processor = [platform.machine(), platform.processor()]
    blocked = spec.get("session", {}).get("blocked", True)
    depends = json.dumps([1, spec["model_sha256"], blocked, onnxruntime.__version__, processor])
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "budgetc", hashlib.sha256(depends.encode()).hexdigest()[:32])


def whole(place: str) -> bool:
    """Whether a cached graph is there, and as it was written."""
    try:
        with open(os.path.join(place, "digests.json"), encoding="utf-8") as file:
            digests = json.load(file)
        return "graph.onnx" in digests and all(digest(os.path.join(place, name)) == digests[name] for name in digests)
    except (OSError, ValueError, TypeError):
        return False


def digest(path: str) -> str:
    """sha256 of a file, in blocks."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def read_rgb(path: str) -> Image.Image:
    """An upright RGB image; same rules as the compiler's own decoder."""
    try:
        with open(path, "rb") as file:
            image: Image.Image = Image.open(io.BytesIO(file.read()), formats=FORMATS)
        if image.size[0] * image.size[1] > MAX_PIXELS:
            raise Rejected("more than 64 megapixels; scale it down")
        image = ImageOps.exif_transpose(image)
        image.load()
    except Rejected:
        raise
    except Exception as error:  # decoders meet damaged bytes with a dozen exception types
        raise Rejected(f"not a readable image: {error}") from error
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Rejected("32-bit pixels; save it with 8 or 16 bits a channel")
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise Rejected("float pixels of unknown range; save it with 8 or 16 bits a channel")
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(image: Image.Image, size: "tuple[int, int]") -> Image.Image:
    """Bilinear resize to (width, height)."""
    return image if image.size == size else image.resize(size, BILINEAR)


def main(files: "list[str]") -> int:
    """Print one line a file; the exit code."""
    if not files:
        sys.stderr.write("usage: score.py [--install] IMAGE...\n")
        return 2
    install = files[0] == "--install"
    try:
        detector = Detector(install)
    except Exception as error:  # whatever is wrong with the artifact, nothing can be scored
        sys.stderr.write(f"the artifact cannot be loaded: {error}\n")
        return 4
    code = 0
    for name in files[1:] if install else files:
        try:
            score = detector.score(name)
            line = {"file": name, "score": score, "anomalous": score > detector.threshold}
        except Rejected as error:
            line, code = {"file": name, "error": str(error)}, 4
        sys.stdout.write(json.dumps(line) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

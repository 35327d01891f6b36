"""Score images on a board: `python score.py IMAGE...` prints one JSON line an image.
`--category NAME` before all else judges by its threshold. Frames of motion stand in order; `--clip` starts a new clip.

`python score.py --install` optimizes the graph for this board once, so that every later start takes less time and
memory; it lies in $XDG_CACHE_HOME or ~/.cache, where `budgetc install` puts it, too. What is not there, is damaged, or
could have been written by another user than this one and root is not used.
Where config.json says `"runtime": "tensorrt"`, --install builds the engine instead (engine.py), which takes minutes and
changes scores a little: `score.py --install --normals IMAGE...` also fits the threshold anew, so that 5 % of these good
images are called anomalous.

Needs numpy, Pillow, and onnxruntime 1.12 (Python 3.7) or TensorRT (Python 3.6); for motion OpenCV. Reads config.json
beside this file, else artifact.json one directory up, and the graph that it names, from the same two places.
Exit codes: 0 all images scored, 2 no image given or no place to install to, 4 an image or the artifact cannot be used.
"""

import ctypes
import hashlib
import importlib
import io
import json
import math
import os
import platform
import shutil
import stat
import sys
from contextlib import suppress
from functools import lru_cache
from itertools import filterfalse
from typing import Any

import numpy as np
from PIL import Image, ImageOps

try:
    import onnxruntime
except ImportError:  # a board with TensorRT needs none; others are told when a graph is loaded
    onnxruntime = None

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_PIXELS = 64000000
BILINEAR = 2  # Image.BILINEAR in old Pillows, Image.Resampling.BILINEAR in new ones
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP", "GIF")
CLIP = "--clip"
SCHEMA_VERSION = 1
ARENAS = ("power-of-two", "as-requested")
GRAPHS = {"onnxruntime": "graph.onnx", "tensorrt": "engine.plan"}  # what is cached, by runtime
UNSAFE = "is a link, belongs to another user or may be written by others"
SWITCHES = ("memory_pattern", "blocked", "trim", "preoptimized")


class Rejected(Exception):
    """An image or an artifact that cannot be used; the text says why."""


class NotInstalled(Exception):
    """The optimized graph cannot be cached; the text says why."""


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
        check_session(path, spec.get("session", {}))
        if spec.get("runtime", "onnxruntime") not in GRAPHS:
            raise Rejected(f"{path}: runtime is {json.dumps(spec['runtime'])}, expected {' or '.join(sorted(GRAPHS))}")
        if spec.get("runtime") != "tensorrt" and onnxruntime is None:
            raise Rejected("Python has no module onnxruntime; install it: python3 -m pip install onnxruntime")
        self.spec, self.model = spec, find(spec.get("model", "model.onnx"))
        self.engine = importlib.import_module("engine") if spec.get("runtime") == "tensorrt" else None  # type: Any
        self.place = cache_place(spec, self.engine.made_by(spec) if self.engine else [onnxruntime.__version__])
        if install:
            self.install()
        self.session = self.cached_session()
        if self.session is None:
            self.check()
            if self.engine:
                raise Rejected("there is no engine for this board yet; build it: score.py --install --normals IMAGE...")
            self.session = open_session(self.model, spec)
        self.input, self.output, picture = spec.get("input", "image"), spec.get("score", "score"), spec["preprocessing"]
        self.flow = importlib.import_module("flow").stream_of(spec) if picture.get("flow") else None  # type: Any
        self.size = self.flow.frame if self.flow else (picture["width"], picture["height"])
        self.threshold = float(spec["threshold"])
        if self.engine:
            self.threshold = self.engine.threshold(self.place, self.threshold, say)

    def check(self) -> None:
        """The graph is the one that was compiled."""
        if digest(self.model) != self.spec["model_sha256"]:
            raise Rejected(f"{self.model}: changed or damaged after it was compiled; copy it again")

    def cached_session(self) -> Any:
        """A session of the optimized graph; None, and a line on stderr, where it is not used."""
        if not (self.place and os.path.lexists(self.place)):
            if self.spec.get("session", {}).get("preoptimized"):
                say("note: measured with an optimized graph; `score.py --install` makes it load faster, and with the "
                    "memory that was promised")  # fmt: skip
            return None
        reason = flaw(self.place)
        if not reason:
            try:
                if self.engine:
                    return self.engine.Session(os.path.join(self.place, "engine.plan"))
                return open_session(os.path.join(self.place, "graph.onnx"), self.spec, ready=True)
            except Exception as error:  # onnxruntime's errors share no base class of their own
                reason = f"{self.place}: onnxruntime refuses the optimized graph ({error})"
        instead = "" if self.engine else "the model is loaded instead; "
        say(f"warning: {reason}; {instead}`score.py --install` makes it again")
        return None

    def install(self) -> None:
        """Write the optimized graph, whole and by rename."""
        self.check()
        if not self.place:
            raise NotInstalled("this user has no home directory; set XDG_CACHE_HOME to an absolute path")
        cache = os.path.dirname(self.place)
        scratch = os.path.join(cache, f".new-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            os.makedirs(cache, 0o755, exist_ok=True)
            if not safe(cache):
                raise NotInstalled(f"{cache}: {UNSAFE}, and no graph in it would be used; set XDG_CACHE_HOME")
            os.mkdir(scratch, 0o755)
            self.write(scratch)
            replace(scratch, self.place)
        except OSError as error:
            raise NotInstalled(
                f"{self.place}: cannot be written ({error.strerror}); set XDG_CACHE_HOME to another directory"
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def write(self, directory: str) -> None:
        """Graph, weights and digests, for whom the umask lets read the directory."""
        try:
            if self.engine:
                self.engine.build(self.model, os.path.join(directory, "engine.plan"), self.spec)
            else:
                open_session(self.model, self.spec, save=os.path.join(directory, "graph.onnx"))
        except Exception as error:
            if self.engine:
                raise NotInstalled(str(error)) from error
            open_session(self.model, self.spec)  # says it where the model is to blame
            raise NotInstalled(
                f"{os.path.dirname(directory)}: onnxruntime cannot write there ({error}); free space, or set "
                "XDG_CACHE_HOME to another directory"
            ) from error
        seal(directory)

    def refit(self, normals: "list[str]") -> None:
        """Fit the threshold to good images, and keep it beside the engine."""
        if self.engine is None:
            raise NotInstalled("--normals is for TensorRT; onnxruntime keeps the scores, and so the threshold")
        try:
            scores = [self.score(path) for path in filterfalse(self.restarts, normals)]
            self.threshold = self.engine.fit_threshold(self.place, scores)
        except (OSError, ValueError) as error:
            raise NotInstalled(str(error)) from error
        seal(self.place)
        self.restarts()

    def choose(self, category: str) -> None:
        """Judge by the threshold of one category; an engine has only the one that was fitted to it."""
        own = {} if self.engine else self.spec.get("thresholds", {})
        if category not in own:
            raise Rejected(f"no category {json.dumps(category)} has its own threshold, but {', '.join(own) or 'none'}")
        self.threshold = float(own[category])

    def score(self, path: str) -> Any:
        """Higher is more anomalous. Of motion the next frame's; None while there are too few."""
        with open(path, "rb") as file:
            score = self.judge(self.run(self.prepare(file.read())))
        return None if self.flow and self.flow.missing else score

    def restarts(self, word: str = CLIP) -> bool:
        """Whether a word of the command line is no image; the next frame is then the first of another clip."""
        if word == CLIP and self.flow:
            self.flow.reset()
        return word == CLIP

    def prepare(self, data: bytes) -> Any:
        """Decode and resize to the graph's input, (1, 3, height, width) in [0, 1]."""
        image = decode(data)
        pixels = np.asarray(image if image.size == self.size else image.resize(self.size, BILINEAR), dtype=np.uint8)
        pixels = self.flow.take(pixels) if self.flow else pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels[np.newaxis]).astype(np.float32) / np.float32(255)

    def run(self, inputs: Any) -> Any:
        """The graph alone."""
        return self.session.run([self.output], {self.input: inputs})

    def judge(self, outputs: Any) -> float:
        """The score, if it is one."""
        score = float(outputs[0].reshape(-1)[0])
        if not math.isfinite(score):
            raise Rejected(f"the graph returned the score {score}")
        return score


def seal(directory: str) -> None:
    """Write the digests of all files, and let read them whom the umask lets read the directory."""
    digests = {name: digest(os.path.join(directory, name)) for name in set(os.listdir(directory)) - {"digests.json"}}
    with open(os.path.join(directory, "digests.json"), "w", encoding="utf-8") as file:
        json.dump(digests, file, sort_keys=True)
    for name in os.listdir(directory):
        os.chmod(os.path.join(directory, name), os.stat(directory).st_mode & 0o644)


def say(sentence: str) -> None:
    """One line on stderr."""
    sys.stderr.write(" ".join(sentence.split()) + "\n")


def check_session(path: str, session: Any) -> None:
    """Refuse what this script would not carry out."""
    if not isinstance(session, dict):
        raise Rejected(f"{path}: session is {json.dumps(session)}, expected an object; copy the whole artifact again")
    for name, value in sorted(session.items()):
        if name == "arena":
            right, expected = value in ARENAS, " or ".join(ARENAS)
        elif name in SWITCHES:
            right, expected = isinstance(value, bool), "true or false"
        else:
            raise Rejected(f"{path}: session: unknown field {name}; use the score.py that came with the artifact")
        if not right:
            raise Rejected(f"{path}: session: {name} is {json.dumps(value)}, expected {expected}; copy it again")


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
    off = [] if wanted.get("blocked", True) else ["NchwcTransformer"]
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=off)
    if wanted.get("trim") and sys.platform == "linux" and hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)
    return session


@lru_cache(maxsize=None)  # the arena belongs to the process, and is registered once
def exact_arena() -> bool:
    """Whether sessions can share an arena that takes no more than it is asked for."""
    try:
        kind, memory = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
        where = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, memory)
        onnxruntime.create_and_register_allocator(where, onnxruntime.OrtArenaCfg(0, 1, -1, -1))
    except Exception:  # old runtimes cannot
        return False
    return True


def cache_place(spec: "dict[str, Any]", made_by: "list[Any]") -> str:
    """Where the optimized graph of this model, runtime and processor is cached; empty where there is no home."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.startswith(("flags", "Features"))]
        processor = [platform.machine(), *sorted({flag for line in lines for flag in line.split(":")[1].split()})]
    except OSError:
        processor = [platform.machine(), platform.processor()]
    depends = json.dumps([1, spec["model_sha256"], spec.get("session", {}).get("blocked", True), *made_by, processor])
    for cache in (os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")):
        if os.path.isabs(cache):  # the XDG Base Directory Specification ignores others
            return os.path.join(cache, "budgetc", hashlib.sha256(depends.encode()).hexdigest()[:32])
    return ""


def flaw(place: str) -> str:
    """What speaks against loading the graph that is there; empty where nothing does."""
    try:
        names = sorted(os.listdir(place))
        for path in [os.path.dirname(place), place] + [os.path.join(place, name) for name in names]:
            if not safe(path):
                return f"{path}: {UNSAFE}, so the optimized graph is not trusted"
        with open(os.path.join(place, "digests.json"), encoding="utf-8") as file:
            digests = json.load(file)
        whole = bool(set(GRAPHS.values()) & set(digests)) and all(
            digest(os.path.join(place, name)) == digests[name] for name in digests
        )
    except PermissionError:
        return f"{place}: the optimized graph may not be read by this user"
    except (OSError, ValueError, TypeError):
        whole = False
    return "" if whole else f"{place}: the optimized graph is damaged"


def safe(path: str) -> bool:
    """Whether it is itself a directory or file, and nobody but this user and root could have written it."""
    found = os.lstat(path)
    # Windows has neither owners nor modes to ask for.
    ours = os.name == "nt" or (found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022)
    return ours and (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode))


def replace(scratch: str, place: str) -> None:
    """Rename into place; another process may do the same at this moment, and whose directory stays does not matter."""
    old = scratch + "-old"
    with suppress(FileNotFoundError):
        os.rename(place, old)
    try:
        os.rename(scratch, place)
    except OSError:
        if flaw(place):
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def digest(path: str) -> str:
    """sha256 of a file, in blocks."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def decode(data: bytes) -> Image.Image:
    """An upright RGB image; same rules as the compiler's own decoder."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)
        large = image.size[0] * image.size[1] > MAX_PIXELS
        if not large:
            image = ImageOps.exif_transpose(image)
            image.load()
    except Exception as error:  # decoders meet damaged bytes with a dozen exception types
        raise Rejected(f"not a readable image: {error}") from error
    if large:
        raise Rejected("more than 64 megapixels; scale it down")
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


def main(files: "list[str]") -> int:
    """Print one line a file; the exit code."""
    category, files = (files[1], files[2:]) if files[:1] == ["--category"] and files[1:] else ("", files)
    if not files:
        sys.stderr.write("usage: score.py [--category NAME] [--install [--normals]] IMAGE... [--clip IMAGE...]\n")
        return 2
    install, normals = files[0] == "--install", files[1:2] == ["--normals"]
    try:
        detector = Detector(install)
        if install and normals:
            detector.refit(files[2:])
        if category:
            detector.choose(category)
    except NotInstalled as error:
        say(f"the optimized graph cannot be installed: {error}")
        return 2
    except Exception as error:  # whatever is wrong with the artifact, nothing can be scored
        sys.stderr.write(f"the artifact cannot be loaded: {error}\n")
        return 4
    code = 0
    for name in filterfalse(detector.restarts, files[1 + normals :] if install else files):
        try:
            score = detector.score(name)
            line = {"file": name, "score": score, "anomalous": score is not None and score > detector.threshold}
        except (Rejected, OSError) as error:
            why = str(error) if isinstance(error, Rejected) else f"not a readable image: {error}"
            line, code, _ = {"file": name, "error": why}, 4, detector.restarts()
        sys.stdout.write(json.dumps(line) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A process that scores and is measured, and the loops that measure it: on a board, and on the compiler's machine.

On a board it lies beside `score.py` as `worker.py`: `python worker.py DIRECTORY IMAGE...` has only the runtime and one
detector and answers commands on stdin, one JSON object a line, as `budgetc.runtime.probe` does, and one more:

    {"do": "score", "calls": n}           {"scores": [...]} of the first n images; null of frames that have none

`python worker.py --install DIRECTORY` caches the optimized graph first. Needs what `score.py` needs.
"""

import gc
import importlib
import json
import math
import os
import sys
from statistics import median
from time import perf_counter
from typing import Any, Callable, List, Sequence, Tuple

STAGES = ("decode_ms", "graph_ms", "post_ms", "total_ms")
Stamps = List[Tuple[float, float, float, float]]


WARM_CALLS, WARM_SECONDS, AGREEMENT = 50, 2.0, 0.02
BLOCKS = 4  # of each subject in a pair
WINDOW_MS = 250.0
MAX_WINDOWS = 12
MIN_BLOCK_MS = 250.0  # a median over less follows the scheduler rather than the machine's speed
MIN_BLOCK_CALLS = 3  # 4 blocks x 5 processes x 3 calls: just enough for a p95


class Unmeasurable(Exception):
    """This system does not say how much memory a process takes; the text says what is missing."""


def time_calls(detector: Any, encoded: "Sequence[bytes]", calls: int) -> "dict[str, list[float]]":
    """Milliseconds of each call, from encoded bytes to the judged score; starts at the first image.

    `detector` has the three steps `prepare`, `run` and `judge`.
    """
    stamps = []  # type: Stamps
    gc.disable()  # its pauses belong to the measuring, not to the detector
    try:
        for call in range(calls):
            data = encoded[call % len(encoded)]
            start = perf_counter()
            inputs = detector.prepare(data)
            decoded = perf_counter()
            outputs = detector.run(inputs)
            ran = perf_counter()
            detector.judge(outputs)
            stamps.append((start, decoded, ran, perf_counter()))
    finally:
        gc.enable()
    spans = [(b - a, c - b, d - c, d - a) for a, b, c, d in stamps]
    return {stage: [span[i] * 1e3 for span in spans] for i, stage in enumerate(STAGES)}


def memory_of(load: "Callable[[], Callable[[int], Any]]", calls: int) -> "dict[str, float]":
    """Bytes resident: before loading, at most while loading, at most while scoring `calls` images; load time.

    `load` returns what scores the image of a number.
    """
    base = _status("VmRSS")
    _reset_peak()
    start = perf_counter()
    score = load()
    load_ms = (perf_counter() - start) * 1e3
    loaded = _status("VmHWM")
    _reset_peak()
    for call in range(calls):
        score(call)
    return {"base": base, "load": loaded, "run": _status("VmHWM"), "load_ms": load_ms}


def _status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
    except OSError as error:
        raise Unmeasurable(f"/proc/self/status cannot be read ({error.strerror})") from error
    raise Unmeasurable(f"/proc/self/status has no {field}")


def _reset_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError as error:
        raise Unmeasurable(f"/proc/self/clear_refs cannot be written ({error.strerror})") from error


def warm_up(
    process: Any, *, calls: int = WARM_CALLS, seconds: float = WARM_SECONDS, agreement: float = AGREEMENT
) -> "Tuple[float, bool]":
    """Score until `calls` and `seconds` are over and the last two windows agree; at most 12 windows more.

    Returns the median milliseconds of the last window, and whether it settled.
    """
    once = process.ask("warm", calls=3)["total_ms"]
    window = max(5, math.ceil(WINDOW_MS / min(once)))
    done, spent, medians = len(once), sum(once), [min(once)]
    for _ in range(MAX_WINDOWS + math.ceil(seconds * 1000 / WINDOW_MS)):
        times = process.ask("warm", calls=window)["total_ms"]
        done, spent = done + len(times), spent + sum(times)
        medians.append(median(times))
        if done >= calls and spent >= seconds * 1000 and abs(medians[-1] / medians[-2] - 1) <= agreement:
            return medians[-1], True
    return medians[-1], False


def calls_of_block(artifact_ms: float, baseline_ms: float, *, calls: int, cap: float) -> int:
    """Calls of one block of a pair: enough for the samples and for a steady median, within `cap` seconds a pair."""
    wanted = max(1, math.ceil(calls / BLOCKS))
    steady = math.ceil(MIN_BLOCK_MS / baseline_ms)
    affordable = int(cap * 1000 / (BLOCKS * (artifact_ms + baseline_ms)))
    return max(MIN_BLOCK_CALLS, min(max(wanted, min(steady, 4 * wanted)), affordable))


class Worker:
    """One detector on a board and the images it is measured with."""

    def __init__(self, score: Any, directory: str, images: "Sequence[str]") -> None:
        self.score, self.images = score, images
        score.HERE = os.path.abspath(directory)
        self.encoded = []  # type: list[bytes]
        self.loaded = None  # type: Any

    def answer(self, do: str, calls: int) -> "dict[str, Any]":
        """Carry out one command."""
        if do == "memory":
            return dict(memory_of(self.load_to_score, calls))
        detector = self.load()
        if not self.encoded:
            self.encoded = [read(path) for path in self.images]
        if do == "score":
            detector.restarts()
            return {"scores": [self.scored(number) for number in range(min(calls, len(self.images)))]}
        times = time_calls(detector, self.encoded, calls)
        return {"total_ms": times["total_ms"]} if do == "warm" else dict(times)

    def load(self) -> Any:
        """The detector, loaded once."""
        if self.loaded is None:
            self.loaded = self.score.Detector()
        return self.loaded

    def load_to_score(self) -> "Callable[[int], Any]":
        """Load, and score by number."""
        self.load()
        return self.scored

    def scored(self, number: int) -> Any:
        """The score of an image; higher is more anomalous. Of motion None while frames are missing."""
        return self.loaded.score(self.images[number % len(self.images)])


def read(path: str) -> bytes:
    """The bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def runtime_of(directory: str) -> str:
    """`onnxruntime` or `tensorrt`, as the configuration says."""
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        return str(json.load(file).get("runtime", "onnxruntime"))


def install(score: Any, directory: str) -> int:
    """Cache the optimized graph; an engine that is there already is kept, for it takes minutes to build."""
    score.HERE = os.path.abspath(directory)
    if runtime_of(directory) == "tensorrt":
        try:
            score.Detector()
        except score.Rejected:
            pass
        else:
            return 0
    try:
        score.Detector(True)
    except Exception as error:  # runtimes raise what they like
        sys.stderr.write(f"{error}\n")
        return 6
    return 0


def main(arguments: "list[str]") -> int:
    """Answer commands from stdin until it closes; 6 where a module is missing."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not break the protocol
    runtime = runtime_of(arguments[arguments[0] == "--install"])
    try:
        score = importlib.import_module("score")  # type: Any
        modules = [importlib.import_module(name) for name in (runtime, "numpy", "PIL")]
    except ImportError as error:
        send(replies, {"error": str(error), "kind": "TargetUnreachable", "missing": error.name})
        return 6
    if arguments[0] == "--install":
        return install(score, arguments[1])
    versions = dict(zip((runtime, "numpy", "Pillow"), [str(module.__version__) for module in modules]))
    worker = Worker(score, arguments[0], arguments[1:])
    send(replies, {"versions": versions, "pid": os.getpid()})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            reply = worker.answer(command["do"], command["calls"])
        except (Unmeasurable, MemoryError) as error:
            reply = {"error": str(error) or "out of memory", "kind": "TargetUnreachable"}
        except Exception as error:  # whatever is wrong with the artifact or an image, the board has to say it
            reply = {"error": f"{type(error).__name__}: {error}", "kind": "InputRejected"}
        send(replies, reply)
    return 0


def send(stream: Any, reply: "dict[str, Any]") -> None:
    """One line of JSON."""
    stream.write(json.dumps(reply) + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Stored bits of one detector, without training: bytes, time, load, and what is left of the AUROC.

    python benchmarks/storage.py --case NAME --model model.pt --data DIR [--steps JSON] [--old-runtime PYTHON] [--quick]

Every file is written in FP32 and in INT8 compute, then with weights of 8 to 2 stored bits on average. `--steps` is a
JSON list of steps that come first, such as '[{"step": "truncate", "stages": 5, "input": 0.625}]'. `--old-runtime` is
the Python of an environment with onnxruntime 1.16.3, the last one for a Jetson Nano, which must fold the same.
Times are of the graph alone, interleaved with the same file in 32 (INT8: 8) bits, one thread.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
from line import Line  # beside this script
from pydantic import TypeAdapter

from budgetc.compiler.inputs import load_inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.core.plan import Quantize, Step, StoreBits
from budgetc.core.statistics import auroc
from budgetc.detectors.detector import Detector, score_images
from budgetc.export.gate import fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop

BITS = (8.0, 6.0, 5.0, 4.0, 3.0, 2.5, 2.0)
_OLD = """
import collections, json, os, sys, tempfile
import onnx, onnxruntime as ort
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
path = os.path.join(tempfile.mkdtemp(), "optimized.onnx")
options.optimized_model_filepath = path
ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
kinds = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
print(json.dumps({"version": ort.__version__, "kinds": kinds}))
"""


def main() -> None:
    """One detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, help="what the lines are headed with")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", default="[]", help="that come first, as JSON")
    parser.add_argument("--old-runtime", type=Path, metavar="PYTHON")
    parser.add_argument("--quick", action="store_true", help="4 and 2 bits, few calls")
    options = parser.parse_args()
    inputs = load_inputs(options.model, "host-cpu", options.data)
    with tempfile.TemporaryDirectory() as scratch, RunDirectory.open(Path(scratch) / "run") as run:
        for line in lines(options, make_workshop(inputs, run), Path(scratch)):
            line.show()


def lines(options: argparse.Namespace, shop: Workshop, scratch: Path) -> Iterator[Line]:
    """Both compute formats, each in every width."""
    work, detector = shop.work(1.0, 0), shop.baseline
    first: list[Step] = TypeAdapter(list[Step]).validate_python(json.loads(options.steps))
    for step in first:
        detector = apply_step(detector, step, work)
    for compute, plain in {"FP32": detector, "INT8": apply_step(detector, Quantize(), work)}.items():
        reference = scratch / "plain.onnx"
        reference.write_bytes(export_detector(plain, shop.target).model)
        before = aurocs(plain, shop)
        for bits in (4.0, 2.0) if options.quick else BITS:
            stored = apply_step(plain, StoreBits(bits=bits), work)
            path = scratch / "stored.onnx"
            path.write_bytes(export_detector(stored, shop.target).model)
            name = f"{options.case}, {compute}, {bits:g} bits"
            yield _bytes(name, path, stored)
            yield _kernels(name, path, reference, options.old_runtime)
            yield _time(name, path, reference, 20 if options.quick else 200)
            yield _load(name, path, reference)
            after = aurocs(stored, shop)
            words = f"selection {before[0]:.4f} -> {after[0]:.4f}; confirmation {before[1]:.4f} -> {after[1]:.4f}"
            count = len(shop.dataset.samples["confirmation"])
            yield Line(f"{name}: AUROC lost", round(before[1] - after[1], 4), "reported", True, "1", count, words)


def aurocs(detector: Detector, shop: Workshop) -> list[float]:
    """On selection and confirmation, in torch: the file agrees by the gate of every compilation."""
    part, data = detector.deployed(), shop.dataset
    return [
        auroc(score_images(part, data.images(split, detector.config.input_size)).astype(np.float64), data.labels(split))
        for split in ("selection", "confirmation")
    ]


def _bytes(name: str, path: Path, stored: Detector) -> Line:
    """Weights at their bits and biases at 16 are what must be in the file; scales and the graph are not."""
    weights, biases = 0.0, 0
    for unit, known in stored.formats.items():
        if known.half_vectors:
            weight, bias = stored.module.get_submodule(unit).folded()  # type: ignore[operator]
            weights += weight.numel() * known.stored_bits / 8
            biases += 0 if bias is None else 2 * bias.numel()
    size, most = path.stat().st_size, 1.1 * (weights + biases) + 10_000
    words = f"{weights:.0f} B are weights, {biases} B biases; weights alone allow {1.1 * weights + 10_000:.0f} B"
    return Line(f"{name}: bytes", size, f"<= {most:.0f}", size <= most, "B", 1, words)


def _kernels(name: str, path: Path, reference: Path, old: Path | None) -> Line:
    same = fused_kernels(path.read_bytes()) == fused_kernels(reference.read_bytes())
    runtimes = [ort.__version__]
    if old is not None:
        found = [json.loads(_run(old, each)) for each in (path, reference)]
        same &= found[0] == found[1]
        runtimes.append(found[0]["version"])
    return Line(f"{name}: kernels after load are the same", float(same), "= 1", same, "1", len(runtimes),
                f"onnxruntime {' and '.join(runtimes)}")  # fmt: skip


def _run(python: Path, model: Path) -> str:
    return subprocess.run([str(python), "-c", _OLD, str(model)], capture_output=True, text=True, check=True).stdout


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _time(name: str, path: Path, reference: Path, calls: int) -> Line:
    pair = [_session(each) for each in (path, reference)]
    image = np.random.default_rng(0).random((1, *pair[0].get_inputs()[0].shape[1:]), dtype=np.float32)
    spent: list[list[float]] = [[], []]
    for call in range(calls):
        for which in (0, 1, 1, 0) if call % 2 else (1, 0, 0, 1):
            start = time.perf_counter()
            pair[which].run(None, {"image": image})
            spent[which].append(time.perf_counter() - start)
    ratio = float(np.median(spent[0]) / np.median(spent[1]))
    quartiles = [float(np.percentile(spent[0], q) / np.percentile(spent[1], q)) for q in (25, 75)]
    return Line(f"{name}: time over unpacked", round(ratio, 3), "<= 1.05", ratio <= 1.05, "1", 2 * calls,
                f"{min(quartiles):.3f} to {max(quartiles):.3f} of quartiles")  # fmt: skip


def _load(name: str, path: Path, reference: Path) -> Line:
    spent: list[list[float]] = [[], []]
    for _ in range(7):
        for which, each in enumerate((path, reference)):
            start = time.perf_counter()
            _session(each)
            spent[which].append(1e3 * (time.perf_counter() - start))
    mine, other = (float(np.median(times)) for times in spent)
    return Line(f"{name}: load", round(mine, 1), "reported", True, "ms", 7, f"unpacked {other:.1f} ms")


if __name__ == "__main__":
    main()

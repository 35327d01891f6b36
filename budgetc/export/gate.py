"""What must be true of an exported file before anybody measures or ships it."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from budgetc.core.target import Target
from budgetc.errors import BudgetcError
from budgetc.export.packing import ONLY_UNPACKING

INTEGER_KERNELS = ("QLinearConv", "QGemm", "QLinearMatMul", "QLinearAdd")


_LEAST_SPREAD = 0.05
"""Of the mean score: a few normals, or normals that are all alike, say nothing of how far scores reach, and the last
digits of a sum must not count as a difference."""


def check_graph(model: onnx.ModelProto, target: Target) -> None:
    """Valid ONNX, at most the target's opset and IR version, and no operator the target lacks.

    Raises:
        BudgetcError: the exporter did not deliver what was asked for.
    """
    onnx.checker.check_model(model, full_check=True)
    found = refusals(model, target)
    if found:
        raise BudgetcError(f"the exported graph: {'; '.join(found)}")


def refusals(model: onnx.ModelProto, target: Target) -> list[str]:
    """Why a target does not load a graph; empty where it does."""
    found = list[str]()
    opsets = {item.domain or "ai.onnx": item.version for item in model.opset_import}
    if set(opsets) != {"ai.onnx"} or opsets["ai.onnx"] > target.max_opset:
        used = ", ".join(f"{domain} {version}" for domain, version in sorted(opsets.items()))
        found.append(f"it uses opsets {used}; target {target.name} takes ai.onnx {target.max_opset}")
    if model.ir_version > target.max_ir_version:
        found.append(f"it has IR version {model.ir_version}; target {target.name} takes {target.max_ir_version}")
    missing = sorted({node.op_type for node in model.graph.node} & set(target.unsupported_ops))
    if missing:
        found.append(f"target {target.name} does not support {', '.join(missing)}")
    return found


def fused_kernels(model_bytes: bytes) -> Counter[str]:
    """Operators of the graph as the runtime will execute it: nothing here means a silent fallback to FP32."""
    return Counter(node.op_type for node in _executed(model_bytes).node)


def _executed(model_bytes: bytes) -> onnx.GraphProto:
    """The graph as the runtime optimizes it."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "optimized.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        ort.InferenceSession(model_bytes, options, providers=["CPUExecutionProvider"])
        graph: onnx.GraphProto = onnx.load(path).graph
    return graph


def check_kernels(model_bytes: bytes, expected: int) -> None:
    """Every layer that was quantized runs in an integer kernel, and nothing is unpacked again at every call.

    Args:
        model_bytes: the file.
        expected: how many integer kernels.

    Raises:
        BudgetcError: the runtime computes some of them in FP32, or unpacks weights while it scores.
    """
    graph = _executed(model_bytes)
    integer = sum(node.op_type in INTEGER_KERNELS for node in graph.node)
    if integer < expected:
        raise BudgetcError(f"{expected} layers are quantized, but the runtime fuses only {integer} to integer kernels")
    left = _of_weights_alone(graph) & set(ONLY_UNPACKING)
    if left:
        raise BudgetcError(
            f"the runtime does not fold {', '.join(sorted(left))} at load: weights would be unpacked at every call"
        )


def _of_weights_alone(graph: onnx.GraphProto) -> set[str]:
    """Operators that nothing of the input reaches. Those that it does are the detector's own, whatever the runtime made
    of them: two Slices of a picture become one Split.
    """
    reached, found = {value.name for value in graph.input}, set()
    for node in graph.node:
        if reached.isdisjoint(node.input):
            found.add(node.op_type)
        else:
            reached.update(node.output)
    return found


def check_stored(stored: int, expected: int) -> None:
    """Every weight that was to take fewer bytes does.

    Raises:
        BudgetcError: the exporter renamed or merged some of them, and they would ship in four.
    """
    if stored != expected:
        raise BudgetcError(
            f"{expected} weights are to be stored in fewer bytes, but the exported graph holds only {stored} of them"
        )


def check_parity(
    exported: NDArray[np.float32], reference: NDArray[np.float32], tolerance: float, *, outliers: float = 0.0
) -> float:
    """Largest difference between scores and those of the reference, over the spread of the latter.

    Args:
        exported: (n,), of the file.
        reference: (n,), of PyTorch, or of the file on another machine.
        tolerance: what the difference may be.
        outliers: share of the images that does not count. Where a step of INT8 flips, which is no error, a score that
            depends on few numbers jumps; a wrong conversion shows on most images.

    Raises:
        BudgetcError: it exceeds `tolerance`, or a score is not finite.
    """
    for scores, whose in ((exported, "the exported graph"), (reference, "the reference")):
        if not np.isfinite(scores).all():
            raise BudgetcError(f"{whose} gives scores that are not finite numbers")
    spread = max(float(np.ptp(reference)), float(np.abs(reference).mean()) * _LEAST_SPREAD, 1e-12)
    difference = float(np.quantile(np.abs(exported - reference), 1 - outliers, method="higher")) / spread
    if difference > tolerance:
        raise BudgetcError(
            f"the file's scores differ from the reference by {difference:.3g} of their range; allowed is {tolerance:g}"
        )
    return difference

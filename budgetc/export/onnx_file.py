"""A detector -> the bytes of its ONNX file."""

from dataclasses import dataclass

import onnx

from budgetc.core.plan import fingerprint
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector
from budgetc.detectors.layers import units
from budgetc.detectors.rounding import FakeQuantize
from budgetc.export.gate import check_graph, check_halves, check_integer_kernels
from budgetc.export.trace import deployed_for_export, trace
from budgetc.export.weights import (
    drop_unused,
    own_activation_formats,
    shorten_names,
    store_halves,
    store_integers,
)


@dataclass(frozen=True, slots=True)
class Exported:
    """One ONNX file and what is known of it without running it."""

    model: bytes
    structure: str
    """Digest of operators, shapes and number formats: equal structures cost the same."""
    outputs: tuple[str, ...]
    parameters: int


def export_detector(detector: Detector, target: Target) -> Exported:
    """The deployed part as one checked ONNX file for the target.

    Raises:
        BudgetcError: the file is not what the target needs, or INT8 layers would run in FP32.
    """
    part = deployed_for_export(detector)
    parameters = sum(weight.numel() for weight in part.parameters())
    outputs: tuple[str, ...] = part.output_names  # type: ignore[assignment]  # every deployed part has it
    formats = {
        name: unit.rounding.number_format for name, unit in units(part) if isinstance(unit.rounding, FakeQuantize)
    }
    halves = {f"{name}.{layer}.weight" for name, known in formats.items() if known.stored_bits == 16
              for layer in ("conv", "linear")}  # fmt: skip
    model = trace(part, detector.config.input_size, target)
    store_integers(model)
    own_activation_formats(model)
    check_halves(store_halves(model, halves), sum(known.stored_bits == 16 for known in formats.values()))
    drop_unused(model)
    shorten_names(model)
    check_graph(model, target)
    data = model.SerializeToString(deterministic=True)
    integer = sum(known.compute == "int8" for known in formats.values())
    if integer:
        check_integer_kernels(data, integer)
    return Exported(data, _structure(model), outputs, parameters)


def _structure(model: onnx.ModelProto) -> str:
    graph = model.graph
    nodes = [
        [
            node.op_type,
            list(node.input),
            list(node.output),
            [a.SerializeToString(deterministic=True).hex() for a in node.attribute if node.op_type != "Constant"],
        ]
        for node in graph.node
    ]
    tensors = [[tensor.name, tensor.data_type, list(tensor.dims)] for tensor in graph.initializer]
    inputs = [[value.name, [dim.dim_value for dim in value.type.tensor_type.shape.dim]] for value in graph.input]
    return fingerprint([nodes, tensors, inputs])

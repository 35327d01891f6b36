"""A detector -> the bytes of its ONNX file."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from budgetc.core.plan import fingerprint
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector
from budgetc.detectors.layers import units
from budgetc.detectors.rounding import FakeQuantize, NumberFormat
from budgetc.export.gate import check_graph, check_kernels, check_stored
from budgetc.export.packing import pack_weights
from budgetc.export.trace import deployed_for_export, trace
from budgetc.export.weights import (
    constants_to_initializers,
    drop_unused,
    own_activation_formats,
    shorten_names,
    store_halves,
    store_integer_biases,
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
    model = trace(part, detector.config.input_size, target)
    constants_to_initializers(model)
    _store(model, formats)
    drop_unused(model)
    shorten_names(model)
    check_graph(model, target)
    data = model.SerializeToString(deterministic=True)
    integer = sum(known.compute == "int8" for known in formats.values())
    if integer or any(known.half_vectors for known in formats.values()):
        check_kernels(data, integer)
    return Exported(data, _structure(model), outputs, parameters)


def _store(model: onnx.ModelProto, formats: Mapping[str, NumberFormat]) -> None:
    """Weights as their formats say, in place."""
    by_weight = {f"{name}.{layer}.weight": known for name, known in formats.items() for layer in ("conv", "linear")}
    halves = {name for name, known in by_weight.items() if known.stored_bits == 16}
    packed = {name: known for name, known in by_weight.items() if known.half_vectors}
    integers = store_integers(model)
    own_activation_formats(model)
    store_integer_biases(model, folded=bool(packed))
    check_stored(store_halves(model, halves), len(halves) // 2)  # a unit has one layer, under one of the two names
    if packed:
        check_stored(pack_weights(model, packed, integers), len(packed) // 2)


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

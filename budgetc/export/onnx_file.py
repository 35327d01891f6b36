"""A detector -> the bytes of its ONNX file."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from budgetc.core.plan import fingerprint
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector, deployed_part
from budgetc.detectors.layers import units
from budgetc.detectors.rounding import NumberFormat
from budgetc.detectors.stored import LAYER_NAMES
from budgetc.export.barriers import keep_in_float
from budgetc.export.compact import compact
from budgetc.export.gate import check_graph, check_kernels, check_stored
from budgetc.export.packing import pack_weights
from budgetc.export.pooling import pool_by_convolution
from budgetc.export.trace import deployed_for_export, trace
from budgetc.export.weights import (
    constants_to_initializers,
    own_activation_formats,
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


@dataclass(frozen=True, slots=True)
class Traced:
    """The graph of a detector before its weights are stored as they will be."""

    model: onnx.ModelProto
    outputs: tuple[str, ...]
    parameters: int


def trace_detector(detector: Detector, target: Target) -> Traced:
    """The deployed part as a graph for the target, every weight at the value that its format gives it."""
    part = deployed_for_export(detector)
    parameters = sum(weight.numel() for weight in part.parameters())
    outputs: tuple[str, ...] = part.output_names  # type: ignore[assignment]  # every deployed part has it
    model = trace(part, detector.config.input_shape, target)
    constants_to_initializers(model)
    return Traced(model, outputs, parameters)


def export_detector(detector: Detector, target: Target, traced: Traced | None = None) -> Exported:
    """The deployed part as one checked ONNX file for the target.

    Args:
        detector: what is exported.
        target: where it is to run.
        traced: the graph of a detector that differs in how weights are stored alone, where only the price is asked for.

    Raises:
        BudgetcError: the file is not what the target needs, or INT8 layers would run in FP32.
    """
    graph = traced or trace_detector(detector, target)
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    formats = _formats(detector)
    pools = pool_by_convolution(model) if target.runtime == "onnxruntime" else 0
    _store(model, formats)
    compact(model)
    check_graph(model, target)
    data = model.SerializeToString(deterministic=True)
    integer = sum(known.compute == "int8" for known in formats.values())
    if integer or any(known.half_vectors for known in formats.values()):
        check_kernels(data, integer + pools)
    return Exported(data, _structure(model), graph.outputs, graph.parameters)


def _formats(detector: Detector) -> dict[str, NumberFormat]:
    """Formats by the names that units have in the deployed part."""
    names = {unit: name for name, unit in units(detector.module)}
    deployed = {name: names[unit] for name, unit in units(deployed_part(detector.module)) if unit in names}
    return {name: detector.formats[own] for name, own in deployed.items() if own in detector.formats}


def _store(model: onnx.ModelProto, formats: Mapping[str, NumberFormat]) -> None:
    """Weights as their formats say, in place."""
    by_weight = {f"{name}.{layer}.weight": known for name, known in formats.items() for layer in LAYER_NAMES}
    halves = {name for name, known in by_weight.items() if known.stored_bits == 16}
    packed = {name: known for name, known in by_weight.items() if known.half_vectors}
    integers = store_integers(model)
    own_activation_formats(model)
    keep_in_float(model)
    store_integer_biases(model, folded=bool(packed))
    # A unit has one layer, under one of the names.
    check_stored(store_halves(model, halves), len(halves) // len(LAYER_NAMES))
    if packed:
        check_stored(pack_weights(model, packed, integers), len(packed) // len(LAYER_NAMES))


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

"""Layers in FP32 between integer ones, and what keeps the runtime from quantizing them after all."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

from budgetc.export.weights import constants

_LAYERS, _ACTIVATIONS = ("Conv", "ConvTranspose", "Gemm"), ("Relu", "Clip")


def keep_in_float(model: onnx.ModelProto) -> int:
    """Put a `Max` before the rounding of every float layer that reads integers, in place; returns how many.

    onnxruntime (1.32, `WeightBiasQuantization`) takes DequantizeLinear, layer, QuantizeLinear for an integer layer and
    quantizes the float weight itself at load, by a rule that calibration never saw. The `Max` with the lowest value
    that the rounding can give changes no result and is in its way.
    """
    graph = model.graph
    values = constants(graph)
    roundings = list(_roundings(graph, values))
    for number, rounding in enumerate(roundings):
        scale, zero = (values[name] for name in rounding.input[1:3])
        low = np.float32(-int(zero)) * scale.astype(np.float32)
        name, result = f"barrier{number}.low", f"barrier{number}"
        graph.initializer.append(numpy_helper.from_array(np.asarray(low, np.float32), name))
        at = list(graph.node).index(rounding)
        graph.node.insert(at, helper.make_node("Max", [rounding.input[0], name], [result]))
        rounding.input[0] = result
    return len(roundings)


def _roundings(graph: onnx.GraphProto, values: dict[str, np.ndarray]) -> Iterator[onnx.NodeProto]:
    """QuantizeLinear nodes behind float layers whose input comes out of a DequantizeLinear."""
    made = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        layer = made.get(node.input[0])
        while layer is not None and layer.op_type in _ACTIVATIONS:
            layer = made.get(layer.input[0])
        if layer is None or layer.op_type not in _LAYERS or layer.input[1] not in values:
            continue
        source = made.get(layer.input[0])
        while source is not None and source.op_type in ("Pad", "MaxPool", "Reshape", "Flatten", "Transpose"):
            source = made.get(source.input[0])
        if source is not None and source.op_type == "DequantizeLinear":
            yield node

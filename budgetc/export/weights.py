"""How weights lie in the file: INT8 as integers, FP16 as halves with a Cast that folds at load."""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

_HALF_SUFFIX = "/half"
_node = onnx.helper.make_node


def store_integers(model: onnx.ModelProto) -> dict[str, str]:
    """Replace weight -> QuantizeLinear by the integers themselves, in place; weight -> initializer of its integers.

    The exporter leaves FP32 weights with Q and DQ behind them: four times the bytes.
    """
    graph = model.graph
    values = constants(model.graph)
    stored = dict[str, str]()
    for node in [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] in values]:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        integers = _quantized(*(values[name] for name in node.input[:3]), axis=axis)
        graph.initializer.append(numpy_helper.from_array(integers, node.output[0]))
        _share_zero_point(graph, node, values[node.input[2]].shape)
        graph.node.remove(node)
        stored[node.input[0]] = node.output[0]
    return stored


def store_integer_biases(model: onnx.ModelProto, *, folded: bool) -> int:
    """Give every layer that reads INT8 input and weights an INT32 bias, in place; returns how many.

    In steps of input times weight, as its sums are. onnxruntime before 1.20 fuses no integer kernel with a float bias:
    it computes the layer in FP32 and says nothing.

    Args:
        folded: the file keeps the float biases, and the runtime rounds them at load.
    """
    graph, values = model.graph, constants(model.graph)
    writer = {name: node for node in graph.node for name in node.output}
    steps, results, floats = list[onnx.NodeProto](), list[onnx.NodeProto](), dict[str, str]()
    for layer in [node for node in graph.node if node.op_type in ("Conv", "Gemm") and len(node.input) > 2]:
        read, weight, bias = _rounded_by(layer.input[0], writer), _rounded_by(layer.input[1], writer), layer.input[2]
        if read is None or weight is None:
            continue
        name = f"{layer.output[0]}/bias"
        steps.append(_node("Mul", [weight.input[1], read.input[1]], [f"{name}/step"]))
        results.append(_node("DequantizeLinear", [f"{name}/whole", f"{name}/step"], [name], axis=0))
        floats[name] = bias
        layer.input[2] = name
        if not folded:
            whole = np.rint(values[bias] / (values[weight.input[1]] * values[read.input[1]])).astype(np.int32)
            graph.initializer.append(numpy_helper.from_array(whole, f"{name}/whole"))
    rounding = _rounded_at_load(graph, floats) if folded and floats else []
    for place, node in enumerate([*steps, *rounding, *results]):
        graph.node.insert(place, node)
    return len(results)


def _rounded_at_load(graph: onnx.GraphProto, floats: Mapping[str, str]) -> list[onnx.NodeProto]:
    """All float biases over their steps -> whole numbers, as one vector: a node a layer would be twice its bytes."""
    sizes = [len(value) for value in map(constants(graph).__getitem__, floats.values())]
    graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), "biases.sizes"))
    return [
        _node("Concat", list(floats.values()), ["biases"], axis=0),
        _node("Concat", [f"{name}/step" for name in floats], ["biases.step"], axis=0),
        _node("Div", ["biases", "biases.step"], ["biases.steps"]),
        _node("Round", ["biases.steps"], ["biases.rounded"]),
        _node("Cast", ["biases.rounded"], ["biases.whole"], to=onnx.TensorProto.INT32),
        _node("Split", ["biases.whole", "biases.sizes"], [f"{name}/whole" for name in floats], axis=0),
    ]


_PASSING = ("MaxPool", "Reshape", "Flatten", "Transpose")
"""What INT8 passes through unchanged."""


def _rounded_by(name: str, writer: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The DequantizeLinear that a layer's input comes from, or None."""
    node = writer.get(name)
    while node is not None and node.op_type in _PASSING:
        node = writer.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _share_zero_point(graph: onnx.GraphProto, quantizer: onnx.NodeProto, shape: tuple[int, ...]) -> None:
    """Weights are symmetric: a convolution's need no zero points; one vector of zeros serves all of QGemm's, which asks
    for them.
    """
    name = f"zeros{shape}"
    for reader in [n for n in graph.node if n.op_type == "DequantizeLinear" and n.input[0] == quantizer.output[0]]:
        if any(node.op_type == "Conv" and reader.output[0] in node.input for node in graph.node):
            del reader.input[2:]
            continue
        reader.input[2] = name
        if name not in constants(graph):
            graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.int8), name))


def own_activation_formats(model: onnx.ModelProto) -> None:
    """Give every activation's Q/DQ pair its own scale and zero point as initializers, in place.

    Simplifiers merge equal constants, and then the bytes of a file depend on what calibration saw.
    With one pair each they follow from the structure alone, so an untrained candidate has its exact price.
    """
    graph, values = model.graph, constants(model.graph)
    for number, node in enumerate(n for n in graph.node if n.op_type == "QuantizeLinear"):
        names = [f"format{number}.scale", f"format{number}.zero"]
        for name, old in zip(names, node.input[1:3], strict=True):
            graph.initializer.append(numpy_helper.from_array(values[old], name))
        for reader in graph.node:
            if reader.op_type == "DequantizeLinear" and reader.input[0] == node.output[0]:
                reader.input[1:] = names
        node.input[1:] = names


def _quantized(weight: np.ndarray, scale: np.ndarray, zero: np.ndarray, *, axis: int) -> np.ndarray:
    if (scale.ndim == 1 and scale.size > 1) or (scale.ndim == 1 and weight.shape[axis] == scale.size):
        shape = [1] * weight.ndim
        shape[axis] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    limits = np.iinfo(zero.dtype)
    # The same order of operations as torch's kernel, so that no value rounds to its neighbor.
    rounded = np.rint(weight * (np.float32(1) / scale)) + zero
    integers: np.ndarray = np.clip(rounded, limits.min, limits.max).astype(zero.dtype)
    return integers


def store_halves(model: onnx.ModelProto, names: set[str]) -> int:
    """Store the named FP32 initializers as FP16 with a Cast behind them, in place; returns how many."""
    graph, stored = model.graph, 0
    for tensor in [t for t in graph.initializer if t.name in names and t.data_type == onnx.TensorProto.FLOAT]:
        name = tensor.name
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name + _HALF_SUFFIX)
        graph.initializer.remove(tensor)
        graph.initializer.append(half)
        cast = onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)
        stored += 1
    return stored


def constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Initializers by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def constants_to_initializers(model: onnx.ModelProto) -> None:
    """Every Constant node as an initializer, in place: fewer bytes, and one place to look."""
    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "Constant"]:
        (value,) = node.attribute
        tensor = value.t
        if value.name != "value":
            tensor = numpy_helper.from_array(np.array(onnx.helper.get_attribute_value(value)))
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)

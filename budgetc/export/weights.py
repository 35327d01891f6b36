"""How weights lie in the file: INT8 as integers, FP16 as halves with a Cast that folds at load."""

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
        folded: the file keeps the float bias, and the runtime rounds it at load.
    """
    graph, values = model.graph, constants(model.graph)
    writer = {name: node for node in graph.node for name in node.output}
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm") and len(node.input) > 2]
    added = 0
    for layer in layers:
        read, weight, bias = _rounded_by(layer.input[0], writer), _rounded_by(layer.input[1], writer), layer.input[2]
        if read is None or weight is None:
            continue
        name = f"{layer.output[0]}/bias"
        nodes = [_node("Mul", [weight.input[1], read.input[1]], [f"{name}/step"])]
        if folded:
            nodes += [
                _node("Div", [bias, f"{name}/step"], [f"{name}/steps"]),
                _node("Round", [f"{name}/steps"], [f"{name}/rounded"]),
                _node("Cast", [f"{name}/rounded"], [f"{name}/whole"], to=onnx.TensorProto.INT32),
            ]
        else:
            whole = np.rint(values[bias] / (values[weight.input[1]] * values[read.input[1]])).astype(np.int32)
            graph.initializer.append(numpy_helper.from_array(whole, f"{name}/whole"))
        nodes.append(_node("DequantizeLinear", [f"{name}/whole", f"{name}/step"], [name], axis=0))
        for place, node in enumerate(nodes, added):
            graph.node.insert(place, node)
        added += len(nodes)
        layer.input[2] = name
    return added


_PASSING = ("MaxPool", "Reshape", "Flatten")
"""What INT8 passes through unchanged."""


def _rounded_by(name: str, writer: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """The DequantizeLinear that a layer's input comes from, or None."""
    node = writer.get(name)
    while node is not None and node.op_type in _PASSING:
        node = writer.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _share_zero_point(graph: onnx.GraphProto, quantizer: onnx.NodeProto, shape: tuple[int, ...]) -> None:
    """Weights are symmetric, so one vector of zeros serves all of one width (QGemm insists on having it)."""
    name = f"zeros{shape}"
    if name not in {tensor.name for tensor in graph.initializer}:
        graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.int8), name))
    for reader in graph.node:
        if reader.op_type == "DequantizeLinear" and reader.input[0] == quantizer.output[0]:
            reader.input[2] = name


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


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove initializers that nothing reads, in place."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)


def shorten_names(model: onnx.ModelProto) -> None:
    """Give inner tensors names of a few bytes and drop node names and notes, in place.

    In a file of some ten kilobytes, dotted names are several percent of it.
    """
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {"": ""}

    def short(name: str) -> str:
        if name in fixed:
            return name
        return names.setdefault(name, f"{len(names):x}")

    for node in graph.node:
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
        node.name, node.doc_string = "", ""
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    graph.ClearField("value_info")
    graph.name, graph.doc_string, model.doc_string = "detector", "", ""
    model.ClearField("metadata_props")

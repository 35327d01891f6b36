"""How weights lie in the file: INT8 as integers, FP16 as halves with a Cast that folds at load."""

import numpy as np
import onnx
from onnx import numpy_helper

_HALF_SUFFIX = "/half"


def store_integers(model: onnx.ModelProto) -> int:
    """Replace weight -> QuantizeLinear by the integers themselves, in place; returns how many.

    The exporter leaves FP32 weights with Q and DQ behind them: four times the bytes.
    """
    graph = model.graph
    values = constants(model)
    stored = 0
    for node in [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] in values]:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        integers = _quantized(*(values[name] for name in node.input[:3]), axis=axis)
        graph.initializer.append(numpy_helper.from_array(integers, node.output[0]))
        _share_zero_point(graph, node, values[node.input[2]].shape)
        graph.node.remove(node)
        stored += 1
    return stored


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
    graph, values = model.graph, constants(model)
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


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Initializers and the outputs of Constant nodes."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = next((a for a in node.attribute if a.name == "value"), None)
            if value is not None:
                found[node.output[0]] = numpy_helper.to_array(value.t)
    return found


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove initializers and Constant nodes that nothing reads, in place."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
    for node in [n for n in graph.node if n.op_type == "Constant" and n.output[0] not in read]:
        graph.node.remove(node)


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

"""A model of one input -> the same of static shapes and FP32, with constants folded and dead branches gone."""

import shlex
from collections import defaultdict
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
import onnxruntime as ort
import onnxsim
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from budgetc.detectors.graph.module import MAX_ELEMENTS
from budgetc.errors import InputRejected

MAX_SIDE = 4096
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
_MOVING = ("Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_FOLDED = "256MB"
"""Larger constants are not computed at load."""


@dataclass(frozen=True, slots=True)
class Input:
    """The picture that a model reads."""

    name: str
    channels: int
    size: tuple[int, int]
    """(height, width)."""
    last: bool
    """Whether channels come last, (1, H, W, C)."""
    whole: bool = False
    """Whether the file reads bytes, 0 to 255."""


def halves_to_floats(model: onnx.ModelProto) -> bool:
    """Turn everything in FP16 to FP32, in place; whether anything was."""
    graph, found = model.graph, False
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            found = True
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            found = True
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                values = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(values))
                found = True
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i, found = TensorProto.FLOAT, True
    return found


def settle_input(where: str, model: onnx.ModelProto, wanted: tuple[int, int] | None) -> Input:
    """Fix the one input to one picture of a known size, in place.

    Raises:
        InputRejected: several inputs, another type or rank, a batch of several pictures, sides that are neither
            in the file nor given, or a number of channels other than 1 or 3.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(value.name) for value in inputs) or "none"
        raise InputRejected(f"{where}: {len(inputs)} inputs ({names}); expected one, a picture (1, 3, H, W)")
    (value,) = inputs
    kind, dims = value.type.tensor_type.elem_type, list(value.type.tensor_type.shape.dim)
    sides = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims]
    whole = kind == TensorProto.UINT8 and _turned_to_floats(graph, value.name)
    if kind not in _FLOATS and not whole:
        raise InputRejected(
            f"{where}: input {value.name!r} is {TensorProto.DataType.Name(kind)}, expected float, or UINT8 that a Cast "
            "turns to float; leave the conversion out of the export, and say --scale 255 where it reads 0..255"
        )
    if len(sides) != 4:
        raise InputRejected(f"{where}: input {value.name!r} has {len(sides)} dimensions, expected (1, 3, H, W)")
    last = sides[3] in (1, 3) and sides[1] not in (1, 3)
    batch, channels, height, width = (sides[i] for i in ((0, 3, 1, 2) if last else (0, 1, 2, 3)))
    if batch not in (None, 1):
        raise InputRejected(
            f"{where}: input {value.name!r} is a batch of {batch} pictures; export it with one, or with a dynamic batch"
        )
    if channels not in (1, 3):
        found = "an unknown number of" if channels is None else channels
        raise InputRejected(f"{where}: input {value.name!r} has {found} channels; pictures have 3 (RGB) or 1 (gray)")
    size = _settled_size(where, value.name, (height, width), wanted)
    shape = (1, *size, channels) if last else (1, channels, *size)
    for dim, side in zip(dims, shape, strict=True):
        dim.Clear()
        dim.dim_value = side
    # What was inferred for a dynamic shape says nothing any more.
    graph.ClearField("value_info")
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    return Input(value.name, channels, size, last, whole)


def _turned_to_floats(graph: onnx.GraphProto, name: str) -> bool:
    """Whether all that reads a result moves it about and turns it to float: bytes as float are then the same."""
    readers = defaultdict[str, list[onnx.NodeProto]](list)
    for node in graph.node:
        for read in node.input:
            readers[read].append(node)
    found = [name]
    for result in found:  # a list that grows, and no recursion: files may be chains of thousands
        for node in readers[result]:
            if node.op_type in _MOVING and node.input[0] == result:
                found.append(node.output[0])
            elif node.op_type != "Cast" or not any(one.name == "to" and one.i in _FLOATS for one in node.attribute):
                return False
    return all(readers[result] for result in found)


def _settled_size(
    where: str, name: str, found: tuple[int | None, int | None], wanted: tuple[int, int] | None
) -> tuple[int, int]:
    height, width = found
    if height is not None and width is not None:
        if wanted not in (None, (height, width)):
            raise InputRejected(f"{where}: input {name!r} is {height}x{width}; --input-size cannot change that")
        size = height, width
    elif wanted is not None:
        size = wanted
    else:
        raise InputRejected(
            f"{where}: the height and width of input {name!r} are not in the file; say what it was trained at with "
            f"budgetc import {shlex.quote(where)} --input-size HEIGHTxWIDTH -o model.pt"
        )
    if max(size) > MAX_SIDE:
        raise InputRejected(f"{where}: input {name!r} is {size[0]}x{size[1]}, at most {MAX_SIDE} a side")
    return size


def check_sizes(where: str, model: onnx.ModelProto) -> None:
    """Refuse a model of which an input or a result is enormous, before anything is computed.

    Raises:
        InputRejected: it is, or shapes contradict each other.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # of a C++ library, with no public type
        reason = " ".join(str(error).split())[:300]
        raise InputRejected(f"{where}: its shapes do not fit together ({reason})") from error
    for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if prod(sides) > MAX_ELEMENTS:
            raise InputRejected(f"{where}: {value.name!r} has {prod(sides)} numbers, at most {MAX_ELEMENTS}")


def keep_outputs(model: onnx.ModelProto, names: tuple[str, ...]) -> None:
    """Drop the other outputs and everything that only they need, in place."""
    graph = model.graph
    kept = [value for value in graph.output if value.name in names]
    del graph.output[:]
    graph.output.extend(kept)
    needed, nodes = set(names), list[onnx.NodeProto]()
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed.update(node.input)
            nodes.insert(0, node)
    del graph.node[:]
    graph.node.extend(nodes)
    unread = [tensor for tensor in graph.initializer if tensor.name not in needed]
    for tensor in unread:
        graph.initializer.remove(tensor)


def with_known_shapes(where: str, model: onnx.ModelProto, image: NDArray[np.float32]) -> onnx.ModelProto:
    """The model with every `Shape` a constant: the simplifier does not find all that one size of picture settles.

    Raises:
        InputRejected: onnxruntime does not run it.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    asked = [node.output[0] for node in model.graph.node if node.op_type == "Shape"]
    if asked:
        known = run(where, model, image, asked)
        others = [node for node in result.graph.node if node.op_type != "Shape"]
        del result.graph.node[:]
        result.graph.node.extend(others)
        result.graph.initializer.extend(numpy_helper.from_array(known[name], name) for name in asked)
    return result


def simplified(where: str, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with constants folded.

    Raises:
        InputRejected: it cannot be computed.
    """
    try:
        result, _ = onnxsim.simplify(model, tensor_size_threshold=_FOLDED)
    except Exception as error:  # whatever the simplifier trips over, the file is what it is about
        reason = " ".join(str(error).split())[:300]
        raise InputRejected(f"{where}: its shapes or constants cannot be computed ({reason})") from error
    assert isinstance(result, onnx.ModelProto)
    return result


def refuse_unread(where: str, model: onnx.ModelProto, picture: str) -> None:
    """The picture reaches an output.

    Raises:
        InputRejected: no output depends on it.
    """
    reached = {picture}
    for node in model.graph.node:
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
    if reached.isdisjoint(value.name for value in model.graph.output):
        raise InputRejected(
            f"{where}: no output depends on the input {picture!r}: every picture would have one score. Was it exported "
            "from code that leaves torch on the way, as .numpy() does?"
        )


def run(
    where: str, model: onnx.ModelProto, image: NDArray[np.float32], names: list[str]
) -> dict[str, NDArray[np.generic]]:
    """Results of the model by name, as onnxruntime computes them without rewriting the graph.

    Raises:
        InputRejected: onnxruntime does not run it.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    known = {value.name for value in asked.graph.output}
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    try:
        session = ort.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found = session.run(names, {session.get_inputs()[0].name: image})
    except Exception as error:  # onnxruntime's own exception types are not public
        reason = " ".join(str(error).split())[:300]
        raise InputRejected(f"{where}: onnxruntime does not run it ({reason})") from error
    return dict(zip(names, found, strict=True))

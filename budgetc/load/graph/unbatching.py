"""A file of a fixed batch of several pictures, as the same for one picture."""

from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from budgetc.errors import InputRejected
from budgetc.load.graph.settling import check_sizes, run

_SHAPED = ("Expand", "Reshape")
_TOLERANCE = 1e-4
"""Of the largest value of an output."""


def one_of_batch(where: str, model: onnx.ModelProto) -> str | None:
    """Rewrite a model of n > 1 pictures for one, in place; returns what a user should know, None where n is not fixed.

    The batch stands in the input and in constant shapes. What is left must give each picture alone what it has in the
    batch.

    Raises:
        InputRejected: it does not, or the batch is enormous.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    dims = list(inputs[0].type.tensor_type.shape.dim) if len(inputs) == 1 else []
    count = dims[0].dim_value if len(dims) == 4 and all(dim.dim_value > 0 for dim in dims) else 1
    if count == 1 or inputs[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        return None
    check_sizes(where, model)
    original = onnx.ModelProto()
    original.CopyFrom(model)
    _rewrite(model, inputs[0], count)
    shape = (count, *(dim.dim_value for dim in dims[1:]))
    pictures = np.random.default_rng(0).random(shape, np.float32)
    if not _same(where, original, model, pictures):
        raise InputRejected(
            f"{where}: input {inputs[0].name!r} is a batch of {count} pictures, which its layers mix or count on; "
            "export it with one, or with a dynamic batch"
        )
    return f"it reads {count} pictures at once: rewritten for one"


def _rewrite(model: onnx.ModelProto, image: onnx.ValueInfoProto, count: int) -> None:
    graph = model.graph
    for value in (image, *graph.output):
        first = value.type.tensor_type.shape.dim[:1]
        if first and first[0].dim_value == count:
            first[0].dim_value = 1
    graph.ClearField("value_info")
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    known |= {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in graph.node
              if node.op_type == "Constant" and node.attribute[0].HasField("t")}  # fmt: skip
    for number, node in enumerate(graph.node):
        shape = known.get(node.input[1]) if node.op_type in _SHAPED and len(node.input) > 1 else None
        if shape is None or shape.ndim != 1 or not len(shape) or shape[0] <= 0 or shape[0] % count:
            continue
        name = f"one_picture.{number}"
        graph.initializer.append(numpy_helper.from_array(np.array([shape[0] // count, *shape[1:]], np.int64), name))
        node.input[1] = name


def _same(where: str, several: onnx.ModelProto, one: onnx.ModelProto, pictures: NDArray[np.float32]) -> bool:
    names = [value.name for value in several.graph.output]
    together = run(where, several, pictures, names)
    try:
        alone = [run(where, one, picture[None], names) for picture in pictures]
    except InputRejected:
        return False
    for name in names:
        wanted = together[name].astype(np.float64)
        if not wanted.ndim or len(wanted) != len(pictures):
            return False
        allowed = _TOLERANCE * max(float(np.abs(wanted).max()), 1e-12)
        for expected, found in zip(wanted, alone, strict=True):
            if prod(found[name].shape) != expected.size:
                return False
            if np.abs(found[name].astype(np.float64).ravel() - expected.ravel()).max() > allowed:
                return False
    return True

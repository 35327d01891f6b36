"""Outputs without the limits that were put on them last: what lies beyond a limit has no order any more."""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from budgetc.load.graph.settling import run

_PASSING = ("Flatten", "Identity", "ReduceMax", "Reshape", "Squeeze", "Unsqueeze")
"""Limits before these are limits behind them."""


def unclamp(where: str, model: onnx.ModelProto, image: NDArray[np.float32], names: tuple[str, ...]) -> tuple[str, ...]:
    """Drop the last `Clip` of both limits before each output, in place; returns the names of outputs that had one.

    Between both there may be a maximum, reshapes, and choices (`Where`) that do not depend on the picture. So are the
    exports of anomalib, whose post-processor normalizes scores and maps by extremes of its validation set, and cuts
    them off at 0 and 1.

    Args:
        where: the file.
        model: of settled input.
        image: any picture, as the model reads it.
        names: outputs.

    Raises:
        InputRejected: onnxruntime does not run it.
    """
    conditions = _conditions(where, model, image)
    made = {name: node for node in model.graph.node for name in node.output}
    ways = {name: list(_way(made, conditions, name)) for name in names}
    passed = {node.output[0] for way in ways.values() for node in way[:-1]}
    found = []
    for name, way in ways.items():
        clip = next((node for node in way if node.op_type == "Clip"), None)
        if clip is None or not _has_both_limits(clip):
            continue
        readers = [node for node in model.graph.node if clip.output[0] in node.input]
        if all(node.output[0] in passed for node in readers):
            found.append((name, clip))
    for _, clip in found:
        clip.op_type = "Identity"
        del clip.input[1:], clip.attribute[:]
    return tuple(name for name, _ in found)


def _way(made: Mapping[str, onnx.NodeProto], conditions: Mapping[str, bool], name: str) -> Iterator[onnx.NodeProto]:
    """The nodes that an output comes from, last first: those that limits pass, and the one before them."""
    while (node := made.get(name)) is not None:
        yield node
        if node.op_type == "Where" and node.input[0] in conditions:
            name = node.input[1] if conditions[node.input[0]] else node.input[2]
        elif node.op_type in _PASSING:
            name = node.input[0]
        else:
            return


def _has_both_limits(clip: onnx.NodeProto) -> bool:
    """As inputs, or as attributes before opset 11."""
    return sum(map(bool, clip.input)) == 3 or len(clip.attribute) == 2


def _conditions(where: str, model: onnx.ModelProto, image: NDArray[np.float32]) -> dict[str, bool]:
    """What choices between whole results depend on, where the picture does not matter."""
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    depends = {value.name for value in model.graph.input} - set(constants)
    for node in model.graph.node:  # sorted, as ONNX demands
        if depends & set(node.input):
            depends.update(node.output)
    asked = {node.input[0] for node in model.graph.node if node.op_type == "Where"} - depends
    known = run(where, model, image, sorted(asked - set(constants))) if asked - set(constants) else {}
    values = {name: known[name] if name in known else constants[name] for name in asked}
    return {name: bool(value.item()) for name, value in values.items() if value.size == 1}

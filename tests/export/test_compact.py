"""Compacting a graph: what says nothing goes, what it computes stays."""

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from budgetc.export.compact import compact
from tests.export.single import run_file

_SIDE = 9


def model_of(*nodes: onnx.NodeProto, opset: int = 13, **weights: np.ndarray) -> onnx.ModelProto:
    """Nodes from `image`, (1, 2, 9, 9), to `score`."""
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 2, _SIDE, _SIDE])
    score = helper.make_tensor_value_info("score", onnx.TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "a graph", [image], [score], tensors, doc_string="notes")
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv(**attributes: Any) -> onnx.ModelProto:
    """One convolution with a 3 x 3 kernel, all attributes written down."""
    written: dict[str, Any] = {
        "dilations": [1, 1],
        "strides": [1, 1],
        "pads": [0, 0, 0, 0],
        "group": 1,
        "kernel_shape": [3, 3],
    }
    node = helper.make_node("Conv", ["image", "weight"], ["score"], name="/layer/Conv", **{**written, **attributes})
    weight = np.random.default_rng(0).normal(size=(4, 2 // attributes.get("group", 1), 3, 3))
    return model_of(node, weight=weight, unused=np.ones(50))


@pytest.mark.parametrize(
    ("attributes", "left"),
    [
        ({}, set()),
        ({"strides": [2, 1]}, {"strides"}),
        ({"pads": [0, 0, 1, 1]}, {"pads"}),
        ({"group": 2, "dilations": [2, 2]}, {"group", "dilations"}),
    ],
)
def test_only_what_says_something_stays(attributes: dict[str, Any], left: set[str]) -> None:
    """Attributes that are not at their defaults, and every result as it was."""
    model = conv(**attributes)
    image = np.random.default_rng(1).random((1, 2, _SIDE, _SIDE), np.float32)
    before = run_file(model.SerializeToString(), image)
    compact(model)
    (node,) = model.graph.node
    assert {attribute.name for attribute in node.attribute} == left
    assert [len(tensor.dims) for tensor in model.graph.initializer] == [4]
    np.testing.assert_array_equal(run_file(model.SerializeToString(), image), before)


def test_defaults_are_those_of_the_opset() -> None:
    """Softmax flattened from axis 1 before opset 13, and works on the last one since."""
    for opset, left in ((11, []), (13, ["axis"])):
        model = model_of(helper.make_node("Softmax", ["image"], ["score"], axis=1), opset=opset)
        compact(model)
        assert [attribute.name for attribute in model.graph.node[0].attribute] == left


def test_a_short_name_is_never_that_of_an_input_or_output() -> None:
    """Inputs and outputs keep theirs, whatever they are called."""
    names = ["image", *"0123456789", "score"]
    nodes = [helper.make_node("Relu", [read], [written]) for read, written in pairwise(names)]
    model = model_of(*nodes)
    model.graph.output.append(helper.make_tensor_value_info("1", onnx.TensorProto.FLOAT, None))
    compact(model)
    image = np.ones((1, 2, _SIDE, _SIDE), np.float32)
    np.testing.assert_array_equal(run_file(model.SerializeToString(), image), [image, image])
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["image", "score", "1"]

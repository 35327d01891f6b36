"""Average pooling of integers, as the convolution that it is."""

from math import prod

import numpy as np
import onnx
from onnx import helper, numpy_helper


def pool_by_convolution(model: onnx.ModelProto) -> int:
    """Make a depthwise INT8 convolution of every AveragePool between roundings, in place; returns how many.

    onnxruntime's QLinearAveragePool takes one value at a time (1.32: 110 us for 32 x 67 x 67, the convolution 15), and
    is chosen whenever a pooling lies between DequantizeLinear and QuantizeLinear. Weights are 1 in steps of one over
    the area, so that no product saturates. What averages over fewer places at the edge stays.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in graph.value_info}
    writer = {name: node for node in model.graph.node for name in node.output}
    found = 0
    for place, node in reversed(list(enumerate(model.graph.node))):
        if node.op_type != "AveragePool" or node.input[0] not in shapes or not _between_roundings(node, writer, model):
            continue
        settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if settings.get("ceil_mode") or (any(settings.get("pads", ())) and not settings.get("count_include_pad")):
            continue
        channels = shapes[node.input[0]][1].dim_value
        name, kernel = f"{node.output[0]}/pooling", settings["kernel_shape"]
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(np.ones((channels, 1, *kernel), np.int8), f"{name}.ones"),
                numpy_helper.from_array(np.asarray(1 / prod(kernel), np.float32), f"{name}.step"),
            ]
        )
        kept = {key: settings[key] for key in ("strides", "pads") if key in settings}
        model.graph.node.remove(node)
        model.graph.node.insert(place, helper.make_node(
            "Conv", [node.input[0], name], list(node.output), group=channels, kernel_shape=kernel, **kept
        ))  # fmt: skip
        model.graph.node.insert(place, helper.make_node("DequantizeLinear", [f"{name}.ones", f"{name}.step"], [name]))
        found += 1
    return found


def _between_roundings(node: onnx.NodeProto, writer: dict[str, onnx.NodeProto], model: onnx.ModelProto) -> bool:
    source = writer.get(node.input[0])
    readers = [other.op_type for other in model.graph.node if node.output[0] in other.input]
    return source is not None and source.op_type == "DequantizeLinear" and set(readers) == {"QuantizeLinear"}

"""Convolutions, fully connected layers, additions and concatenations, each with what can be taken into it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch

from budgetc.detectors.graph.config import AddNode, ConcatNode, ConvNode, LinearNode, UpNode
from budgetc.detectors.upsampling import subpixel_weight
from budgetc.load.graph.translator import Array, Translation

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
MOST_LATENTS = 256
"""A fully connected layer that only the score reads, and of no more outputs, is taken for a part of the score: a
variance and a mean in INT8 leave a divergence no resolution."""
_SUM_TOLERANCE = 1e-3


def is_layer(state: Translation, node: onnx.NodeProto) -> bool:
    """Whether a node has weights of its own, and is more than the smoothing of a map."""
    if node.op_type not in LAYERS or not state.is_constant(node.input[1]):
        return False
    return node.op_type != "Conv" or not smooths(state, node)


def smooths(state: Translation, node: onnx.NodeProto) -> bool:
    """Whether a convolution averages places of each channel, as behind a map: no weight is negative, their sum is 1."""
    weight = state.constants[node.input[1]]
    if len(node.input) > 2 or weight.shape[1] != 1 or weight[0, 0].size == 1 or (weight < 0).any():
        return False
    return bool(np.abs(weight.sum((1, 2, 3)) - 1).max() < _SUM_TOLERANCE) and bool((weight == weight[:1]).all())


def activation_of(state: Translation, name: str) -> tuple[dict[str, Any], str]:
    """The activation that can be taken into the layer that writes `name`, and the result behind it."""
    reader = state.only_reader(name)
    if reader is None:
        return {}, name
    found: dict[str, Any] = {}
    match reader.op_type:
        case "Relu":
            found = {"activation": "relu"}
        case "LeakyRelu":
            found = {"activation": "leaky", "slope": float(state.attribute(reader, "alpha", 0.01))}
        case "Clip" if _limits(state, reader) == (0.0, 6.0):
            found = {"activation": "relu6"}
        case "Clip" if _limits(state, reader) == (0.0, None):
            found = {"activation": "relu"}
        case _:
            return {}, name
    state.done.add(reader.output[0])
    return found, reader.output[0]


def _limits(state: Translation, node: onnx.NodeProto) -> tuple[float | None, float | None]:
    if any(name and not state.is_constant(name) for name in node.input[1:]):
        return (None, None)
    low, high = state.setting(node, "min", 1), state.setting(node, "max", 2)
    return low, high if high is None or high < 1e30 else None


def conv(state: Translation, node: onnx.NodeProto) -> None:
    """A convolution, its padding made equal on opposite sides."""
    weight = state.constant(node, 1)
    if weight.ndim != 4:
        state.refuse(node, f"a convolution of {weight.ndim - 2} dimensions; budgetc has those of pictures, 2")
    bias = state.constant(node, 2) if len(node.input) > 2 and node.input[2] else np.zeros(len(weight))
    stride, dilation = pair_of(state, node, "strides"), pair_of(state, node, "dilations")
    groups = int(state.attribute(node, "group", 1))
    source = state.read(node.input[0])
    pads = padding_of(state, node, weight.shape[2:])
    if pads[:2] != pads[2:]:
        source = state.call("Pad", [source], pads=torch_pads(pads))
        pads = (0, 0, 0, 0)
    head = smooths(state, node)
    if not head:
        source = state.rounded(source, weight.shape[1] * groups)
    activation, result = activation_of(state, node.output[0])
    state.write(result, state.unit(lambda name: ConvNode(
        name=name, source=result[:512], inputs=(source,), channels=(weight.shape[1] * groups, len(weight)),
        kernel=weight.shape[2:], stride=stride, padding=pads[:2], dilation=dilation, groups=groups, head=head,
        **activation,
    ), weight, bias))  # fmt: skip


def conv_transpose(state: Translation, node: onnx.NodeProto) -> None:
    """A transposed convolution; 2x2 at stride 2 as the convolution that it is."""
    weight = state.constant(node, 1)
    if weight.ndim != 4:
        state.refuse(
            node, f"a transposed convolution of {weight.ndim - 2} dimensions; budgetc has those of pictures, 2"
        )
    groups = int(state.attribute(node, "group", 1))
    outputs = weight.shape[1] * groups
    bias = state.constant(node, 2) if len(node.input) > 2 and node.input[2] else np.zeros(outputs)
    stride, dilation = pair_of(state, node, "strides"), pair_of(state, node, "dilations")
    extra = pair_of(state, node, "output_padding", 0)
    pads = tuple(state.attribute(node, "pads", [0, 0, 0, 0]))
    if state.attribute(node, "auto_pad", "NOTSET") != "NOTSET" or state.attribute(node, "output_shape"):
        state.refuse(node, "output_shape or auto_pad of a transposed convolution; export it with explicit pads")
    if pads[:2] != pads[2:]:
        # Fewer rows at the end are a smaller output_padding; budgetc knows no negative one.
        extra = (extra[0] + pads[0] - pads[2], extra[1] + pads[1] - pads[3])
        if min(extra) < 0:
            state.refuse(node, f"pads {pads}: more at the end than at the start; pad equally and crop")
    channels = (weight.shape[0], outputs)
    subpixel = (weight.shape[2:], stride, dilation, groups, pads[:2], extra) == (
        (2, 2), (2, 2), (1, 1), 1, (0, 0), (0, 0)
    )  # fmt: skip
    if subpixel:
        weight, bias = subpixel_weight_of(weight), np.repeat(bias, 4)
    source = state.read(node.input[0])
    if subpixel:
        source = state.rounded(source, channels[0])
    activation, result = activation_of(state, node.output[0])
    state.write(result, state.unit(lambda name: UpNode(
        name=name, source=result[:512], inputs=(source,), channels=channels,
        kernel=state.constant(node, 1).shape[2:], stride=stride, padding=pads[:2], extra=extra, dilation=dilation,
        groups=groups, subpixel=subpixel, **activation,
    ), weight, bias))  # fmt: skip


def subpixel_weight_of(weight: Array) -> Array:
    """(in, out, 2, 2) of a transposed convolution -> (4 out, in, 1, 1) of a convolution."""
    return subpixel_weight(torch.from_numpy(np.array(weight, np.float32))).numpy()


def gemm(state: Translation, node: onnx.NodeProto) -> None:
    """A fully connected layer, or the product of two results."""
    if state.attribute(node, "transA", 0):
        state.refuse(node, "transA = 1: pictures along the columns; transpose before the layer")
    alpha, beta = float(state.attribute(node, "alpha", 1.0)), float(state.attribute(node, "beta", 1.0))
    weight = state.constant(node, 1) * alpha
    if not state.attribute(node, "transB", 0):
        weight = weight.T
    bias = state.constant(node, 2) * beta if len(node.input) > 2 and node.input[2] else np.zeros(len(weight))
    linear(
        state, node.output[0], state.read(node.input[0]), weight=weight, bias=np.broadcast_to(bias.ravel(), len(weight))
    )


def matmul(state: Translation, node: onnx.NodeProto) -> None:
    """Rows times a constant matrix are a fully connected layer; anything else is plain arithmetic."""
    left, right = node.input
    rank = len(state.shape(left))
    if not state.is_constant(right) or state.constants[right].ndim != 2 or state.is_constant(left) or rank < 2:
        state.write(node.output[0], state.call("MatMul", [state.read(left), state.read(right)], node.output[0]))
        return
    weight, result = state.constants[right].T, node.output[0]
    bias, result = _added(state, result, len(weight))
    source = state.read(left)
    if rank > 2:
        source = state.call("ToRows", [source])
    made, behind = linear(state, result, source, weight=weight, bias=bias)
    if rank > 2:
        sides = (-1 if state.batched else state.shape(left)[0], *state.shape(left)[1:-1])
        state.write(behind, state.call("FromRows", [made], behind, sides=sides))


def _added(state: Translation, name: str, size: int) -> tuple[Array, str]:
    """The constant that the only reader adds to each row, and the result behind it."""
    reader = state.only_reader(name)
    if reader is not None and reader.op_type == "Add":
        other = next((one for one in reader.input if one != name), name)
        if state.is_constant(other) and state.constants[other].size == size and state.shape(other)[-1] == size:
            state.done.add(reader.output[0])
            return state.constants[other].ravel(), reader.output[0]
    return np.zeros(size), name


def linear(state: Translation, result: str, source: str, *, weight: Array, bias: Array) -> tuple[str, str]:
    """Append a fully connected layer that computes `result`; weight is (out, in).

    Returns:
        Its name, and the result in the file that it writes: with an activation that was taken in, that one's.
    """
    head = result not in state.before_layer and len(weight) <= MOST_LATENTS
    if not head:
        source = state.rounded(source, weight.shape[1])
    activation, behind = activation_of(state, result)
    made = state.unit(lambda name: LinearNode(
        name=name, source=behind[:512], inputs=(source,), features=weight.shape[::-1], head=head, **activation
    ), weight, bias)  # fmt: skip
    state.write(behind, made)
    return made, behind


def add(state: Translation, node: onnx.NodeProto) -> None:
    """A unit where two results of one shape meet before a layer, else plain arithmetic."""
    a, b = node.input
    alike = state.shape(a) == state.shape(b) and not state.is_constant(a) and not state.is_constant(b)
    if not alike or node.output[0] not in state.before_layer:
        state.write(node.output[0], state.call("Add", [state.read(a), state.read(b)], node.output[0]))
        return
    inputs = tuple(state.rounded(state.read(one), 0) for one in (a, b))
    activation, result = activation_of(state, node.output[0])
    state.write(result, state.unit(lambda name: AddNode.model_validate(
        {"name": name, "source": result[:512], "inputs": inputs, **activation}
    )))  # fmt: skip


def concat(state: Translation, node: onnx.NodeProto) -> None:
    """A unit where channels stand side by side before a layer, else plain torch."""
    rank = len(state.shape(node.output[0]))
    (axis,) = state.axes(node, [state.attribute(node, "axis", 1)], rank)
    inputs = tuple(state.read(one) for one in node.input)
    body = axis == 1 and node.output[0] in state.before_layer and not any(map(state.is_constant, node.input))
    if body:
        state.write(node.output[0], state.unit(
            lambda name: ConcatNode(name=name, source=node.output[0][:512], inputs=inputs)
        ))  # fmt: skip
    else:
        state.write(node.output[0], state.call("Concat", inputs, node.output[0], axis=axis))


def padding_of(state: Translation, node: onnx.NodeProto, kernel: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of a layer that slides over a picture."""
    mode = state.attribute(node, "auto_pad", "NOTSET")
    if mode == "VALID":
        return 0, 0, 0, 0
    if mode == "NOTSET":
        top, left, bottom, right = state.attribute(node, "pads", [0, 0, 0, 0])
        if min(top, left, bottom, right) < 0:
            state.refuse(node, f"negative pads {top, left, bottom, right}; crop before the layer")
        return top, left, bottom, right
    starts, ends = [], []
    stride, dilation = pair_of(state, node, "strides"), pair_of(state, node, "dilations")
    for side, k, s, d in zip(state.shape(node.input[0])[2:], kernel, stride, dilation, strict=True):
        total = max((-(-side // s) - 1) * s + (k - 1) * d + 1 - side, 0)
        small, large = total // 2, total - total // 2
        starts.append(large if mode == "SAME_LOWER" else small)
        ends.append(small if mode == "SAME_LOWER" else large)
    return starts[0], starts[1], ends[0], ends[1]


def torch_pads(pads: tuple[int, int, int, int]) -> tuple[int, ...]:
    """As `F.pad` takes them: the last dimension first."""
    top, left, bottom, right = pads
    return left, right, top, bottom


def pair_of(state: Translation, node: onnx.NodeProto, name: str, default: int = 1) -> tuple[int, int]:
    """A setting of rows and columns."""
    first, second = state.attribute(node, name, [default, default])
    return first, second


HANDLERS: Mapping[str, Any] = {
    "Add": add,
    "Concat": concat,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
}

"""Nodes that are no layers: what of their ONNX settings torch needs, in its terms."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto

from budgetc.detectors.graph.operators import Attribute
from budgetc.load.graph import indexing
from budgetc.load.graph.attention import attention
from budgetc.load.graph.pooling import POOLING
from budgetc.load.graph.resizing import resize
from budgetc.load.graph.translator import Translation

Handler = Callable[[Translation, onnx.NodeProto], None]
_PLAIN = (
    "Abs", "Acos", "And", "Asin", "Atan", "Ceil", "Cos", "Cosh", "Div", "Equal", "Erf", "Exp", "Floor", "Greater",
    "GreaterOrEqual", "HardSwish", "Less", "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Not", "Or",
    "Pow", "PRelu", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt",
    "Sub", "Sum", "Tan", "Tanh", "Where",
)  # fmt: skip
"""Without any setting."""
_REDUCED = ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
            "ReduceSum", "ReduceSumSquare")  # fmt: skip
_KINDS = {TensorProto.FLOAT: "float", TensorProto.DOUBLE: "float", TensorProto.INT64: "int", TensorProto.INT32: "int",
          TensorProto.BOOL: "bool"}  # fmt: skip
_NUMBERS: Mapping[str, Mapping[str, float]] = {
    "Celu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
    "ThresholdedRelu": {"alpha": 1.0},
}
"""Operator -> its numbers and their defaults."""
_AXIS: Mapping[str, int] = {"LogSoftmax": -1, "Softmax": -1}


def _plain(state: Translation, node: onnx.NodeProto) -> None:
    inputs = [state.read(name) for name in node.input]
    state.write(node.output[0], state.call(node.op_type, inputs, node.output[0]))


def _numbers(state: Translation, node: onnx.NodeProto) -> None:
    found = {name: float(state.attribute(node, name, value)) for name, value in _NUMBERS[node.op_type].items()}
    _call(state, node, **found)


def _call(state: Translation, node: onnx.NodeProto, op: str = "", /, **attributes: Attribute) -> None:
    """An operator of the first input alone."""
    made = state.call(op or node.op_type, [state.read(node.input[0])], node.output[0], **attributes)
    state.write(node.output[0], made)


def _same(state: Translation, node: onnx.NodeProto) -> None:
    state.write(node.output[0], state.read(node.input[0]))


def _along(state: Translation, node: onnx.NodeProto) -> None:
    rank = len(state.shape(node.input[0]))
    (axis,) = state.axes(node, [state.attribute(node, "axis", _AXIS[node.op_type])], rank)
    _call(state, node, axis=axis)


def _selu(state: Translation, node: onnx.NodeProto) -> None:
    if not math.isclose(state.attribute(node, "alpha", 1.67326), 1.67326, rel_tol=1e-4):
        state.refuse(node, "alpha is not that of SELU")
    _call(state, node)


def _gelu(state: Translation, node: onnx.NodeProto) -> None:
    _call(state, node, approximate=state.attribute(node, "approximate", "none"))


def _clip(state: Translation, node: onnx.NodeProto) -> None:
    limits = {"low": state.setting(node, "min", 1), "high": state.setting(node, "max", 2)}
    _call(state, node, **{name: float(x) for name, x in limits.items() if x is not None and abs(x) < 1e38})


def _cast(state: Translation, node: onnx.NodeProto) -> None:
    to = state.attribute(node, "to")
    if to not in _KINDS:
        state.refuse(node, f"to {TensorProto.DataType.Name(to)}; float, integers and bool are known")
    _call(state, node, to=_KINDS[to])


def _reduce(state: Translation, node: onnx.NodeProto) -> None:
    rank = len(state.shape(node.input[0]))
    given = state.setting(node, "axes", 1)
    if given is None and state.attribute(node, "noop_with_empty_axes", 0):
        return _same(state, node)
    axes = state.axes(node, given or range(rank), rank)
    if state.batched:  # over the one picture there is nothing to reduce
        axes = tuple(axis for axis in axes if axis > 0)
    _call(state, node, axes=axes, keepdims=int(state.attribute(node, "keepdims", 1)))
    return None


def _reshape(state: Translation, node: onnx.NodeProto) -> None:
    before, shape = state.shape(node.input[0]), state.shape(node.output[0])
    _call(state, node, "Reshape", shape=_relative(before, shape) if state.batched and shape else shape)


def _relative(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    """A shape that fits other batches and fewer channels, too: 0 for a side that stays, -1 for the last of the others.

    The first side is the batch.
    """
    kept = 1
    while kept < min(len(before), len(after)) and before[kept] == after[kept]:
        kept += 1
    others = after[kept:]
    return (*([0] * kept), *others[:-1], *([-1] if others and others[-1] else others[-1:]))


def _squeeze(state: Translation, node: onnx.NodeProto) -> None:
    shape = state.shape(node.input[0])
    given = state.setting(node, "axes", 1) or [axis for axis, side in enumerate(shape) if side == 1]
    axes = state.axes(node, given, len(shape))
    _call(state, node, axes=tuple(axis for axis in axes if axis > 0 or not state.batched))


def _unsqueeze(state: Translation, node: onnx.NodeProto) -> None:
    _call(state, node, axes=state.axes(node, state.setting(node, "axes", 1), len(state.shape(node.output[0]))))


def _transpose(state: Translation, node: onnx.NodeProto) -> None:
    rank = len(state.shape(node.input[0]))
    _call(state, node, perm=tuple(state.attribute(node, "perm", range(rank)[::-1])))


def _expand(state: Translation, node: onnx.NodeProto) -> None:
    before, after = state.shape(node.input[0]), state.shape(node.output[0])
    aligned = (0,) * (len(after) - len(before)) + before
    shape = tuple(-1 if a == b else b for a, b in zip(aligned, after, strict=True))
    _call(state, node, shape=shape)


def _tile(state: Translation, node: onnx.NodeProto) -> None:
    _call(state, node, repeats=tuple(state.setting(node, "repeats", 1)))


def _pad(state: Translation, node: onnx.NodeProto) -> None:
    rank = len(state.shape(node.input[0]))
    mode, given = state.attribute(node, "mode", "constant"), list(state.setting(node, "pads", 1))
    axes = state.axes(node, state.setting(node, "axes", 3) or range(rank), rank)
    value = state.setting(node, "value", 2, 0.0)
    half = len(given) // 2
    before, after = (dict(zip(axes, part, strict=True)) for part in (given[:half], given[half:]))
    pads = [side for axis in reversed(range(rank)) for side in (before.get(axis, 0), after.get(axis, 0))]
    while len(pads) > 4 and not any(pads[-2:]):
        del pads[-2:]
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in modes or (mode != "constant" and len(pads) > 4):
        state.refuse(node, f"mode {mode} with pads {given}; rows and columns of a picture can be padded so")
    _call(state, node, pads=tuple(pads), mode=modes[mode], value=float(np.ravel(value)[0]))


def _depth_to_space(state: Translation, node: onnx.NodeProto) -> None:
    _call(state, node, block=int(state.attribute(node, "blocksize")), mode=state.attribute(node, "mode", "DCR"))


def _constant(state: Translation, node: onnx.NodeProto) -> None:
    (value,) = node.attribute
    held = onnx.helper.get_attribute_value(value)
    state.constants[node.output[0]] = onnx.numpy_helper.to_array(held) if value.name == "value" else np.array(held)


def _batch_norm(state: Translation, node: onnx.NodeProto) -> None:
    scale, shift, mean, variance = (state.constant(node, place).astype(np.float64) for place in range(1, 5))
    gain = scale / np.sqrt(variance + state.attribute(node, "epsilon", 1e-5))
    shape = [1, -1, *[1] * (len(state.shape(node.input[0])) - 2)]
    factor, addend = (state.keep(x.reshape(shape)) for x in (gain, shift - mean * gain))
    made = state.call("Mul", [state.read(node.input[0]), factor])
    state.write(node.output[0], state.call("Add", [made, addend], node.output[0]))


def _instance_norm(state: Translation, node: onnx.NodeProto) -> None:
    inputs = [state.read(name) for name in node.input]
    made = state.call("InstanceNorm", inputs, node.output[0], eps=float(state.attribute(node, "epsilon", 1e-5)))
    state.write(node.output[0], made)


def _layer_norm(state: Translation, node: onnx.NodeProto) -> None:
    (axis,) = state.axes(node, [state.attribute(node, "axis", -1)], len(state.shape(node.input[0])))
    inputs = [state.read(name) for name in node.input if name]
    eps = float(state.attribute(node, "epsilon", 1e-5))
    state.write(node.output[0], state.call("LayerNorm", inputs, node.output[0], axis=axis, eps=eps))


def _rms_norm(state: Translation, node: onnx.NodeProto) -> None:
    (axis,) = state.axes(node, [state.attribute(node, "axis", -1)], len(state.shape(node.input[0])))
    inputs = [state.read(name) for name in node.input]
    eps = float(state.attribute(node, "epsilon", 1e-5))
    state.write(node.output[0], state.call("RMSNorm", inputs, node.output[0], axis=axis, eps=eps))


def _group_norm(state: Translation, node: onnx.NodeProto) -> None:
    groups, channels = int(state.attribute(node, "num_groups")), state.shape(node.input[0])[1]
    vectors = [state.constant(node, place) for place in (1, 2)]
    # Until opset 20 there is one number a group.
    each = [state.keep(v if len(v) == channels else np.repeat(v, channels // groups)) for v in vectors]
    eps = float(state.attribute(node, "epsilon", 1e-5))
    inputs = [state.read(node.input[0]), *each]
    state.write(node.output[0], state.call("GroupNorm", inputs, node.output[0], groups=groups, eps=eps))


def _lp(state: Translation, node: onnx.NodeProto) -> None:
    (axis,) = state.axes(node, [state.attribute(node, "axis", -1)], len(state.shape(node.input[0])))
    _call(state, node, axis=axis, p=int(state.attribute(node, "p", 2)))


def _einsum(state: Translation, node: onnx.NodeProto) -> None:
    inputs = [state.read(name) for name in node.input]
    equation = state.attribute(node, "equation").replace(" ", "")
    state.write(node.output[0], state.call("Einsum", inputs, node.output[0], equation=equation))


HANDLERS: Mapping[str, Handler] = {
    **dict.fromkeys(_PLAIN, _plain), **dict.fromkeys(_REDUCED, _reduce), **dict.fromkeys(_NUMBERS, _numbers),
    **dict.fromkeys(_AXIS, _along), **POOLING, **indexing.HANDLERS,
    "BatchNormalization": _batch_norm, "Cast": _cast, "Clip": _clip, "Constant": _constant,
    "DepthToSpace": _depth_to_space, "Dropout": _same, "Einsum": _einsum, "Expand": _expand, "Flatten": _reshape,
    "Gelu": _gelu, "GroupNormalization": _group_norm, "Identity": _same, "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm, "LpNormalization": _lp, "Pad": _pad, "Reshape": _reshape, "Resize": resize,
    "RMSNormalization": _rms_norm, "Attention": attention,
    "Selu": _selu, "Squeeze": _squeeze, "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze, "Upsample": resize,
}  # fmt: skip

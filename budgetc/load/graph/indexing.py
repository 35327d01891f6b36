"""Operators that choose places: slices, gathers by constant or computed indices, and where the largest values lie."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from budgetc.load.graph.translator import Array, Translation

_MANY = 65536
"""Indices that are no longer settings of a node, but a constant."""


def _slice(state: Translation, node: onnx.NodeProto) -> None:
    shape = state.shape(node.input[0])
    starts, ends = state.setting(node, "starts", 1), state.setting(node, "ends", 2)
    given = state.setting(node, "axes", 3) or list(range(len(starts)))
    steps = state.setting(node, "steps", 4) or [1] * len(starts)
    cuts = []
    for axis, start, end, step in zip(given, starts, ends, steps, strict=True):
        if step < 1:
            state.refuse(node, f"steps {steps}: backwards; flip the weights instead")
        own = axis % len(shape)
        first, last, _ = slice(start, end).indices(shape[own])
        if (first, last, step) != (0, shape[own], 1):
            cuts.append((own, first, max(last, first), step))
    axes, begins, stops, strides = zip(*cuts, strict=True) if cuts else ((), (), (), ())
    made = state.call("Slice", [state.read(node.input[0])], node.output[0], starts=begins, ends=stops, axes=axes,
                      steps=strides)  # fmt: skip
    state.write(node.output[0], made)


def _split(state: Translation, node: onnx.NodeProto) -> None:
    rank = len(state.shape(node.input[0]))
    (axis,) = state.axes(node, [state.attribute(node, "axis", 0)], rank)
    source, start = state.read(node.input[0]), 0
    for name in node.output:
        end = start + state.shape(name)[axis]
        made = state.call("Slice", [source], name, starts=(start,), ends=(end,), axes=(axis,), steps=(1,))
        state.write(name, made)
        start = end


def _gather(state: Translation, node: onnx.NodeProto) -> None:
    (axis,) = state.axes(node, [state.attribute(node, "axis", 0)], len(state.shape(node.input[0])))
    if not state.is_constant(node.input[1]):
        inputs = [state.read(name) for name in node.input]
        state.write(node.output[0], state.call("Take", inputs, node.output[0], axis=axis))
    elif state.constant(node, 1).ndim > 1:
        state.refuse(node, f"indices of {state.constant(node, 1).ndim} dimensions; 0 or 1 are known")
    else:
        _gathered(state, node, state.constant(node, 1), axis)


def _gathered(state: Translation, node: onnx.NodeProto, indices: Array, axis: int) -> None:
    shape, source = state.shape(node.input[0]), state.read(node.input[0])
    if state.batched and axis == 0 and indices.size == 1 and shape[0] == 1:
        state.write(node.output[0], source)  # the one picture
        return
    wanted = [int(index) % shape[axis] for index in indices.ravel()]
    if wanted == list(range(wanted[0], wanted[0] + len(wanted))):
        made = state.call("Slice", [source], starts=(wanted[0],), ends=(wanted[-1] + 1,), axes=(axis,), steps=(1,))
    elif len(wanted) > _MANY:
        made = state.call("Take", [source, state.keep(np.array(wanted))], axis=axis)
    else:
        made = state.call("Gather", [source], indices=tuple(wanted), axis=axis)
    if indices.ndim == 0:
        made = state.call("Squeeze", [made], node.output[0], axes=(axis,))
    state.write(node.output[0], made)


def _gather_nd(state: Translation, node: onnx.NodeProto) -> None:
    """Entries of one axis, as PyTorch's newer exporter writes `x[:, channels]`."""
    indices, axis = state.constant(node, 1), int(state.attribute(node, "batch_dims", 0))
    if axis or indices.ndim != 2 or indices.shape[1] != 1:
        state.refuse(node, f"indices of shape {indices.shape} with batch_dims {axis}; (n, 1) and 0 are known")
    _gathered(state, node, indices[:, 0], 0)


def _gather_elements(state: Translation, node: onnx.NodeProto) -> None:
    (axis,) = state.axes(node, [state.attribute(node, "axis", 0)], len(state.shape(node.input[0])))
    inputs = [state.read(name) for name in node.input]
    state.write(node.output[0], state.call("GatherElements", inputs, node.output[0], axis=axis))


def _extreme(state: Translation, node: onnx.NodeProto) -> None:
    """Where the largest or the smallest value lies."""
    (axis,) = state.axes(node, [state.attribute(node, "axis", 0)], len(state.shape(node.input[0])))
    if state.attribute(node, "select_last_index", 0):
        state.refuse(node, "select_last_index 1: the last of equal values; the first is known")
    made = state.call(node.op_type, [state.read(node.input[0])], node.output[0], axis=axis,
                      keepdims=int(state.attribute(node, "keepdims", 1)))  # fmt: skip
    state.write(node.output[0], made)


def _top_k(state: Translation, node: onnx.NodeProto) -> None:
    (axis,) = state.axes(node, [state.attribute(node, "axis", -1)], len(state.shape(node.input[0])))
    # In order: what asks for no order is content with any.
    k = int(np.ravel(state.setting(node, "k", 1))[0])
    largest, source = int(state.attribute(node, "largest", 1)), state.read(node.input[0])
    for op, name in zip(("TopK", "TopPlaces"), node.output, strict=False):
        if name and state.readers[name]:
            state.write(name, state.call(op, [source], name, k=k, axis=axis, largest=largest))


HANDLERS: Mapping[str, Callable[[Translation, onnx.NodeProto], None]] = {
    "ArgMax": _extreme,
    "ArgMin": _extreme,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Slice": _slice,
    "Split": _split,
    "TopK": _top_k,
}

"""Windows that slide over a picture and have no weights."""

from collections.abc import Mapping
from typing import Any

import onnx

from budgetc.load.graph.layers import padding_of, pair_of, torch_pads
from budgetc.load.graph.translator import Translation

_LOWEST = -3.0e38
"""Below everything that a map holds: no padded place is a maximum."""


def _max_pool(state: Translation, node: onnx.NodeProto) -> None:
    if len(node.output) > 1 and node.output[1]:
        state.refuse(node, "its indices are used; budgetc has no unpooling")
    kernel, dilation = _kernel(state, node), pair_of(state, node, "dilations")
    source, padding = _padded(state, node, kernel, value=_LOWEST)
    made = state.call(
        "MaxPool", [source], node.output[0], kernel=kernel, stride=pair_of(state, node, "strides"), padding=padding,
        dilation=dilation, ceil=int(state.attribute(node, "ceil_mode", 0)),
    )  # fmt: skip
    state.write(node.output[0], made)


def _average_pool(state: Translation, node: onnx.NodeProto) -> None:
    kernel, counts = _kernel(state, node), int(state.attribute(node, "count_include_pad", 0))
    source, padding = _padded(state, node, kernel, value=0.0 if counts else None)
    made = state.call(
        "AveragePool", [source], node.output[0], kernel=kernel, stride=pair_of(state, node, "strides"),
        padding=padding, ceil=int(state.attribute(node, "ceil_mode", 0)), counts=counts,
    )  # fmt: skip
    state.write(node.output[0], made)


def _kernel(state: Translation, node: onnx.NodeProto) -> tuple[int, int]:
    kernel = state.attribute(node, "kernel_shape")
    if len(kernel) != 2:
        state.refuse(node, f"a window of {len(kernel)} dimensions; budgetc has those of pictures, 2")
    return kernel[0], kernel[1]


def _padded(
    state: Translation, node: onnx.NodeProto, kernel: tuple[int, int], *, value: float | None
) -> tuple[str, tuple[int, int]]:
    """What is pooled, and how much padding is left to the pooling: it knows equal padding of half a window."""
    pads, source = padding_of(state, node, kernel), state.read(node.input[0])
    if pads[:2] == pads[2:] and all(pad <= side // 2 for pad, side in zip(pads[:2], kernel, strict=True)):
        return source, pads[:2]
    if value is None:
        state.refuse(node, f"pads {pads} that do not count; pad equally, or with count_include_pad=1")
    return state.call("Pad", [source], pads=torch_pads(pads), value=value), (0, 0)


def _global(op: str) -> Any:
    def handle(state: Translation, node: onnx.NodeProto) -> None:
        state.write(node.output[0], state.call(op, [state.read(node.input[0])], node.output[0]))

    return handle


POOLING: Mapping[str, Any] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global("GlobalAveragePool"),
    "GlobalMaxPool": _global("GlobalMaxPool"),
    "MaxPool": _max_pool,
}

"""Resizing height and width: the ways of ONNX that torch has too, and nearest places of any kind."""

import numpy as np
import onnx

from budgetc.load.graph.translator import Translation


def resize(state: Translation, node: onnx.NodeProto) -> None:
    """Append what `Resize` or the older `Upsample` does."""
    before, after = state.shape(node.input[0]), state.shape(node.output[0])
    if len(before) != 4 or before[:2] != after[:2]:
        state.refuse(node, f"from {before} to {after}; only height and width can be resized")
    if state.attribute(node, "antialias", 0):
        state.refuse(node, "antialias = 1; resize without it")
    mode, places = state.attribute(node, "mode", "nearest"), _coordinates(node, state)
    if mode == "nearest":
        _nearest(state, node, places)
        return
    corners = {"half_pixel": 0, "pytorch_half_pixel": 0, "align_corners": 1}.get(places)
    if corners is None or mode not in ("linear", "cubic"):
        state.refuse(node, f"mode {mode} with coordinates {places}; half_pixel and align_corners are known")
    made = state.call("Resize", [state.read(node.input[0])], node.output[0], size=after[2:], mode=mode, corners=corners)
    state.write(node.output[0], made)


def _coordinates(node: onnx.NodeProto, state: Translation) -> str:
    # What Upsample and the first Resize did is called asymmetric since opset 11.
    default = "asymmetric" if _is_old(node) else "half_pixel"
    return str(state.attribute(node, "coordinate_transformation_mode", default))


def _is_old(node: onnx.NodeProto) -> bool:
    return node.op_type == "Upsample" or len(node.input) == 2


def _nearest(state: Translation, node: onnx.NodeProto, places: str) -> None:
    """By torch's rule where it is the same one, else by the numbers of rows and columns."""
    before, after = state.shape(node.input[0])[2:], state.shape(node.output[0])[2:]
    found = [_indices(state, node, places, axis=axis) for axis in (0, 1)]
    source = state.read(node.input[0])
    for mode, offset in (("nearest", 0.0), ("exact", 0.5)):
        rule = [[int((i + offset) * a / b) for i in range(b)] for a, b in zip(before, after, strict=True)]
        if rule == found:
            made = state.call("Resize", [source], node.output[0], size=after, mode=mode)
            break
    else:
        rows = state.call("Gather", [source], indices=tuple(found[0]), axis=2)
        made = state.call("Gather", [rows], node.output[0], indices=tuple(found[1]), axis=3)
    state.write(node.output[0], made)


def _indices(state: Translation, node: onnx.NodeProto, places: str, *, axis: int) -> list[int]:
    """The row or column that each one of the result is."""
    before, after = (state.shape(name)[2 + axis] for name in (node.input[0], node.output[0]))
    scales = state.setting(node, "scales", 1 if _is_old(node) else 2)
    scale = scales[2 + axis] if scales else after / before
    i = np.arange(after, dtype=np.float64)
    match places:
        case "asymmetric":
            x = i / scale
        case "half_pixel":
            x = (i + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            x = (i + 0.5) / scale - 0.5 if after > 1 else i * 0
        case "align_corners":
            x = i * (before - 1) / max(after - 1, 1)
        case _:
            state.refuse(node, f"coordinates {places}; asymmetric, half_pixel and align_corners are known")
    rounding = state.attribute(node, "nearest_mode", "floor" if _is_old(node) else "round_prefer_floor")
    rules = {"floor": np.floor(x), "ceil": np.ceil(x), "round_prefer_floor": np.ceil(x - 0.5),
             "round_prefer_ceil": np.floor(x + 0.5)}  # fmt: skip
    chosen: list[int] = np.clip(rules[rounding], 0, before - 1).astype(int).tolist()
    return chosen

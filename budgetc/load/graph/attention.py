"""Attention of opset 23 as the products and the softmax that it is."""

import math

import numpy as np
import onnx

from budgetc.load.graph.translator import Translation

_UNKNOWN = ("is_causal", "softcap", "qk_matmul_output_mode")


def attention(state: Translation, node: onnx.NodeProto) -> None:
    """softmax(scale Q K^T + mask) V of (b, heads, n, d) queries, keys and values, or of (b, n, heads d).

    Refused: caches, causal masks, soft caps, and fewer heads of keys than of queries.
    """
    for name in _UNKNOWN:
        if state.attribute(node, name, 0):
            state.refuse(node, f"{name} {state.attribute(node, name)}; export with opset_version=17")
    extra = [name for name in (*node.input[4:], *node.output[1:]) if name]
    if extra:
        state.refuse(node, f"a cache or a second output ({extra[0]!r}); export with opset_version=17")
    flat = len(state.shape(node.input[0])) == 3
    heads = state.attribute(node, "q_num_heads") if flat else state.shape(node.input[0])[1]
    theirs = state.attribute(node, "kv_num_heads") if flat else state.shape(node.input[1])[1]
    if heads != theirs:
        state.refuse(node, f"{heads} heads of queries and {theirs} of keys; export with opset_version=17")
    query, key, value = (_by_head(state, name, int(heads), flat=flat) for name in node.input[:3])
    shape = state.shape(node.input[0])
    width = shape[-1] // (int(heads) if flat else 1)
    scale = state.keep(np.array(state.attribute(node, "scale", 0.0) or 1 / math.sqrt(width), np.float32))
    turned = state.call("Transpose", [key], perm=(0, 1, 3, 2))
    weights = state.call("MatMul", [state.call("Mul", [query, scale]), turned])
    if len(node.input) > 3 and node.input[3]:
        if state.is_constant(node.input[3]) and state.constants[node.input[3]].dtype == np.bool_:
            state.refuse(node, "a mask of truth values; export with opset_version=17")
        weights = state.call("Add", [weights, state.read(node.input[3])])
    found = state.call("MatMul", [state.call("Softmax", [weights], axis=3), value])
    if flat:
        turned = state.call("Transpose", [found], perm=(0, 2, 1, 3))
        found = state.call("Reshape", [turned], shape=(0, 0, -1))
    state.write(node.output[0], found)


def _by_head(state: Translation, name: str, heads: int, *, flat: bool) -> str:
    """(b, heads, n, d)."""
    source = state.read(name)
    if not flat:
        return source
    parted = state.call("Reshape", [source], shape=(0, 0, heads, -1))
    return state.call("Transpose", [parted], perm=(0, 2, 1, 3))

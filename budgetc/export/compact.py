"""Fewer bytes for the same graph: nothing unused, nothing said that is the default, short names."""

from collections.abc import Container, Iterator
from itertools import count, product
from string import ascii_letters, digits

import onnx

_ONES, _ZEROS = ("dilations", "strides"), ("pads",)
"""Attributes that are left out where all their numbers are 1, or 0: their defaults depend on the rank."""


def compact(model: onnx.ModelProto) -> None:
    """Make the file smaller and leave what it computes, in place.

    In a file of some ten kilobytes, dotted names and attributes at their defaults are several percent of it.
    """
    _drop_unused(model.graph)
    _drop_defaults(model)
    _shorten_names(model)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove initializers that nothing reads."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)


def _drop_defaults(model: onnx.ModelProto) -> None:
    """Remove attributes that say what holds without them."""
    (opset,) = (item.version for item in model.opset_import if not item.domain)
    for node in model.graph.node:
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        for attribute in list(node.attribute):
            if _is_default(node, attribute, known[attribute.name].default_value):
                node.attribute.remove(attribute)


def _is_default(node: onnx.NodeProto, attribute: onnx.AttributeProto, default: onnx.AttributeProto) -> bool:
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name in _ONES:
        return set(value) == {1}
    if attribute.name in _ZEROS:
        return not any(value)
    if (node.op_type, attribute.name) == ("Conv", "kernel_shape"):  # the weight has it
        return True
    return bool(default.name and value == onnx.helper.get_attribute_value(default))


def _shorten_names(model: onnx.ModelProto) -> None:
    """Give inner tensors names of a few bytes and drop node names and notes."""
    graph = model.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    fresh = _short_names(fixed)
    names: dict[str, str] = {name: name for name in ("", *fixed)}

    def short(name: str) -> str:
        if name not in names:
            names[name] = next(fresh)
        return names[name]

    for node in graph.node:
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
        node.ClearField("name")
        node.ClearField("doc_string")
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    graph.ClearField("value_info")
    graph.ClearField("doc_string")
    graph.name = "detector"
    model.ClearField("doc_string")
    model.ClearField("metadata_props")


def _short_names(taken: Container[str]) -> Iterator[str]:
    for length in count(1):
        for letters in product(digits + ascii_letters, repeat=length):
            name = "".join(letters)
            if name not in taken:
                yield name

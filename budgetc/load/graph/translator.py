"""Node after node of a simplified ONNX model becomes a node of a `GraphConfig`: what all of them need."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor

from budgetc.detectors.graph.config import (
    IMAGE,
    CallNode,
    ConstantShape,
    ConvNode,
    LinearNode,
    Node,
    RoundNode,
    UnitNode,
)
from budgetc.detectors.graph.operators import Attribute
from budgetc.errors import InputRejected
from budgetc.load.graph.reading import describe

Array = NDArray[Any]
_PASSING = ("Flatten", "FromRows", "MaxPool", "Reshape", "ToRows", "Transpose")
"""What integers pass through unchanged in every runtime."""
_TABLE, _ROW = 1024, 16
"""Numbers of a constant, and of one of its rows, from which on it is worth a scale a row and codes."""
_DTYPES = {"f": ("float", np.float32), "i": ("int", np.int64), "u": ("int", np.int64), "b": ("bool", np.bool_)}


@dataclass
class Translation:
    """A graph that grows, and what is known of the model that it is made of."""

    where: str
    nodes_of: onnx.GraphProto
    shapes: Mapping[str, tuple[int, ...]]
    """Result in the file -> its shape for one picture."""
    batched: bool
    """Whether axis 0 is taken for the batch."""
    constants: dict[str, Array] = field(default_factory=dict)
    """By their names in the file."""
    names: dict[str, str] = field(default_factory=dict)
    """Result in the file -> node or constant of the graph."""
    nodes: list[Node] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    kept: list[ConstantShape] = field(default_factory=list)
    readers: Counter[str] = field(default_factory=Counter)
    consumers: dict[str, list[onnx.NodeProto]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    """Results that were taken into a node before."""
    before_layer: set[str] = field(default_factory=set)
    """Results that a layer reads, at once or later: the others are the score's."""

    def __post_init__(self) -> None:
        self.constants.update({one.name: numpy_helper.to_array(one) for one in self.nodes_of.initializer})
        for node in self.nodes_of.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
                self.readers[name] += 1
        for value in self.nodes_of.output:
            self.readers[value.name] += 1

    # What a node of the file says.

    def refuse(self, node: onnx.NodeProto, reason: str) -> NoReturn:
        """Say which node is in the way, and why."""
        raise InputRejected(f"{self.where}: {describe(node)}: {reason}")

    def attribute(self, node: onnx.NodeProto, name: str, default: Any = None) -> Any:
        """Of a node, or the default."""
        for one in node.attribute:
            if one.name == name:
                value = helper.get_attribute_value(one)
                return value.decode(errors="replace") if isinstance(value, bytes) else value
        return default

    def setting(self, node: onnx.NodeProto, name: str, place: int, default: Any = None) -> Any:
        """What is an attribute in old opsets and a constant input in new ones, as a list or a number."""
        if len(node.input) > place and node.input[place]:
            return self.constant(node, place).tolist()
        return self.attribute(node, name, default)

    def constant(self, node: onnx.NodeProto, place: int) -> Array:
        """An input that must be known."""
        name = node.input[place]
        if name not in self.constants:
            self.refuse(node, f"input {place} ({name!r}) is computed from the picture; it must be a constant")
        return self.constants[name]

    def is_constant(self, name: str) -> bool:
        """Whether a value of the file does not depend on the picture."""
        return name in self.constants

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a result or a constant, for one picture."""
        return tuple(self.constants[name].shape) if name in self.constants else self.shapes[name]

    def axes(self, node: onnx.NodeProto, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """Axes counted from the front, sorted."""
        if not all(-rank <= axis < rank for axis in axes):
            self.refuse(node, f"axes {tuple(axes)} of a tensor of {rank} dimensions")
        return tuple(sorted(axis % rank for axis in axes))

    def only_reader(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads a result, where it is no output and nothing else reads it."""
        found = self.consumers.get(name, [])
        return found[0] if self.readers[name] == 1 and len(found) == 1 else None

    # What the graph gets.

    def read(self, name: str) -> str:
        """The node or constant of the graph for a value of the file."""
        if name not in self.names:
            self.names[name] = self.keep(self.constants[name])
        return self.names[name]

    def keep(self, value: Array) -> str:
        """A constant among the weights."""
        name = f"const{len(self.kept)}"
        dtype, kind = _DTYPES[value.dtype.kind]
        table = dtype == "float" and value.size >= _TABLE and value.size >= _ROW * len(value)
        described = {"name": name, "shape": value.shape, "dtype": dtype, "table": table}
        self.kept.append(ConstantShape.model_validate(described))
        key = f"layers.{name}.table.weight" if table else f"constants.{name}"
        self.weights[key] = torch.from_numpy(np.array(value, kind))
        return name

    def call(self, op: str, inputs: Sequence[str], source: str = "", **attributes: Attribute) -> str:
        """Append an operator; returns the node's name."""
        name = f"{re.sub('[^a-z]', '', op.lower())[:16]}{len(self.nodes)}"
        self.nodes.append(CallNode(name=name, op=op, inputs=tuple(inputs), attributes=attributes, source=source[:512]))
        return name

    def unit(self, make: Callable[[str], UnitNode], weight: Array | None = None, bias: Array | None = None) -> str:
        """Append a unit and its weights; returns its name."""
        node = make(f"n{len(self.nodes)}")
        self.nodes.append(node)
        if weight is not None and bias is not None:
            layer = "linear" if node.kind == "linear" else "conv"
            for name, value in (("weight", weight), ("bias", bias)):
                self.weights[f"layers.{node.name}.{layer}.{name}"] = torch.from_numpy(np.array(value, np.float32))
        return node.name

    def write(self, name: str, result: str) -> None:
        """What a result of the file is called in the graph."""
        self.names[name] = result

    def rounded(self, name: str, channels: int) -> str:
        """What a layer of `channels` inputs reads, with a place to round where no unit wrote it."""
        if self._is_rounded(name):
            return name
        known = next((n for n in self.nodes if isinstance(n, RoundNode) and n.inputs == (name,)), None)
        if known is not None:
            return known.name
        first = channels == 3 and self._is_picture(name)
        return self.unit(lambda own: RoundNode(name=own, inputs=(name,), first=first))

    def _is_rounded(self, name: str) -> bool:
        node = self._node(name)
        if isinstance(node, CallNode):
            return node.op in _PASSING and self._is_rounded(node.inputs[0])
        return node is not None and not (isinstance(node, ConvNode | LinearNode) and node.head)

    def _is_picture(self, name: str) -> bool:
        """Whether nothing but plain operators lies between the picture and a result."""
        if name == IMAGE or name.startswith("const"):
            return True
        node = self._node(name)
        return isinstance(node, CallNode) and all(self._is_picture(one) for one in node.inputs)

    def _node(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

"""Shapes, constants and lifetimes of a graph's tensors."""

import math
from dataclasses import dataclass, field

import onnx

from budgetc.errors import BudgetcError


@dataclass(frozen=True, slots=True)
class Tensors:
    """What is known of every tensor of a graph by name."""

    shapes: dict[str, tuple[int, ...]]
    constants: set[str]
    """Initializers and everything that follows from them alone: folded when the file is loaded."""
    types: dict[str, int] = field(default_factory=dict)
    """ONNX element types of the constants that lie in the file, under the name of what they become."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one tensor.

        Raises:
            BudgetcError: it is not known.
        """
        if name not in self.shapes:
            raise BudgetcError(f"the shape of tensor {name!r} is unknown; export the graph with static shapes")
        return self.shapes[name]

    def elements(self, name: str) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape(name))

    def half(self, name: str) -> bool:
        """Whether a constant lies in the file as FP16."""
        return self.types.get(name) == onnx.TensorProto.FLOAT16

    def integer(self, name: str) -> bool:
        """Whether a constant lies in the file in at most 8 bits."""
        return self.types.get(name) in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


_CARRIES = {"Cast", "DequantizeLinear", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Gather", "Split"}
"""Operators after which a weight still computes as it is stored. A product of levels and scales computes in FP32."""


def read_tensors(model: onnx.ModelProto) -> Tensors:
    """Shapes by inference at the static input sizes; constants by following initializers."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.output, *inferred.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    types = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    constants = set(types)
    for node in inferred.node:
        known = [name for name in node.input if name]
        if node.op_type == "Constant" or (known and all(name in constants for name in known)):
            constants.update(node.output)
            if node.op_type in _CARRIES and known and known[0] in types:
                types.update(dict.fromkeys(node.output, types[known[0]]))
    return Tensors(shapes, constants, types)


def folded(graph: onnx.GraphProto, tensors: Tensors) -> set[str]:
    """Outputs of nodes that never run."""
    return {name for node in graph.node for name in node.output if name in tensors.constants}


def live_peak(graph: onnx.GraphProto, tensors: Tensors, *, halves: bool) -> int:
    """Largest sum of bytes of activations alive at once, nodes executed in the order of the file.

    Rounded tensors count one byte, others four, or two where the graph computes in FP16.
    """
    nodes = [node for node in graph.node if node.output[0] not in tensors.constants]
    kept = {value.name for value in graph.output}
    last = {name: number for number, node in enumerate(nodes) for name in node.input}
    alive = {value.name for value in graph.input if value.name not in tensors.constants}
    width = {name: 2 if halves else 4 for node in nodes for name in node.output}
    width |= {node.output[0]: 1 for node in nodes if node.op_type == "QuantizeLinear"}
    peak = 0
    for number, node in enumerate(nodes):
        alive.update(name for name in node.output if name in tensors.shapes)
        peak = max(peak, sum(tensors.elements(name) * width.get(name, 4) for name in alive))
        alive = {name for name in alive if name in kept or last.get(name, -1) > number}
    return peak

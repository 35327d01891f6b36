"""An ONNX file -> the operators that the target's runtime will launch, after its folding and fusion.

Constants fold. A layer takes in its activation and its Q/DQ pairs; TensorRT also takes in a residual addition, fuses
chains of pointwise operators into one kernel and concatenates in place, onnxruntime does none of the three.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import onnx

from budgetc.core.operator import Dtype, Kind, Operator
from budgetc.core.target import Target
from budgetc.errors import BudgetcError
from budgetc.measurement.contractions import contraction
from budgetc.measurement.tensors import Tensors, folded, live_peak, read_tensors

_LAYERS: dict[str, Kind] = {
    "Conv": "conv", "ConvTranspose": "transposed", "Gemm": "linear", "MatMul": "linear",
    "QLinearConv": "conv", "ConvInteger": "conv", "QLinearMatMul": "linear", "MatMulInteger": "linear",
}  # fmt: skip
_INTEGERS = {"QLinearConv", "ConvInteger", "QLinearMatMul", "MatMulInteger"}
_WEIGHT_AT = {"QLinearConv": 3, "QLinearMatMul": 3}
"""Which input holds the weights, where it is not the second."""
_ACTIVATIONS = {"Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu"}
_ROUNDING = {"QuantizeLinear", "DequantizeLinear"}
_EXPONENTIAL = {
    "Sigmoid", "Tanh", "Softmax", "LogSoftmax", "Exp", "Log", "Erf", "Gelu", "Mish", "Softplus", "Elu", "Celu", "Selu",
    "Acos", "Asin", "Atan", "Cosh", "Sinh", "Tan",
}  # fmt: skip
_FREE = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Constant"}
_OTHERS: dict[str, Kind] = {
    "MaxPool": "pool", "AveragePool": "pool", "GlobalAveragePool": "pool", "GlobalMaxPool": "pool",
    "Resize": "resize", "Upsample": "resize", "Concat": "move", "Transpose": "move", "Slice": "move", "Gather": "move",
    "Pad": "move", "Split": "move", "Expand": "move", "DepthToSpace": "move", "SpaceToDepth": "move",
}  # fmt: skip
_POINTWISE = {
    "Abs", "Add", "And", "BatchNormalization", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "Cast", "CastLike", "Ceil", "Cos", "CumSum", "Div", "Equal", "Floor", "GatherElements", "GatherND", "Greater",
    "GreaterOrEqual", "GroupNormalization", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LayerNormalization",
    "Less", "LessOrEqual", "LpNormalization", "Max", "Mean", "MeanVarianceNormalization", "Min", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "RMSNormalization", "Reciprocal", "Round", "ScatterElements", "ScatterND", "Shape",
    "Sign", "Sin", "Softsign", "Sqrt", "Sub", "Sum", "ThresholdedRelu", "Tile", "TopK", "Trilu", "Where", "Xor",
}  # fmt: skip
"""Their time is that of moving what they read and write."""
_KNOWN = {*_LAYERS, *_ACTIVATIONS, *_ROUNDING, *_EXPONENTIAL, *_FREE, *_OTHERS, *_POINTWISE}


@dataclass(frozen=True, slots=True)
class Workload:
    """A graph as it will run."""

    operators: tuple[Operator, ...]
    weight_bytes: int
    """Of weights as computed: halves that the target casts up count four bytes."""
    activation_bytes: int
    """Largest sum of activations alive at once."""
    input_pixels: int
    """Height times width of the first input; 0 where it is no image."""
    unknown: tuple[str, ...] = ()
    """Types of nodes whose arithmetic the model does not know: their traffic alone counts."""


def read_workload(model: bytes, target: Target) -> Workload:
    """The fused operators of an exported file on a target.

    Raises:
        BudgetcError: the graph has no nodes, takes several images at once, convolves in other than two dimensions, or
            a shape in it is unknown, so it cannot be priced.
    """
    loaded = onnx.load_model_from_string(model)
    graph, tensors = loaded.graph, read_tensors(loaded)
    _check(graph, tensors)
    groups = _Fusion(graph, tensors, target).groups()
    operators = tuple(_operator(nodes, tensors, target) for nodes in groups)
    widths = {"fp32": 4, "fp16": 2, "int8": 1}
    shape = tensors.shapes.get(graph.input[0].name, ()) if graph.input else ()
    return Workload(
        operators=operators,
        weight_bytes=sum(op.weights * widths[op.compute] for op in operators),
        activation_bytes=live_peak(graph, tensors, halves=any(op.compute == "fp16" for op in operators)),
        input_pixels=shape[2] * shape[3] if len(shape) == 4 else 0,
        unknown=tuple(
            sorted(
                {
                    _type(node)
                    for nodes in groups
                    for node in nodes
                    if not _is_known(node) and _products(node, tensors) is None
                }
            )
        ),
    )


def _check(graph: onnx.GraphProto, tensors: Tensors) -> None:
    if not graph.node:
        raise BudgetcError("the graph has no nodes; expected the ONNX file of a detector")
    for value in graph.input:
        shape = tensors.shapes.get(value.name, ())
        if len(shape) == 4 and value.name not in tensors.constants and shape[0] != 1:
            raise BudgetcError(
                f"input {value.name!r} takes {shape[0]} images at once; costs are those of one image: export at batch 1"
            )


def _type(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _is_known(node: onnx.NodeProto) -> bool:
    named = node.op_type in _KNOWN or node.op_type.startswith(("Reduce", "Arg"))
    return named and node.domain in ("", "ai.onnx")


class _Fusion:
    """Which nodes run as one kernel: a union-find over the nodes that are executed at all."""

    def __init__(self, graph: onnx.GraphProto, tensors: Tensors, target: Target) -> None:
        constant = folded(graph, tensors)
        self.nodes = [n for n in graph.node if n.output[0] not in constant]
        self.readers: dict[str, list[int]] = defaultdict(list)
        for number, node in enumerate(self.nodes):
            for name in node.input:
                self.readers[name].append(number)
        self.outputs = {value.name for value in graph.output}
        self.writer = {name: number for number, node in enumerate(self.nodes) for name in node.output}
        self.parent = list(range(len(self.nodes)))
        self.gpu = target.runtime == "tensorrt"

    def groups(self) -> list[list[onnx.NodeProto]]:
        """Nodes by kernel, in the order of execution; free ones are left out."""
        for number, node in enumerate(self.nodes):
            if node.op_type in _LAYERS or node.op_type == "MaxPool":
                self._take_rounding_in(number)
            if node.op_type in _LAYERS:
                self._take_followers(number)
        if self.gpu:
            self._chains()
        found: dict[int, list[onnx.NodeProto]] = defaultdict(list)
        for number, node in enumerate(self.nodes):
            if node.op_type not in _FREE and not (self.gpu and node.op_type == "Concat"):
                found[self._root(number)].append(node)
        return list(found.values())

    def _take_rounding_in(self, layer: int) -> None:
        for name in self.nodes[layer].input:
            before = self.writer.get(name)
            if before is not None and self.nodes[before].op_type == "DequantizeLinear":
                self._join(before, layer)

    def _take_followers(self, layer: int) -> None:
        """Along the only reader: activation, residual addition (TensorRT), and the rounding of the result."""
        at, added = layer, False
        while (after := self._only_reader(at)) is not None:
            kind = self.nodes[after].op_type
            residual = self.gpu and kind == "Add" and not added and self._adds_activations(after)
            if self._root(after) != after or not (kind in _ACTIVATIONS or kind in _ROUNDING or residual):
                return
            if kind == "DequantizeLinear":
                return
            added |= residual
            self._join(after, layer)
            at = after

    def _adds_activations(self, number: int) -> bool:
        return all(name in self.writer for name in self.nodes[number].input)

    def _only_reader(self, number: int) -> int | None:
        output = self.nodes[number].output[0]
        readers = self.readers[output]
        return readers[0] if len(readers) == 1 and output not in self.outputs else None

    def _chains(self) -> None:
        """Pointwise nodes that feed each other run as one kernel, unless something else must run in between."""
        depth: list[int] = []
        for number, node in enumerate(self.nodes):
            before = [self.writer[name] for name in node.input if name in self.writer]
            pointwise = self._pointwise(number)
            depth.append(max((depth[b] + (not pointwise or not self._pointwise(b)) for b in before), default=0))
            for other in before:
                if pointwise and self._pointwise(other) and depth[other] == depth[number]:
                    self._join(number, other)

    def _pointwise(self, number: int) -> bool:
        node = self.nodes[number]
        alone = node.op_type not in _FREE and node.op_type not in _LAYERS and node.op_type not in _OTHERS
        first = self.nodes[self._root(number)].op_type
        return alone and not node.op_type.startswith(("Reduce", "Arg")) and first not in _LAYERS

    def _root(self, number: int) -> int:
        while self.parent[number] != number:
            number = self.parent[number]
        return number

    def _join(self, member: int, group: int) -> None:
        self.parent[self._root(member)] = self._root(group)


def _operator(nodes: list[onnx.NodeProto], tensors: Tensors, target: Target) -> Operator:
    layer = next((node for node in nodes if node.op_type in _LAYERS), None)
    main = layer if layer is not None else nodes[0]
    written = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in node.input if name and name not in written}
    last = [name for name in nodes[-1].output if name]
    inputs = sum(tensors.elements(name) for name in sorted(read) if name not in tensors.constants)
    outputs = sum(tensors.elements(name) for name in last)
    if (products := _products(main, tensors)) is not None:
        rows, depth, columns = products
        weights = sum(tensors.elements(name) for name in main.input if name in tensors.constants)
        return Operator("conv", inputs, outputs, name="Einsum", cin=depth, cout=columns, macs=rows * depth * columns,
                        weights=weights, out_h=rows)  # fmt: skip
    if layer is None:
        kinds = {_kind(node) for node in nodes}
        chained: Kind = "exponential" if "exponential" in kinds else "pointwise"
        kind = next(iter(kinds)) if len(kinds) == 1 else chained
        compute = _rounded(nodes)
        return Operator(kind, inputs, outputs, name=main.op_type, compute=compute)
    return _layer(layer, nodes, tensors, target=target, elements=(inputs, outputs))


def _products(node: onnx.NodeProto, tensors: Tensors) -> tuple[int, int, int] | None:
    """What an Einsum multiplies; None of others, and of what is not understood."""
    if node.op_type != "Einsum":
        return None
    equation = next(onnx.helper.get_attribute_value(a).decode() for a in node.attribute if a.name == "equation")
    try:
        return contraction(equation, [tensors.shape(name) for name in node.input])
    except ValueError:
        return None


def _kind(node: onnx.NodeProto) -> Kind:
    if node.op_type.startswith(("Reduce", "Arg")):
        return "reduce"
    return _OTHERS.get(node.op_type, "exponential" if node.op_type in _EXPONENTIAL else "pointwise")


def _rounded(nodes: list[onnx.NodeProto]) -> Dtype:
    return "int8" if nodes[0].op_type == "DequantizeLinear" and len(nodes) > 1 else "fp32"


def _layer(
    layer: onnx.NodeProto, nodes: list[onnx.NodeProto], tensors: Tensors, *, target: Target, elements: tuple[int, int]
) -> Operator:
    weight = layer.input[_WEIGHT_AT.get(layer.op_type, 1)]
    shape, out = tensors.shape(weight), tensors.shape(layer.output[0])
    names = " + ".join([layer.op_type, *(n.op_type for n in nodes if n is not layer and n.op_type not in _ROUNDING)])
    # Weights and biases in a file that quantizes are read through DequantizeLinear, halves through Cast.
    rounded = layer.op_type in _INTEGERS or any(n.op_type in _ROUNDING for n in nodes)
    compute: Dtype = "int8" if tensors.integer(weight) and rounded else "fp32"
    if compute == "fp32" and target.compute_dtype == "fp16" and tensors.half(weight):
        compute = "fp16"
    weights = tensors.elements(weight) if weight in tensors.constants else 0
    if _LAYERS[layer.op_type] == "linear":
        columns = out[-1]
        rows = math.prod(out[:-1])
        # Of a stack of products each has its own depth; Gemm has one, but may hold it transposed.
        depth = math.prod(shape) // max(columns, 1) if layer.op_type == "Gemm" else shape[max(len(shape) - 2, 0)]
        # Several rows use each weight again: a 1x1 convolution of so many positions.
        kind: Kind = "linear" if rows == 1 else "conv"
        return Operator(kind, *elements, name=names, cin=depth, cout=columns, macs=rows * depth * columns,
                        weights=weights, out_h=rows, compute=compute)  # fmt: skip
    if len(shape) != 4:
        raise BudgetcError(
            f"{layer.op_type} {layer.name or layer.output[0]!r} convolves in {len(shape) - 2} dimensions; "
            "only convolutions in two can be priced"
        )
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in layer.attribute}
    groups = int(attributes.get("group", 1))
    transposed = layer.op_type == "ConvTranspose"
    cin = shape[0] if transposed else shape[1] * groups
    cout = shape[1] * groups if transposed else shape[0]
    # A graph that folds patches into the batch computes all of them: they count as rows of one image.
    source = tensors.shape(layer.input[0])
    seen = source if transposed else out
    macs = math.prod(shape) * seen[0] * seen[2] * seen[3]
    return Operator(
        _LAYERS[layer.op_type], *elements, name=names, kernel=max(shape[2:]),
        stride=max(attributes.get("strides", [1])), cin=cin, cout=cout, groups=groups, macs=macs, weights=weights,
        out_h=out[0] * out[2], out_w=out[3], compute=compute,
    )  # fmt: skip

"""Weights of 2 to 6 stored bits: codes in bytes, unpacked by plain operators that a runtime folds at load.

All codes of one width lie in one tensor, so that a width costs some ten nodes and a layer only one or two. A code
names a level, an integer in the range of INT8 kernels; where FP32 computes, it is multiplied by its channel's scale.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from budgetc.detectors.rounding import NumberFormat
from budgetc.export.weights import constants

ONLY_UNPACKING = ("BitShift", "Mod", "Split", "Gather")
"""Operators that unpack, of those that no own detector has for another reason."""
_PLANES = {2: (2,), 3: (2, 1), 4: (4,), 5: (4, 1), 6: (4, 2)}
"""A code as parts that divide a byte, the most significant first."""


@dataclass(slots=True)
class _Packer:
    """What is added to the front of a graph, in order."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(value, name)
        return name

    def node(self, kind: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def shaped(self, source: str, shape: Sequence[int], output: str) -> str:
        name = "shape." + ".".join(map(str, shape))
        return self.node("Reshape", [source, self.constant(name, np.array(shape, np.int64))], output)

    def split(self, source: str, parts: Sequence[tuple[str, int]]) -> None:
        sizes = self.constant(f"{source}.sizes", np.array([size for _, size in parts], np.int64))
        self.node("Split", [source, sizes], *(name for name, _ in parts), axis=0)


def pack_weights(model: onnx.ModelProto, formats: Mapping[str, NumberFormat], integers: Mapping[str, str]) -> int:
    """Store weights in as many bits as their formats say, in place; returns how many have fewer than 16.

    Args:
        model: as traced, INT8 weights as integers.
        formats: by the name of the FP32 weight that the exporter gave.
        integers: FP32 weight -> initializer of its INT8 values.
    """
    known = constants(model.graph)
    packer, vectors = _Packer(), dict[str, NDArray[np.float32]]()
    widths: dict[int, list[tuple[str, NDArray[np.uint8]]]] = {}
    stored = 0
    for name, number_format in formats.items():
        whole = integers.get(name, f"{name}/whole")
        values = known.get(integers.get(name, name))
        if values is None:
            continue
        stored += 1
        if number_format.compute == "fp32":
            scale = np.array(number_format.weight_scale, np.float32)
            values = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
            vectors[f"{name}/scales"] = scale
            _scaled(packer, name, whole, values.ndim)
            _drop(model.graph, name)
            packer.constant(whole, values)
        if number_format.levels:
            codes = np.searchsorted(number_format.levels[:-1], values).astype(np.uint8)
            widths.setdefault(number_format.stored_bits, []).append((whole, codes))
            packer.tensors.pop(whole, None)
            _drop(model.graph, whole)
    front = _Packer()
    for bits, tensors in sorted(widths.items()):
        table = next(f.levels for f in formats.values() if f.stored_bits == bits and f.levels)
        _unpack(front, bits, table, tensors)
    _store_vectors(model.graph, front, vectors)
    _put_first(model.graph, [front, packer])
    return stored


def _scaled(packer: _Packer, name: str, whole: str, rank: int) -> None:
    """FP32 weight = level * scale of its channel."""
    packer.node("Cast", [whole], f"{name}/float", to=onnx.TensorProto.FLOAT)
    packer.shaped(f"{name}/scales", [-1, *[1] * (rank - 1)], f"{name}/scale")
    packer.node("Mul", [f"{name}/float", f"{name}/scale"], name)


def _unpack(
    packer: _Packer, bits: int, levels: Sequence[int], tensors: Sequence[tuple[str, NDArray[np.uint8]]]
) -> None:
    """One tensor of codes for all weights of a width -> their levels in INT8."""
    codes = np.concatenate([part.ravel() for _, part in tensors])
    padding = -len(codes) % 8
    codes = np.pad(codes, (0, padding))
    index, shift = "", bits
    for plane in _PLANES[bits]:
        shift -= plane
        part = _plane(packer, f"codes{bits}.{plane}", (codes >> shift) & (2**plane - 1), bits=plane, shift=shift)
        index = packer.node("Add", [index, part], f"{part}.index") if index else part
    flat = f"levels{bits}"
    table = packer.constant(f"table{bits}", np.array(levels, np.int8))
    packer.node("Gather", [table, index], flat)
    parts = [(f"{name}/flat", part.size) for name, part in tensors]
    packer.split(flat, [*parts, (f"{flat}.rest", padding)] if padding else parts)
    for name, whole in tensors:
        packer.shaped(f"{name}/flat", whole.shape, name)


def _plane(packer: _Packer, name: str, codes: NDArray[np.uint8], *, bits: int, shift: int) -> str:
    """Codes of 1, 2 or 4 bits, several a byte -> as many INT32, times two to the `shift`.

    Bytes as long as possible: all that is computed at load stays in memory until the load is done.
    """
    places = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    packed = (codes.reshape(len(places), -1) << places).sum(0, dtype=np.uint8)[None]
    data = packer.constant(name, packed)
    names = data, packer.constant(f"places{bits}", places)
    packer.node("BitShift", names, f"{name}.moved", direction="RIGHT")
    base = packer.constant(f"base{bits}", np.array(2**bits, np.uint8))
    small = packer.node("Mod", [f"{name}.moved", base], f"{name}.small")
    if shift:
        names = small, packer.constant(f"shift{shift}", np.array(shift, np.uint8))
        small = packer.node("BitShift", names, f"{name}.high", direction="LEFT")
    packer.shaped(small, [-1], f"{name}.flat")
    return packer.node("Cast", [f"{name}.flat"], f"{name}.wide", to=onnx.TensorProto.INT32)


def _store_vectors(graph: onnx.GraphProto, packer: _Packer, vectors: dict[str, NDArray[np.float32]]) -> None:
    """All weight scales and float biases in one tensor of halves."""
    values = constants(graph)
    for name in _scales_and_biases(graph):
        if name in values and values[name].dtype == np.float32 and values[name].ndim == 1:
            vectors[name] = values[name]
            _drop(graph, name)
    blob = packer.constant("vectors", np.concatenate(list(vectors.values())).astype(np.float16))
    packer.node("Cast", [blob], "vectors.float", to=onnx.TensorProto.FLOAT)
    packer.split("vectors.float", [(name, len(vector)) for name, vector in vectors.items()])


def _scales_and_biases(graph: onnx.GraphProto) -> Iterator[str]:
    """Names in the order of the graph, each once."""
    found = dict[str, None]()
    for node in graph.node:
        if node.op_type == "DequantizeLinear":
            found[node.input[1]] = None
        elif node.op_type in ("Conv", "ConvTranspose", "Gemm") and len(node.input) > 2:
            found[node.input[2]] = None
        elif node.op_type == "Concat":  # of biases that are rounded at load
            found.update(dict.fromkeys(node.input))
    return iter(found)


def _drop(graph: onnx.GraphProto, name: str) -> None:
    """Remove the initializer of this name, which a node will write."""
    for tensor in [t for t in graph.initializer if t.name == name]:
        graph.initializer.remove(tensor)


def _put_first(graph: onnx.GraphProto, packers: Sequence[_Packer]) -> None:
    nodes = [node for packer in packers for node in packer.nodes]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    for packer in packers:
        graph.initializer.extend(packer.tensors.values())

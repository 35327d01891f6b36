"""A simplified model -> the configuration and the weights of a `Graph`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from torch import Tensor

from budgetc.detectors.graph import GraphConfig
from budgetc.detectors.graph.config import IMAGE, MAX_NODES
from budgetc.errors import InputRejected, UsageError
from budgetc.load.graph import layers, operators
from budgetc.load.graph.outputs import Outputs
from budgetc.load.graph.reading import describe
from budgetc.load.graph.settling import Input
from budgetc.load.graph.translator import Translation

HANDLERS = {**operators.HANDLERS, **layers.HANDLERS}
_LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601-2, as Pillow and OpenCV turn color to gray."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a model expects of a picture, done before it: (picture in [0, 1] * scale - mean) / std."""

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    lower_is_anomalous: bool = False
    """Whether scores and maps are to be turned around."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale) or min(self.scale, *self.std) <= 0:
            std = ",".join(f"{one:g}" for one in self.std)
            raise UsageError(f"--scale {self.scale:g} --std {std}: expected numbers larger than 0")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a model consists of."""

    config: GraphConfig
    weights: Mapping[str, Tensor]
    sources: Mapping[str, str]
    """Node -> what its result is called in the model."""


@dataclass(frozen=True, slots=True)
class Model:
    """A simplified model, and what is known of it."""

    where: str
    onnx: onnx.ModelProto
    input: Input
    outputs: Outputs
    shapes: Mapping[str, tuple[int, ...]]


def check_channels(where: str, settled: Input, preparation: Preparation) -> None:
    """Whether the picture has as many channels as there are numbers for.

    Raises:
        UsageError: three numbers, and it is gray.
    """
    for option, numbers in (("--mean", preparation.mean), ("--std", preparation.std)):
        if len(numbers) not in (1, settled.channels):
            given = ",".join(f"{one:g}" for one in numbers)
            raise UsageError(f"{option} {given}: {where} reads gray pictures; give one number")


def build_parts(model: Model, preparation: Preparation, *, batched: bool) -> Parts:
    """Every node as a node of a graph.

    Raises:
        InputRejected: operators that budgetc does not know, every one named, or a setting of one.
    """
    graph, where = model.onnx.graph, model.where
    _check_known(where, list(graph.node))
    state = Translation(where, graph, model.shapes, batched)
    _note_layers(state, list(graph.node))
    state.names[model.input.name] = _prepared(state, model.input, preparation)
    for node in graph.node:
        if node.output[0] not in state.done:
            HANDLERS[node.op_type](state, node)
    score, map_ = (None if name is None else state.read(name) for name in (model.outputs.score, model.outputs.map))
    if preparation.lower_is_anomalous:
        score, map_ = (None if name is None else state.call("Neg", [name]) for name in (score, map_))
    config = GraphConfig(
        input_size=model.input.size, nodes=tuple(state.nodes), constants=tuple(state.kept), score=score, map=map_,
        batched=batched,
    )  # fmt: skip
    return Parts(config, state.weights, {node.name: node.source for node in state.nodes if node.source})


def _check_known(where: str, nodes: list[onnx.NodeProto]) -> None:
    unknown = [node for node in nodes if node.op_type not in HANDLERS]
    if unknown:
        kinds = sorted({node.op_type for node in unknown})
        raise InputRejected(
            f"{where}: {len(unknown)} nodes of operators that budgetc does not know ({', '.join(kinds)}): "
            f"{', '.join(describe(node) for node in unknown)}; rewrite these layers before the export"
        )
    if len(nodes) > MAX_NODES:
        raise InputRejected(f"{where}: {len(nodes)} nodes after constants were folded, at most {MAX_NODES}")


def _note_layers(state: Translation, nodes: list[onnx.NodeProto]) -> None:
    """Find the results that a layer reads, at once or later."""
    for node in reversed(nodes):
        if layers.is_layer(state, node) or any(name in state.before_layer for name in node.output):
            state.before_layer.update(node.input)


def _prepared(state: Translation, settled: Input, preparation: Preparation) -> str:
    """The picture as the model wants it."""
    name = IMAGE
    if settled.channels == 1:
        luma = state.keep(np.array(_LUMA, np.float32).reshape(1, 3, 1, 1))
        name = state.call("ReduceSum", [state.call("Mul", [name, luma])], axes=(1,), keepdims=1)
    mean, std = (np.array(x, np.float64).reshape(1, -1, 1, 1) for x in (preparation.mean, preparation.std))
    factor, addend = preparation.scale / std, -mean / std
    if (factor != 1).any():
        name = state.call("Mul", [name, state.keep(factor)])
    if addend.any():
        name = state.call("Add", [name, state.keep(addend)])
    return state.call("Transpose", [name], perm=(0, 2, 3, 1)) if settled.last else name

"""A graph of nodes as a network."""

from collections.abc import Container, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.graph.config import (
    IMAGE,
    AddNode,
    CallNode,
    ConcatNode,
    ConstantShape,
    ConvNode,
    GraphConfig,
    LinearNode,
    Node,
    RoundNode,
    UnitNode,
    UpNode,
)
from budgetc.detectors.graph.operators import OPERATORS
from budgetc.detectors.layers import AddUnit, ConcatUnit, ConvUnit, InputUnit, LinearUnit, RoundUnit, Unit
from budgetc.detectors.stored import TableUnit
from budgetc.detectors.upsampling import SubpixelUnit, TransposedUnit

MAX_ELEMENTS = 2**28
"""Of one result for one picture: a gigabyte."""
_DTYPES = {"float": torch.float32, "int": torch.int64, "bool": torch.bool}


class OperatorFailed(RuntimeError):
    """An operator that does not compute what it is given: shapes that do not fit, say."""

    def __init__(self, node: CallNode, reason: Exception) -> None:
        self.node = f"{node.op} {(node.source or node.name)!r}"
        super().__init__(f"{self.node}: {str(reason).splitlines()[0]}")


class Graph(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,), and map (b, 1, H, W) where there is one. All of it is deployed."""

    output_names: tuple[str, ...]

    def __init__(self, config: GraphConfig) -> None:
        super().__init__()
        self.config = config
        self.output_names = ("score",) if config.map is None else ("score", "map")
        made = {node.name: _unit(node) for node in config.nodes if not isinstance(node, CallNode)}
        tables = {one.name: TableUnit(one.shape) for one in config.constants if one.table}
        self.layers = nn.ModuleDict({**made, **tables})
        self.constants = Constants(tuple(one for one in config.constants if not one.table))
        self._tables = tuple(tables)
        self._last = _last_reads(config)
        self._body = _needed(config, config.score_reads)

    def deployed(self) -> nn.Module:
        """All of it."""
        return self

    def present(self) -> GraphConfig:
        """The configuration with the channels that pruning left."""
        return self.config.model_copy(
            update={"nodes": tuple(_present(node, self.layers) for node in self.config.nodes)}
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        if self.config.batched or len(image) == 1:
            return self._scores(image)
        each = [self._scores(one) for one in image.split(1)]
        return tuple(torch.cat(parts) for parts in zip(*each, strict=True))

    def features(self, image: Tensor) -> list[Tensor]:
        """What the score is computed of, (b, ...) each."""
        if not self.config.batched and len(image) > 1:
            each = [self.features(one) for one in image.split(1)]
            return [torch.cat(parts) for parts in zip(*each, strict=True)]
        wanted = self.config.score_reads
        found = {name: result for name, result in self.results(image, self._body) if name in wanted}
        return [found[name] for name in wanted]

    def results(self, image: Tensor, only: Container[str] | None = None) -> Iterator[tuple[str, Tensor]]:
        """What every node returns, by its name, in order; or what some nodes return, if they read no others."""
        values: dict[str, Tensor] = {IMAGE: image, **dict(self.constants.named_buffers())}
        values |= {name: self.layers[name]() for name in self._tables}
        for node in self.config.nodes:
            if only is not None and node.name not in only:
                continue
            inputs = [values[name] for name in node.inputs]
            result: Tensor
            if isinstance(node, CallNode):
                try:
                    result = OPERATORS[node.op](*inputs, **node.attributes)
                except (RuntimeError, ValueError, IndexError) as error:
                    raise OperatorFailed(node, error) from error
            else:
                result = self.layers[node.name](*inputs)
            if result.is_meta and result.numel() > MAX_ELEMENTS:
                raise ValueError(f"{node.name} would return {tuple(result.shape)}, more than {MAX_ELEMENTS} numbers")
            values[node.name] = result
            yield node.name, result
            for name in self._last[node.name]:
                values.pop(name, None)

    def _scores(self, image: Tensor) -> tuple[Tensor, ...]:
        wanted = {self.config.score, self.config.map}
        found = {name: result for name, result in self.results(image) if name in wanted}
        batch = int(image.shape[0])
        if self.config.map is None:
            return (found[str(self.config.score)].reshape(batch),)
        places = found[self.config.map]
        height, width = (int(side) for side in places.shape[-2:])
        places = places.reshape(batch, 1, height, width)
        largest = self.config.score is None
        score = places.flatten(1).amax(1) if largest else found[str(self.config.score)].reshape(batch)
        if (height, width) != self.config.input_size:
            places = F.interpolate(places, size=self.config.input_size, mode="bilinear", align_corners=False)
        return score, places


class Constants(nn.Module):
    """Tensors that nodes read, as buffers."""

    def __init__(self, shapes: tuple[ConstantShape, ...]) -> None:
        super().__init__()
        for one in shapes:
            self.register_buffer(one.name, torch.zeros(one.shape, dtype=_DTYPES[one.dtype]))


def _present(node: Node, layers: nn.ModuleDict) -> Node:
    match node:
        case ConvNode():
            conv = layers[node.name].get_submodule("conv")
            assert isinstance(conv, nn.Conv2d)
            return node.model_copy(update={"channels": (conv.in_channels, conv.out_channels), "groups": conv.groups})
        case UpNode() if not node.subpixel:
            conv = layers[node.name].get_submodule("conv")
            assert isinstance(conv, nn.ConvTranspose2d)
            return node.model_copy(update={"channels": (conv.in_channels, conv.out_channels)})
        case UpNode():
            conv = layers[node.name].get_submodule("conv")
            assert isinstance(conv, nn.Conv2d)
            return node.model_copy(update={"channels": (conv.in_channels, node.channels[1])})
        case LinearNode():
            linear = layers[node.name].get_submodule("linear")
            assert isinstance(linear, nn.Linear)
            return node.model_copy(update={"features": (linear.in_features, linear.out_features)})
        case _:
            return node


def _needed(config: GraphConfig, names: Sequence[str]) -> frozenset[str]:
    """Nodes, and what they are computed of."""
    found = set(names)
    for node in reversed(config.nodes):
        if node.name in found:
            found.update(node.inputs)
    return frozenset(found)


def _last_reads(config: GraphConfig) -> dict[str, list[str]]:
    """Node -> the results that nobody reads after it, so that they can go."""
    last = {name: node.name for node in config.nodes for name in (*node.inputs, node.name)}
    found: dict[str, list[str]] = {node.name: [] for node in config.nodes}
    for name, reader in last.items():
        found[reader].append(name)
    return found


def _unit(node: UnitNode) -> Unit:
    match node:
        case ConvNode():
            unit: Unit = ConvUnit(1, 1, 1, norm=False, activation=node.activation, head=node.head)
            unit.conv = nn.Conv2d(*node.channels, node.kernel, node.stride, node.padding, node.dilation, node.groups)
        case UpNode():
            unit = _up(node)
        case LinearNode():
            unit = LinearUnit(*node.features, activation=node.activation, head=node.head)
        case AddNode():
            unit = AddUnit(activation=node.activation)
        case ConcatNode():
            unit = ConcatUnit()
        case RoundNode():
            unit = InputUnit() if node.first else RoundUnit()
    if isinstance(unit.activation, nn.LeakyReLU) and isinstance(node, ConvNode | UpNode | LinearNode | AddNode):
        unit.activation = nn.LeakyReLU(node.slope)
    return unit


def _up(node: UpNode) -> Unit:
    if node.subpixel:
        return SubpixelUnit(*node.channels, 2, norm=False, activation=node.activation)
    unit = TransposedUnit(1, 1, norm=False, activation=node.activation)
    unit.conv = nn.ConvTranspose2d(
        *node.channels, node.kernel, node.stride, node.padding, node.extra, node.groups, dilation=node.dilation
    )
    return unit

"""Which channels go together: coupled through additions, depthwise filters, concatenation and flattening."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from budgetc.detectors.graph.module import OperatorFailed
from budgetc.detectors.layers import ConvUnit, LinearUnit, Unit, units
from budgetc.detectors.upsampling import SubpixelUnit, TransposedUnit

Weighted = ConvUnit | LinearUnit | TransposedUnit
"""Units with a layer of their own."""
Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
Forward = Callable[[nn.Module, Tensor], list[Tensor]]
"""A network and its input -> its outputs, traced through autograd."""
_PRODUCERS = (tp.prune_conv_out_channels, tp.prune_depthwise_conv_out_channels, tp.prune_linear_out_channels)
_CONSUMERS = (tp.prune_conv_in_channels, tp.prune_linear_in_channels)


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that can only go together."""

    root: str
    """The unit that stands for all."""
    width: int
    members: tuple[str, ...]
    """Units whose outputs are these channels, depthwise ones too."""
    consumers: Mapping[str, Tensor]
    """Unit that reads them -> (width, b) which of its inputs each channel is: several after flattening."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What of a network can lose channels, and what cannot."""

    groups: tuple[Group, ...]
    """In the order of their first units."""
    reasons: Mapping[str, str]
    """Unit that is in no group -> why not."""


def find_groups(network: nn.Module, example: Tensor, forward: Forward, *, trusted: bool = True) -> tuple[Group, ...]:
    """Every group that no output of the network is made of, as `survey` finds them."""
    return survey(network, example, forward, trusted=trusted).groups


def survey(network: nn.Module, example: Tensor, forward: Forward, *, trusted: bool = True) -> Survey:
    """Every group that no output of the network is made of.

    Channels that a sub-pixel convolution moves to places stay, and so do those that are added to them, that stand
    beside others in one depthwise filter, or beside an input of the network in one concatenation with others.

    Args:
        network: in evaluation mode.
        example: a batch of inputs; one is enough.
        forward: what is traced; must be differentiable.
        trusted: whether the network is one of budgetc's own. Of others every group is tried: their operators may
            hold numbers of channels that nothing here knows of.
    """
    graph = _Graph(network, example, forward)
    names = {layer_of(unit): name for name, unit in weighted(network)}
    found, seen, reasons = list[Group](), set[str](), dict[str, str]()
    for name, unit in weighted(network):
        depthwise = isinstance(unit, ConvUnit | TransposedUnit) and unit.conv.groups > 1
        if unit.head or depthwise or name in seen or isinstance(unit, SubpixelUnit):
            if name not in seen:
                reasons[name] = _left(unit)
            continue
        width, members, consumers = outputs_of(unit), list[str](), dict[str, Tensor]()
        items = graph.group(name, range(width))
        if any(_unmapped(item.dep.target) for item in items):
            reasons[name] = "stands in a concatenation beside what no layer wrote"
            continue
        for item in items:
            layer, handler = names.get(item.dep.target.module), item.dep.handler
            if layer is not None and handler in _PRODUCERS:
                members.append(layer)
            elif layer is not None and handler in _CONSUMERS:
                by_channel = torch.tensor(item.root_idxs).argsort(stable=True)
                consumers[layer] = torch.tensor(item.idxs)[by_channel].reshape(width, -1)
        seen.update(members)
        if any(outputs_of(network.get_submodule(member)) != width for member in members):
            reasons.update(dict.fromkeys((name, *members), "is coupled with layers of other widths"))
            continue
        group = Group(name, width, tuple(dict.fromkeys(members)), consumers)
        # A single channel cannot go, and a network without it could not be asked whether an output needs it.
        if width == 1:
            reasons[name] = "has one channel"
        elif trusted and _feeds_output(network, name, example, forward):
            reasons[name] = "feeds an output"
        elif not trusted and (reason := objection(network, group, example, forward)) is not None:
            reasons[name] = reason
        else:
            found.append(group)
        reasons.update({member: reasons[name] for member in members if name in reasons})
    in_groups = {member for group in found for member in group.members}
    return Survey(tuple(found), {name: reason for name, reason in reasons.items() if name not in in_groups})


def _left(unit: Unit) -> str:
    if unit.head:
        return "is a part of the score"
    return "moves its channels to places" if isinstance(unit, SubpixelUnit) else "has groups that no other layer widens"


def objection(network: nn.Module, group: Group, example: Tensor, forward: Forward) -> str | None:
    """Why channels of a group cannot go; None where the network without two of them computes what it would if nobody
    read them.
    """
    removed = [0, group.width - 1][: group.width - 1]
    if any(getattr(layer_of(network.get_submodule(name)), "groups", 1) > 1 for name in group.consumers):
        return "is read by a convolution of several groups"
    unread, trial = copy.deepcopy(network), copy.deepcopy(network)
    with torch.no_grad():
        for name, inputs in group.consumers.items():
            layer = layer_of(unread.get_submodule(name))
            read = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
            read[:, inputs[removed].flatten()] = 0.0
        wanted = forward(unread, example)
    try:
        narrow(trial, {group.root: removed}, example, forward)
        with torch.no_grad():
            found = forward(trial, example)
    except (RuntimeError, ValueError, IndexError, KeyError, AttributeError) as error:
        read_by = error.node if isinstance(error, OperatorFailed) else str(error).splitlines()[0][:200]
        return f"is read by an operator of fixed size ({read_by})"
    if any(a.shape != b.shape for a, b in zip(wanted, found, strict=True)):
        return "feeds an output"
    if not all(_alike(a, b) for a, b in zip(wanted, found, strict=True)):
        return "is read by an operator that tells channels apart"
    return None


def _alike(wanted: Tensor, found: Tensor) -> bool:
    return torch.allclose(wanted, found, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def narrow(network: nn.Module, removed: Mapping[str, Sequence[int]], example: Tensor, forward: Forward) -> None:
    """Remove channels in place: root of a group -> their indexes."""
    graph = _Graph(network, example, forward)
    for root, indexes in removed.items():
        if len(indexes):
            graph.group(root, sorted(indexes)).prune()


def weighted(network: nn.Module) -> Iterator[tuple[str, Weighted]]:
    """Units with a layer of their own."""
    return ((name, unit) for name, unit in units(network) if isinstance(unit, Weighted))


def layer_of(unit: nn.Module) -> Layer:
    """The layer of a unit that has one."""
    assert isinstance(unit, Weighted)
    return unit.linear if isinstance(unit, LinearUnit) else unit.conv


def outputs_of(unit: nn.Module) -> int:
    """Channels of what a unit returns."""
    layer = layer_of(unit)
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _unmapped(node: "tp.dependency.Node") -> bool:
    """Whether torch-pruning (1.6) cannot tell whose channels are where: it knows no width of what no layer made."""
    return node.type == tp.ops.OPTYPE.CONCAT and len(node.inputs) > 1 and node.module.offsets is None


def _feeds_output(network: nn.Module, root: str, example: Tensor, forward: Forward) -> bool:
    """Whether removing a channel of this unit would change the shape of an output."""
    with torch.no_grad():
        before = [output.shape for output in forward(network, example)]
    trial = copy.deepcopy(network)
    narrow(trial, {root: [0]}, example, forward)
    with torch.no_grad():
        return [output.shape for output in forward(trial, example)] != before


class _Graph:
    def __init__(self, network: nn.Module, example: Tensor, forward: Forward) -> None:
        self._network = network
        self._graph = tp.DependencyGraph().build_dependency(network, example_inputs=example, forward_fn=forward)

    def group(self, name: str, indexes: Sequence[int]) -> "tp.Group":
        layer = layer_of(self._network.get_submodule(name))
        function = tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else tp.prune_conv_out_channels
        return self._graph.get_pruning_group(layer, function, idxs=list(indexes))

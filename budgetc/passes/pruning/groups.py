"""Which channels go together: coupled through additions, depthwise filters, concatenation and flattening."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch_pruning as tp
from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit, LinearUnit, Unit, units
from budgetc.detectors.upsampling import SubpixelUnit

Forward = Callable[[nn.Module, Tensor], list[Tensor]]
"""A network and its input -> its outputs, traced through autograd."""
_PRODUCERS = (tp.prune_conv_out_channels, tp.prune_depthwise_conv_out_channels, tp.prune_linear_out_channels)
_CONSUMERS = (tp.prune_conv_in_channels, tp.prune_linear_in_channels)
_SAME = 1e-4
"""Largest difference over the largest number of an output: sums in another order."""


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
class Coverage:
    """What structured pruning can narrow in a network, and what not."""

    groups: tuple[Group, ...]
    """In the order of their first units."""
    left: Mapping[str, str]
    """Weighted unit whose channels all stay -> why."""


def find_groups(network: nn.Module, example: Tensor, forward: Forward, *, foreign: bool = False) -> tuple[Group, ...]:
    """The groups of `coverage`."""
    return coverage(network, example, forward, foreign=foreign).groups


def coverage(network: nn.Module, example: Tensor, forward: Forward, *, foreign: bool = False) -> Coverage:
    """Every group that no output of the network is made of.

    Channels that a sub-pixel convolution moves to places stay, and so do those that are added to them, that stand
    beside others in one depthwise filter, or beside an input of the network in one concatenation with others.

    Args:
        network: in evaluation mode.
        example: a batch of inputs; one is enough.
        forward: what is traced; must be differentiable.
        foreign: whether operators between layers may do anything with channels, so that each group has to prove that
            the network without a channel computes what it computes where that channel is 0.
    """
    graph = _Graph(network, example, forward)
    names = {layer_of(unit): name for name, unit in weighted(network)}
    found, seen, left = list[Group](), set[str](), dict[str, str]()
    for name, unit in weighted(network):
        depthwise = isinstance(unit, ConvUnit) and unit.conv.groups > 1
        if depthwise or name in seen or name in left:
            continue
        reason = _fixed(unit)
        if reason is not None:
            left[name] = reason
            continue
        width, members, consumers = outputs_of(unit), list[str](), dict[str, Tensor]()
        items = graph.group(name, range(width))
        reason = _unmapped(items)
        if reason is not None:
            left[name] = reason
            continue
        for item in items:
            layer, handler = names.get(item.dep.target.module), item.dep.handler
            if layer is not None and handler in _PRODUCERS:
                members.append(layer)
            elif layer is not None and handler in _CONSUMERS:
                by_channel = torch.tensor(item.root_idxs).argsort(stable=True)
                consumers[layer] = torch.tensor(item.idxs)[by_channel].reshape(width, -1)
        seen.update(members)
        reason = _whole(network, members, width)
        # A single channel cannot go, and a network without it could not be asked whether an output needs it.
        members = list(dict.fromkeys(members))
        if reason is None:
            trial = _Trial(network, name, members, example, forward)
            reason = trial.whole_reason() if foreign else trial.shape_reason()
        if reason is None:
            found.append(Group(name, width, tuple(members), consumers))
        else:
            left |= dict.fromkeys(members, reason)
    alone = {name for name, _ in weighted(network)} - seen - set(left)
    return Coverage(tuple(found), left | dict.fromkeys(alone, "it filters channels one by one that no layer made"))


def _fixed(unit: Unit) -> str | None:
    if unit.head:
        return "it is part of the score"
    if isinstance(unit, SubpixelUnit):
        return "it moves channels to places (sub-pixel convolution)"
    return None


def _whole(network: nn.Module, members: Sequence[str], width: int) -> str | None:
    if width == 1:
        return "it has one channel"
    if any(outputs_of(network.get_submodule(member)) != width for member in members):
        return "its channels are coupled with a part of another layer's"
    return None


def narrow(network: nn.Module, removed: Mapping[str, Sequence[int]], example: Tensor, forward: Forward) -> None:
    """Remove channels in place: root of a group -> their indexes."""
    graph = _Graph(network, example, forward)
    for root, indexes in removed.items():
        if len(indexes):
            graph.group(root, sorted(indexes)).prune()


def weighted(network: nn.Module) -> Iterator[tuple[str, Unit]]:
    """Units with a layer of their own."""
    return ((name, unit) for name, unit in units(network) if isinstance(unit, (ConvUnit, LinearUnit)))


def layer_of(unit: nn.Module) -> nn.Conv2d | nn.Linear:
    """The layer of a unit that has one."""
    assert isinstance(unit, (ConvUnit, LinearUnit))
    return unit.conv if isinstance(unit, ConvUnit) else unit.linear


def outputs_of(unit: nn.Module) -> int:
    """Channels of what a unit returns."""
    layer = layer_of(unit)
    return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features


def _unmapped(items: "tp.Group") -> str | None:
    """Why it is not known whose channels are where; None where it is."""
    targets = [item.dep.target for item in items]
    # Of what no layer made, torch-pruning (1.6) knows no width.
    if any(node.type == tp.ops.OPTYPE.CONCAT and len(node.inputs) > 1 and node.module.offsets is None
           for node in targets):  # fmt: skip
        return "its channels are concatenated with what no layer made"
    if any(isinstance(node.module, nn.ConvTranspose2d) for node in targets):
        return "a transposed convolution reads its channels"
    return None


class _Trial:
    """The network without the first channel of a group."""

    def __init__(
        self, network: nn.Module, root: str, members: Sequence[str], example: Tensor, forward: Forward
    ) -> None:
        self._network, self._root, self._members = network, root, members
        self._example, self._forward = example, forward

    def shape_reason(self) -> str | None:
        """Why the channel has to stay, by the shapes of the outputs."""
        shapes = [output.shape for output in self._outputs(self._network, self._example)]
        if [output.shape for output in self._outputs(self._narrowed(), self._example)] != shapes:
            return "an output of the network is made of its channels"
        return None

    def whole_reason(self) -> str | None:
        """The same, by shapes and values."""
        try:
            reason = self.shape_reason()
            if reason is not None:
                return reason
            picture = torch.rand(self._example.shape, generator=torch.Generator().manual_seed(0))
            narrow_outputs = self._outputs(self._narrowed(), picture)
        except Exception:  # of torch or torch-pruning, whichever operator it is that cannot
            return "an operator or a constant behind it is made for its number of channels"
        with self._without():
            wanted = self._outputs(self._network, picture)
        for one, other in zip(narrow_outputs, wanted, strict=True):
            spread = float(other.abs().amax()) if other.numel() else 0.0
            if not torch.allclose(one, other, rtol=0, atol=_SAME * spread + 1e-7):
                return "an operator behind it, such as a mean over channels, depends on how many there are"
        return None

    @torch.no_grad()
    def _outputs(self, network: nn.Module, picture: Tensor) -> list[Tensor]:
        return self._forward(network, picture)

    def _narrowed(self) -> nn.Module:
        trial = copy.deepcopy(self._network)
        narrow(trial, {self._root: [0]}, self._example, self._forward)
        return trial

    @contextmanager
    def _without(self) -> Iterator[None]:
        """The network with the channel at 0 wherever a member returns it."""

        def hook(_unit: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> Tensor:
            return torch.cat([torch.zeros_like(output[:, :1]), output[:, 1:]], 1)

        handles = [self._network.get_submodule(member).register_forward_hook(hook) for member in self._members]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class _Graph:
    def __init__(self, network: nn.Module, example: Tensor, forward: Forward) -> None:
        self._network = network
        self._graph = tp.DependencyGraph().build_dependency(network, example_inputs=example, forward_fn=forward)

    def group(self, name: str, indexes: Sequence[int]) -> "tp.Group":
        layer = layer_of(self._network.get_submodule(name))
        function = tp.prune_conv_out_channels if isinstance(layer, nn.Conv2d) else tp.prune_linear_out_channels
        return self._graph.get_pruning_group(layer, function, idxs=list(indexes))

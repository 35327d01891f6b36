"""How much each channel of a group matters.

Torch-Pruning's importances see the weights as they are trained, where a channel with a BatchNorm gain of 0 is not dead,
and its Hessian keeps the gradients of the last batch alone (1.6.1: `accumulate_grad` looks parameters up by name). So
data-driven importances are taken at gates, one a channel, which all members of a group share: the derivative by a gate
is what the removal of its channel does to first order, through additions, depthwise filters and flattening.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.core.plan import Importance
from budgetc.detectors.upsampling import TransposedUnit
from budgetc.passes.pruning.groups import Group, Weighted
from budgetc.passes.pruning.reconstruct import Reads, explained
from budgetc.passes.pruning.subject import Subject, batches, gated


def magnitudes(network: nn.Module, groups: Sequence[Group]) -> dict[str, Tensor]:
    """Root -> (width,) squared L2 norm of the folded weights behind each channel, over every member of the group."""
    return {group.root: _magnitude(network, group) for group in groups}


def _magnitude(network: nn.Module, group: Group) -> Tensor:
    total = torch.zeros(group.width)
    for member in group.members:
        unit = network.get_submodule(member)
        assert isinstance(unit, Weighted)
        weight = unit.folded()[0]
        if isinstance(unit, TransposedUnit):
            weight = weight.transpose(0, 1)
        total += weight.detach().flatten(1).square().sum(1)
    return total


def measured(
    subject: Subject,
    groups: Sequence[Group],
    kind: Importance,
    *,
    images: NDArray[np.uint8],
    reads: Mapping[str, Reads],
) -> dict[str, Tensor]:
    """Root -> (width,), larger for channels that matter more.

    Args:
        subject: its head is fitted.
        groups: of its network.
        kind: which importance.
        images: (n, 3, H, W) training normals and damaged normals.
        reads: what the consumers of all groups read, for `reconstruction`.
    """
    match kind:
        case "l2":
            return magnitudes(subject.network, groups)
        case "activation":
            return _activations(subject, groups, images)
        case "reconstruction":
            return {group.root: explained(subject.network, group, reads) if group.consumers.keys() & reads.keys()
                    else _magnitude(subject.network, group) for group in groups}  # fmt: skip
        case "taylor" | "hessian":
            return _sensitivities(subject, groups, images, second=kind == "hessian")


@torch.no_grad()
def _activations(subject: Subject, groups: Sequence[Group], images: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Mean square of what a channel returns, over the members of its group."""
    total = {group.root: torch.zeros(group.width) for group in groups}

    def watch(root: str) -> object:
        def hook(_unit: nn.Module, _inputs: tuple[Tensor], output: Tensor) -> None:
            total[root] += output.transpose(0, 1).flatten(1).square().mean(1)

        return hook

    handles = [subject.network.get_submodule(member).register_forward_hook(watch(group.root))  # type: ignore[arg-type]
               for group in groups for member in group.members]  # fmt: skip
    for part in batches(images):
        subject.judge(part)
    for handle in handles:
        handle.remove()
    return total


def _sensitivities(
    subject: Subject, groups: Sequence[Group], images: NDArray[np.uint8], *, second: bool
) -> dict[str, Tensor]:
    """First order: |d log score / d gate| (Molchanov et al., CVPR 2019, section 3.1, with the score for a loss).

    Second order: the diagonal of the Gauss-Newton matrix of the squared distance to the network's own outputs, whose
    gradient is 0 where it starts (LeCun et al., "Optimal Brain Damage", 1989); E[(d <outputs, signs> / d gate)^2] over
    random signs is that diagonal (Hutchinson).
    """
    total = {group.root: torch.zeros(group.width) for group in groups}
    gates = {group.root: torch.ones(group.width, requires_grad=True) for group in groups}
    generator = torch.Generator().manual_seed(0)
    with gated(subject.network, groups, gates):
        for part in batches(images):
            outputs = subject.judge(part) if not second else subject.forward(subject.network, part)
            for _ in range(4 if second else 1):
                signs = [torch.randint(0, 2, o.shape, generator=generator) * 2.0 - 1 if second else torch.ones(o.shape)
                         for o in outputs]  # fmt: skip
                loss = torch.stack([(o * s).sum() for o, s in zip(outputs, signs, strict=True)]).sum()
                found = torch.autograd.grad(loss, list(gates.values()), retain_graph=second)
                for root, slope in zip(gates, found, strict=True):
                    total[root] += slope.square() if second else slope.abs()
    return total

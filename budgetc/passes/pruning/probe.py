"""What narrowing one group alone does to the score, and what it saves: the tables that a knapsack chooses from."""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from budgetc.core.plan import Prune, fingerprint
from budgetc.detectors.detector import weights_digest
from budgetc.detectors.layers import ConvUnit
from budgetc.detectors.upsampling import TransposedUnit
from budgetc.passes.pruning.allocation import Sensitivity, Term, rounded
from budgetc.passes.pruning.groups import Group, Layer, layer_of, outputs_of, weighted
from budgetc.passes.pruning.importance import measured
from budgetc.passes.pruning.reconstruct import Reads, read_statistics, reconstruct
from budgetc.passes.pruning.subject import Subject, batches, fit_head, gated, judged_weights, sampled, size_of
from budgetc.passes.work import Work

_TRIED = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4)
"""Of a group's channels; between them the perturbation is a straight line."""
_PROBED = 16
"""Training normals, and as many damaged normals, whose scores are compared."""
_READ = (96, 32)
"""Training normals and damaged normals that least squares and importances are taken of."""

_Factor = tuple[tuple[str, ...], int]
"""A group, or none, and how many inputs or outputs one of its channels is."""


def sensitivities(subject: Subject, groups: Sequence[Group], step: Prune, work: Work) -> dict[str, Sensitivity]:
    """Root -> order of its channels and, for a knapsack, what narrowing does; measured once for the same weights.

    A perturbation is the mean squared difference of what the subject's judge returns (log scores) on training normals
    and damaged normals, the readers of the group reconstructed.
    """
    key = fingerprint(["probe", subject.about, step.importance, step.allocation, step.round_to, work.seed,
                       [group.root for group in groups], weights_digest(judged_weights(subject.whole))])  # fmt: skip

    def measure() -> dict[str, Sensitivity]:
        fit_head(subject, work)
        reads = statistics(subject, groups, work)
        ranks = measured(subject, groups, step.importance, images=sampled(work, size_of(subject), *_READ), reads=reads)
        found = {root: Sensitivity(order=tuple(rank.argsort(descending=True, stable=True).tolist()))
                 for root, rank in ranks.items()}  # fmt: skip
        if step.allocation == "uniform":
            return found
        return _probed(subject, groups, found, step=step.round_to, reads=reads, work=work)

    return work.probed(key, dict[str, Sensitivity], measure)


def statistics(subject: Subject, groups: Sequence[Group], work: Work) -> dict[str, Reads]:
    """What the readers of the groups read, on training normals and damaged normals."""
    return read_statistics(subject, groups, sampled(work, size_of(subject), *_READ))


@torch.no_grad()
def _probed(
    subject: Subject, groups: Sequence[Group], found: Mapping[str, Sensitivity], *, step: int,
    reads: Mapping[str, Reads], work: Work,
) -> dict[str, Sensitivity]:  # fmt: skip
    """With what each of a few widths does, narrower never less than wider."""
    images = list(batches(sampled(work, size_of(subject), _PROBED, _PROBED)))
    before = [subject.judge(part) for part in images]
    probed = dict[str, Sensitivity]()
    for group in groups:
        order = found[group.root].order
        widths = sorted({rounded(group.width, share, step) for share in _TRIED} - {group.width})
        differences = list[float]()
        for width in widths:
            with _without(subject, group, order[width:], reads):
                differences.append(_difference(before, [subject.judge(part) for part in images]))
        monotone = tuple(np.maximum.accumulate(differences[::-1])[::-1].tolist())
        probed[group.root] = Sensitivity(order=order, widths=tuple(widths), perturbation=monotone)
    return probed


def _difference(before: list[list[Tensor]], after: list[list[Tensor]]) -> float:
    pairs = [(old, new) for olds, news in zip(before, after, strict=True) for old, new in zip(olds, news, strict=True)]
    squares = sum(float((new - old).square().sum()) for old, new in pairs)
    return squares / sum(old.shape[0] for olds in before for old in olds[:1])


class _without:
    """The subject without some channels of a group, its readers reconstructed; afterwards as it was."""

    def __init__(self, subject: Subject, group: Group, removed: Sequence[int], reads: Mapping[str, Reads]) -> None:
        gate = torch.ones(group.width)
        gate[list(removed)] = 0.0
        self._network, self._group, self._removed, self._reads = subject.network, group, removed, reads
        self._gates = gated(subject.network, [group], {group.root: gate})
        self._kept = {name: copy.deepcopy(subject.network.get_submodule(name).state_dict()) for name in group.consumers}

    def __enter__(self) -> None:
        reconstruct(self._network, self._group, self._removed, self._reads)
        self._gates.__enter__()

    def __exit__(self, *error: object) -> None:
        self._gates.__exit__(None, None, None)
        for name, state in self._kept.items():
            self._network.get_submodule(name).load_state_dict(state)


def terms(subject: Subject, groups: Sequence[Group]) -> list[Term]:
    """What every layer of the deployed network costs, in the widths of its groups."""
    network, places = subject.network, _places(subject)
    found = list[Term]()
    for name, unit in weighted(network):
        if name not in places:
            continue
        layer = layer_of(unit)
        kernel = 1 if isinstance(layer, nn.Linear) else layer.kernel_size[0] * layer.kernel_size[1]
        reads = _reads(name, layer, groups)
        writes = reads if _is_whitening(name, unit, network) else [_writes(name, unit, groups)]
        found += [Term((*out, *into), many * each * kernel, many * each * kernel * places[name])
                  for out, many in writes for into, each in reads]  # fmt: skip
    return found


def _reads(name: str, layer: Layer, groups: Sequence[Group]) -> list[_Factor]:
    """What one output of a layer reads: inputs a channel of each group, and inputs of no group."""
    read = [(group, group.consumers[name]) for group in groups if name in group.consumers]
    inputs_of_one = (
        layer.weight.shape[0] // layer.groups if isinstance(layer, nn.ConvTranspose2d) else layer.weight.shape[1]
    )
    rest = inputs_of_one - sum(inputs.numel() for _, inputs in read)
    found: list[_Factor] = [((group.root,), inputs.shape[1]) for group, inputs in read]
    return found + ([((), rest)] if rest else [])


def _writes(name: str, unit: nn.Module, groups: Sequence[Group]) -> _Factor:
    root = next((group.root for group in groups if name in group.members), None)
    return ((), outputs_of(unit)) if root is None else ((root,), 1)


def _is_whitening(name: str, unit: nn.Module, network: nn.Module) -> bool:
    """A whitening is square, and fitted to as many channels as there are."""
    return name == "whiten" and isinstance(unit, ConvUnit) and unit is getattr(network, "whiten", None)


@torch.no_grad()
def _places(subject: Subject) -> dict[str, int]:
    """Unit that is deployed -> places at which its layer computes, 1 of a linear layer."""
    found = dict[str, int]()
    handles = []
    for name, unit in weighted(subject.network):

        def hook(unit: nn.Module, inputs: tuple[Tensor], output: Tensor, name: str = name) -> None:
            # Of one picture: rows of tokens stand where other layers have pictures.
            places = inputs[0][:, 0] if isinstance(unit, TransposedUnit) else output
            many = 1 if isinstance(unit, TransposedUnit) else outputs_of(unit)
            found[name] = places.numel() // many // len(subject.example)

        handles.append(unit.register_forward_hook(hook))
    subject.judge(subject.example)
    for handle in handles:
        handle.remove()
    return found

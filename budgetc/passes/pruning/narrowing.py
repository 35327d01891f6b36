"""One network of a detector, narrowed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from budgetc.core.plan import Prune
from budgetc.detectors.gaussian import Gaussian
from budgetc.detectors.layers import ConvUnit
from budgetc.passes.pruning.allocation import Limits, cost, knapsack, rounded, uniform_within
from budgetc.passes.pruning.groups import Group, narrow
from budgetc.passes.pruning.importance import magnitudes
from budgetc.passes.pruning.probe import sensitivities, statistics, terms
from budgetc.passes.pruning.reconstruct import reconstruct
from budgetc.passes.pruning.subject import Subject, judged_weights
from budgetc.passes.work import Work


@dataclass(frozen=True, slots=True)
class Goal:
    """How much is to be left of a network, as shares of what it was before the first round."""

    widths: Mapping[str, int]
    """Root of each group -> channels before the first round."""
    weights: int
    macs: int
    keep: float

    def limits(self, step: Prune, done: float) -> Limits:
        """After a share `done` of the rounds; each takes the same ratio."""
        return Limits(self.weights * self.keep**done, self.macs * step.macs**done)


def goal_of(subject: Subject, keep: float) -> Goal:
    """`keep` of what a network is now."""
    groups = subject.groups()
    widths = {group.root: group.width for group in groups}
    return Goal(widths, *cost(terms(subject, groups), widths), keep)


def narrowed(subject: Subject, goal: Goal, done: float, *, step: Prune, work: Work) -> nn.Module:
    """The subject's whole network after a share `done` of the rounds; the subject itself is changed.

    With effort 0 no weight is made up for.
    """
    groups = _choosable(subject, step)
    widths = _widths(subject, groups, goal=goal, done=done, step=step, work=work)
    ranks = _orders(subject, groups, step, work)
    removed = {group.root: list(ranks[group.root][widths[group.root] :]) for group in groups}
    if work.effort > 0:
        reads = statistics(subject, groups, work)
        for group in groups:
            if removed[group.root]:
                reconstruct(subject.network, group, removed[group.root], reads)
    narrow(subject.network, removed, subject.example, subject.forward)
    if isinstance(subject.whole, Gaussian):
        _square(subject.whole)
    return subject.whole


def _choosable(subject: Subject, step: Prune) -> list[Group]:
    """Groups that may shrink: of a gaussian the taps only under a knapsack, which sees what they carry."""
    groups = subject.groups()
    return [group for group in groups if step.allocation == "knapsack" or "whiten" not in group.consumers]


def _widths(
    subject: Subject, groups: Sequence[Group], *, goal: Goal, done: float, step: Prune, work: Work
) -> dict[str, int]:
    if step.allocation == "uniform":
        return {group.root: rounded(goal.widths[group.root], goal.keep**done, step.round_to) for group in groups}
    table, limits = terms(subject, groups), goal.limits(step, done)
    if work.effort == 0 and (step.rounds > 1 or not _as_in_baseline(subject, work)):
        return uniform_within({group.root: group.width for group in groups}, table, limits, step.round_to)
    return knapsack(sensitivities(subject, groups, step, work), table, limits, step.round_to)


def _orders(subject: Subject, groups: Sequence[Group], step: Prune, work: Work) -> Mapping[str, Sequence[int]]:
    """Channels of each group, the one that matters most first."""
    if work.effort == 0 or (step.importance == "l2" and step.allocation == "uniform"):
        ranks = magnitudes(subject.network, groups)
        return {root: rank.argsort(descending=True, stable=True).tolist() for root, rank in ranks.items()}
    return {root: known.order for root, known in sensitivities(subject, groups, step, work).items()}


def _as_in_baseline(subject: Subject, work: Work) -> bool:
    """Whether the network still has weights of the baseline: nothing was trained before."""
    known = {name: weight for name, weight in work.baseline.module.state_dict().items()}
    return all(name in known and torch.equal(weight, known[name])
               for name, weight in judged_weights(subject.whole).items())  # fmt: skip


def _square(module: Gaussian) -> None:
    """A whitening for the channels that are left; `refit.py` fits it."""
    old = module.whiten.conv
    if old.in_channels != old.out_channels:
        module.whiten = ConvUnit(old.in_channels, old.in_channels, 1, norm=False, activation="none", head=True).eval()

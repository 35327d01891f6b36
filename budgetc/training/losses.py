"""What a student may imitate beside features: pure functions of what two networks made of the same pictures."""

import torch
import torch.nn.functional as F
from torch import Tensor

from budgetc.detectors.variational import Latent

_NO_VARIANCE = 1e-12
_SAME = 1e-6
"""Difference of logarithms of scores below which two pictures have no order."""


def relation_loss(wanted: Tensor, own: Tensor) -> Tensor:
    """Huber's loss between the relations of a batch's pictures: distances over their mean, and cosines of angles.

    Park et al., "Relational Knowledge Distillation" (CVPR 2019), equations 3 to 9, weighted 1 to 2 as there.

    Args:
        wanted: (b, n) of the network that is imitated.
        own: (b, m); the widths may differ.
    """
    distance = F.smooth_l1_loss(_distances(own), _distances(wanted))
    return distance + 2 * F.smooth_l1_loss(_cosines(own), _cosines(wanted))


def _distances(rows: Tensor) -> Tensor:
    """(b, n) -> (b, b), mean 1 over pairs that differ."""
    squares = (rows[:, None] - rows[None]).square().sum(2)
    distance = (squares + 1e-12).sqrt()
    others = squares.detach() > 0
    mean = distance[others].mean() if others.any() else torch.ones(())
    return distance / mean


def _cosines(rows: Tensor) -> Tensor:
    """(b, n) -> (b, b, b): at the vertex i, the cosine of the angle between the ways to j and to k."""
    ways = F.normalize(rows[None] - rows[:, None], dim=2)
    return torch.bmm(ways, ways.transpose(1, 2))


def ranking_loss(wanted: Tensor, own: Tensor) -> Tensor:
    """Mean over all pairs of log(1 + exp(-(own difference))), in the direction of the wanted order.

    Burges et al., "Learning to Rank using Gradient Descent" (ICML 2005), equation 3, with targets 0 and 1.

    Args:
        wanted: (b,) logarithms of scores, for their order alone.
        own: (b,) logarithms of scores.
    """
    above = wanted[:, None] - wanted[None] > _SAME
    losses = F.softplus(own[None] - own[:, None])
    return (losses * above).sum() / above.sum().clamp(min=1)


def latent_divergence(wanted: Latent, own: Latent) -> Tensor:
    """KL(wanted || own) of diagonal Gaussians, summed over latents, mean over the batch."""
    variance = (wanted.logvar - own.logvar).exp()
    distance = (wanted.mu - own.mu).square() * (-own.logvar).exp()
    return 0.5 * (variance + distance - 1 - (wanted.logvar - own.logvar)).sum(1).mean()


def relative_errors(own: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Mean over results of any shapes: squared difference over the variance of what is wanted."""
    losses = [F.mse_loss(a, b) / b.var().clamp(min=_NO_VARIANCE) for a, b in zip(own, wanted, strict=True)]
    return torch.stack(losses).mean()

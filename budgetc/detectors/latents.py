"""How far a latent code lies from those of normals: the distance to the nearest of a few clusters.

The KL divergence of a latent only says that a code is far from 0. What damps a picture (fog, blur, darkness) moves its
code towards 0, and its KL below that of normals. So the means of normals are clustered, and the score is the squared
Mahalanobis distance to the nearest center, with one covariance for all clusters (Lee et al., "A Simple Unified
Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018, equation 2; clusters in place of classes).
"""

import torch
from torch import Tensor, nn

from budgetc.detectors.layers import LinearUnit
from budgetc.errors import BudgetcError

SHRINKAGE = 0.01
"""Share of the mean variance that is added to every one: latents that collapsed have none of their own."""
_ROUNDS = 50
_SCALE = 2.0**-3
_FARTHEST, _LARGEST = 32.0, 60_000.0
"""Differences are divided by 8 and end at 32, with more than 58 latents earlier: the sum of squares fits in FP16."""


class LatentDistance(nn.Module):
    """(b, latents) means -> (b,) squared distance to the nearest center, over 64. Always a head: FP32."""

    def __init__(self, latents: int, prototypes: int) -> None:
        super().__init__()
        self.whiten = LinearUnit(latents, latents, head=True)
        self.register_buffer("centers", torch.zeros(1, prototypes, latents))

    def forward(self, mu: Tensor) -> Tensor:
        return self.nearest(self.whiten(mu))

    def nearest(self, whitened: Tensor) -> Tensor:
        """(b, latents) whitened means -> (b,)."""
        difference = (whitened[:, None] - self.get_buffer("centers")) * _SCALE
        farthest = min(_FARTHEST, (_LARGEST / whitened.shape[1]) ** 0.5)
        squares: Tensor = difference.clamp(-farthest, farthest).square().sum(2)
        return squares.amin(1)


@torch.no_grad()
def fit_prototypes(distance: LatentDistance, mu: Tensor, *, anew: bool = True) -> None:
    """Cluster the latent means of normals and set centers and whitening in place. Nothing is random.

    Args:
        distance: what is fitted.
        mu: (n, latents) of normals that the threshold is not fitted on.
        anew: whether clusters are searched anywhere, or where they were, if they were fitted once.

    Raises:
        BudgetcError: the means are all alike, or not finite.
    """
    rows, buffer = mu.double(), distance.get_buffer("centers")
    centers = _clustered(rows, _spread_out(rows, buffer.shape[1]) if anew or not buffer.any() else _places(distance))
    rest = rows - centers[_nearest(rows, centers)]
    covariance = rest.T @ rest / len(rows)
    # With as many centers as rows nothing is left around them: the spread of the rows themselves is the scale then.
    spread = float(covariance.diagonal().mean()) or float(rows.var(0, correction=0).mean())
    if not spread > 0:
        raise BudgetcError("the latent means of normals are all alike, or not finite: no distance can be fitted")
    covariance += SHRINKAGE * spread * torch.eye(len(covariance), dtype=torch.float64, device=rows.device)
    # L L' = inverse covariance, so that |L' (mu - center)|^2 is the squared Mahalanobis distance.
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance)).T
    middle = rows.mean(0)
    distance.whiten.linear.weight.copy_(whitening.float())
    distance.whiten.linear.bias.copy_(-(whitening @ middle).float())
    buffer.copy_(((centers - middle) @ whitening.T).float()[None])


def _spread_out(rows: Tensor, count: int) -> Tensor:
    """(count, latents): the first row and those that are farthest from all chosen before."""
    centers = rows[:1]
    for _ in range(count - 1):
        centers = torch.cat([centers, rows[torch.cdist(rows, centers).amin(1).argmax()][None]])
    return centers


def _places(distance: LatentDistance) -> Tensor:
    """(prototypes, latents): the means whose whitened form the centers are."""
    whitening, shift = distance.whiten.linear.weight.double(), distance.whiten.linear.bias.double()
    places: Tensor = torch.linalg.solve(whitening, (distance.get_buffer("centers")[0].double() - shift).T).T
    return places


def _clustered(rows: Tensor, centers: Tensor) -> Tensor:
    """(count, latents): k-means from these centers."""
    for _ in range(_ROUNDS):
        label = _nearest(rows, centers)
        centers = torch.stack(
            [rows[label == one].mean(0) if (label == one).any() else centers[one] for one in range(len(centers))]
        )
    return centers


def _nearest(rows: Tensor, centers: Tensor) -> Tensor:
    return torch.cdist(rows, centers).argmin(1)

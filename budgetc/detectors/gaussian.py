"""Gaussian: how far a picture's pretrained features lie from those of normals, in units of their own spread.

Rippel, Mertens & Merhof, "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly
Detection" (ICPR 2020, arXiv 2005.14140), with one Gaussian for all places of a feature map instead of one for its
mean, so that small defects count as much as large ones (as PaDiM does, arXiv 2011.08785, with one Gaussian a place).
Several taps are one feature vector a place: the finer maps are averaged over the places of the coarsest.
"""

from collections.abc import Iterable, Sequence
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.backbones import Backbone, BackboneConfig, build_backbone, tap_widths
from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.halves import half_safe_mean_square
from budgetc.detectors.layers import ConvUnit
from budgetc.detectors.stfpm import IMAGENET_MEAN, IMAGENET_STD
from budgetc.errors import BudgetcError

SHRINKAGE = 0.01
"""Share of the mean variance that is added to every one: rare directions of few normals are not trusted."""


class GaussianConfig(DetectorConfig):
    """One backbone; its taps together are what is judged."""

    backbone: BackboneConfig
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


class Gaussian(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,), map (b, 1, H, W): mean square of whitened features, and its maximum."""

    output_names = ("score", "map")
    half_safe = False
    """Whether the head must survive FP16; set by the export for targets that compute in it."""

    def __init__(self, config: GaussianConfig) -> None:
        super().__init__()
        self.size = config.input_size
        self.backbone: Backbone = build_backbone(config.backbone)
        channels = sum(tap_widths(config.backbone))
        self.whiten = ConvUnit(channels, channels, 1, norm=False, activation="none", head=True)
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def deployed(self) -> nn.Module:
        """All of it."""
        return self

    def normalized(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] -> zero mean, unit variance by the backbone's convention."""
        return (image - self.get_buffer("mean")) / self.get_buffer("std")

    def features(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] -> (b, c, h, w): all taps on the grid of the coarsest one."""
        taps: list[Tensor] = self.backbone(self.normalized(image))
        grid = taps[-1].shape[-2:]
        return torch.cat([_averaged(tap, (int(grid[0]), int(grid[1]))) for tap in taps], 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        whitened = self.whiten(self.features(image))
        distance = half_safe_mean_square(whitened) if self.half_safe else whitened.square().mean(1, keepdim=True)
        resized = F.interpolate(distance, size=self.size, mode="bilinear", align_corners=False)
        return distance.flatten(1).amax(1), resized


def _averaged(tap: Tensor, grid: tuple[int, int]) -> Tensor:
    """(b, c, h', w') -> (b, c, h, w): means over rectangles of one size; those at the far edges may be cut off."""
    height, width = int(tap.shape[-2]), int(tap.shape[-1])
    if (height, width) == grid:
        return tap
    sides = ceil(height / grid[0]), ceil(width / grid[1])
    whole = height % sides[0] == 0 and width % sides[1] == 0
    return F.avg_pool2d(tap, sides, ceil_mode=not whole, count_include_pad=False)


@torch.no_grad()
def fit_normals(module: Gaussian, batches: Iterable[Sequence[Tensor]]) -> None:
    """Set the whitening in place so that these features have zero mean and unit covariance.

    Args:
        module: its tap has c channels.
        batches: features of normals, one (b, c, h, w) each; every place of every picture counts once.

    Raises:
        BudgetcError: the features are not finite, or all alike.
    """
    mean, covariance = _moments(batches)
    spread = float(covariance.diagonal().mean())
    if not spread > 0:
        raise BudgetcError("the features of normals are all alike, or not finite: no Gaussian can be fitted to them")
    covariance += SHRINKAGE * spread * torch.eye(len(mean), dtype=torch.float64, device=mean.device)
    # L L' = inverse covariance, so that |L' (f - mean)|^2 is the squared Mahalanobis distance.
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance)).T
    module.whiten.conv.weight.copy_(whitening.float()[:, :, None, None])
    assert module.whiten.conv.bias is not None, "it was built with one"
    module.whiten.conv.bias.copy_(-(whitening @ mean).float())


def _moments(batches: Iterable[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean (c,) and covariance (c, c) over all places, in float64 and one pass: about the mean of the first batch,
    so that nothing cancels.
    """
    count, about = 0, torch.zeros(0)
    total = squares = torch.zeros(())
    for (features,) in batches:
        rows = features.movedim(1, -1).reshape(-1, features.shape[1]).double()
        about = rows.mean(0) if count == 0 else about
        away = rows - about
        count, total, squares = count + len(rows), total + away.sum(0), squares + away.T @ away
    shift = total / count
    return about + shift, (squares - count * torch.outer(shift, shift)) / (count - 1)

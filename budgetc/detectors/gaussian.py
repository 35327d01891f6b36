"""Gaussian: how far a picture's pretrained features lie from those of normals, in units of their own spread.

Rippel, Mertens & Merhof, "Modeling the Distribution of Normal Data in Pre-Trained Deep Features for Anomaly
Detection" (ICPR 2020, arXiv 2005.14140), with one Gaussian for all places of a feature map instead of one for its
mean, so that small defects count as much as large ones (as PaDiM does, arXiv 2011.08785, with one Gaussian a place).
"""

import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from budgetc.detectors.backbones import Backbone, BackboneConfig, build_backbone, tap_widths
from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.layers import ConvUnit
from budgetc.detectors.stfpm import IMAGENET_MEAN, IMAGENET_STD
from budgetc.errors import BudgetcError

SHRINKAGE = 0.01
"""Share of the mean variance that is added to every one: rare directions of few normals are not trusted."""


class GaussianConfig(DetectorConfig):
    """One backbone, one tap."""

    backbone: BackboneConfig
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @model_validator(mode="after")
    def _one_tap(self) -> "GaussianConfig":
        if len(self.backbone.taps) != 1:
            raise ValueError(f"backbone.taps: {self.backbone.taps}; a gaussian looks at one tap")
        return self


class Gaussian(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,), map (b, 1, H, W): mean square of whitened features, and its maximum."""

    output_names = ("score", "map")

    def __init__(self, config: GaussianConfig) -> None:
        super().__init__()
        self.size = config.input_size
        self.backbone: Backbone = build_backbone(config.backbone)
        channels = tap_widths(config.backbone)[0]
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
        """(b, 3, H, W) in [0, 1] -> (b, c, h, w): the tap."""
        taps: list[Tensor] = self.backbone(self.normalized(image))
        return taps[0]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        distance = self.whiten(self.features(image)).square().mean(1, keepdim=True)
        resized = F.interpolate(distance, size=self.size, mode="bilinear", align_corners=False)
        return distance.flatten(1).amax(1), resized


@torch.no_grad()
def fit_normals(module: Gaussian, features: Tensor) -> None:
    """Set the whitening in place so that these features have zero mean and unit covariance.

    Args:
        module: its tap has c channels.
        features: (n, c, h, w) of normals; every place of every picture counts once.

    Raises:
        BudgetcError: the features are not finite, or all alike.
    """
    rows = features.movedim(1, -1).reshape(-1, features.shape[1]).double()
    mean = rows.mean(0)
    covariance = torch.cov((rows - mean).T).reshape(len(mean), len(mean))
    spread = float(covariance.diagonal().mean())
    if not spread > 0:
        raise BudgetcError("the features of normals are all alike, or not finite: no Gaussian can be fitted to them")
    covariance += SHRINKAGE * spread * torch.eye(len(mean), dtype=torch.float64)
    # L L' = inverse covariance, so that |L' (f - mean)|^2 is the squared Mahalanobis distance.
    whitening = torch.linalg.cholesky(torch.linalg.inv(covariance)).T
    module.whiten.conv.weight.copy_(whitening.float()[:, :, None, None])
    assert module.whiten.conv.bias is not None, "it was built with one"
    module.whiten.conv.bias.copy_(-(whitening @ mean).float())

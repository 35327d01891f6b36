"""EfficientAD: a student of a patch network and of an autoencoder, for what is odd in places and as a whole.

Batzner, Heckler & König, "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies" (WACV 2024),
with the small patch description network (PDN-S). The published pictures have 256 pixels; from 32 on every size works:
see `Autoencoder` for what follows the size. Bilinear resizes stay as published, for every runtime here has them. They
compute in FP32 between INT8 convolutions. The channel normalization of the teacher's features (equation 2) lies in its
last convolution.
"""

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import model_validator
from torch import Tensor, nn

from budgetc.detectors.backbones.config import Width
from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.efficientad_networks import Autoencoder, PatchDescriptionNetwork, Size, patch_side
from budgetc.detectors.halves import half_safe_mean_square
from budgetc.detectors.layers import ConvUnit
from budgetc.detectors.stfpm import IMAGENET_MEAN, IMAGENET_STD

PUBLISHED_WIDTHS = (128, 256, 256, 384)
"""Channels of PDN-S: three hidden layers, and the features."""
PUBLISHED_SIDE = 256
QUANTILES = (0.9, 0.995)
_LOWER, _UPPER = 0.0, 0.1
"""What these quantiles of normals become in the map."""
_MARGIN = 4
"""Places that a map without padding lacks on each side."""
_HALF_GAIN = 2.0**3
"""Differences of features are multiplied by it where they are squared in FP16."""


class EfficientAdConfig(DetectorConfig):
    """Widths of three networks."""

    teacher: tuple[Width, Width, Width, Width] = PUBLISHED_WIDTHS
    """Channels of its hidden layers and of its features."""
    student: tuple[Width, Width, Width] = PUBLISHED_WIDTHS[:3]
    """Channels of its hidden layers; it has the teacher's features twice, the second for the autoencoder's."""
    encoder: tuple[Width, Width, Width, Width, Width, Width] = (32, 32, 64, 64, 64, 64)
    """Channels of the autoencoder's encoder; the last are those of the embedding."""
    decoder: Width = 64
    """Channels of the layers of its decoder."""
    padding: bool = False
    """Whether convolutions of the patch networks pad, so that places at the rim are described too."""
    pad_maps: bool = True
    """Whether a rim of 4 places without distance stands for those that a network without padding does not describe;
    else the map is stretched to the picture. As released, also where padding left no such rim."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def grid(self) -> Size:
        """(height, width) of the features."""
        height, width = (patch_side(side, padding=self.padding) for side in self.input_size)
        return height, width

    @model_validator(mode="after")
    def _large_enough(self) -> "EfficientAdConfig":
        if min(self.input_size) < 32 or min(self.grid) < 1:
            least = "32" if self.padding else "33, without padding"
            raise ValueError(f"input_size: {self.input_size}; patches of 33 pixels need sides of at least {least}")
        return self


class Follower(nn.Module):
    """Student and autoencoder: a normalized picture -> features after the teacher's, after the autoencoder's, and the
    autoencoder's; (b, c, h, w) each.
    """

    def __init__(self, config: EfficientAdConfig) -> None:
        super().__init__()
        features = config.teacher[-1]
        self.patches = PatchDescriptionNetwork(config.student, (features, features), padding=config.padding)
        self.autoencoder = Autoencoder(
            config.encoder, config.decoder, features, size=config.input_size, grid=config.grid
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        return [*self.patches(x), self.autoencoder(x)]


class EfficientAd(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,), map (b, 1, H, W). All three networks are deployed.

    The map is the mean of two distances, each moved and scaled so that two of its quantiles over normals are 0 and .1;
    as that is linear it happens once, on their sum. So a score may be below 0.
    """

    output_names = ("score", "map")
    half_safe = False
    """Whether the head must survive FP16; set by the export for targets that compute in it."""

    def __init__(self, config: EfficientAdConfig) -> None:
        super().__init__()
        self.size, self.grid = config.input_size, config.grid
        self.margin = _MARGIN if config.pad_maps else 0
        self.teacher = PatchDescriptionNetwork(config.teacher[:3], config.teacher[3:], padding=config.padding)
        self.student = Follower(config)
        self.register_buffer("gains", torch.full((1, 2, 1, 1), 0.5))
        self.register_buffer("offset", torch.zeros(1))
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def deployed(self) -> nn.Module:
        """All of it."""
        return self

    @property
    def lowest_score(self) -> float:
        """Of a picture whose features are all as expected."""
        return float(self.get_buffer("offset"))

    def normalized(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] -> zero mean, unit variance by the teacher's convention."""
        return (image - self.get_buffer("mean")) / self.get_buffer("std")

    def features(self, image: Tensor) -> list[Tensor]:
        """(b, 3, H, W) in [0, 1] -> the teacher's, and what `Follower` returns."""
        x = self.normalized(image)
        return [*self.teacher(x), *self.student(x)]

    def distances_of(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What `features` returns -> teacher to student and autoencoder to student, (b, 1, h, w) each (equation 4)."""
        teacher, after_teacher, after_autoencoder, autoencoder = features
        return self._distance(teacher, after_teacher), self._distance(autoencoder, after_autoencoder)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        local, whole = self.distances_of(self.features(image))
        # As a convolution, so that no simplifier takes a zero or a one for a reason to drop a node.
        padded = self._padded(torch.cat([local, whole], 1))
        joined = self._stretched(F.conv2d(padded, self.get_buffer("gains"), self.get_buffer("offset")))
        return joined.flatten(1).amax(1), joined

    def maps(self, image: Tensor) -> list[Tensor]:
        """(b, 3, H, W) in [0, 1] -> both distances before normalization, (b, 1, H, W) each."""
        return [self._stretched(self._padded(distance)) for distance in self.distances_of(self.features(image))]

    def _padded(self, distance: Tensor) -> Tensor:
        return F.pad(distance, (self.margin,) * 4) if self.margin else distance

    def _stretched(self, distance: Tensor) -> Tensor:
        return F.interpolate(distance, size=self.size, mode="bilinear", align_corners=False)

    def _distance(self, wanted: Tensor, own: Tensor) -> Tensor:
        if self.half_safe:
            return half_safe_mean_square((wanted - own) * _HALF_GAIN) * _HALF_GAIN**-2
        return (wanted - own).square().mean(1, keepdim=True)


def hard_loss(wanted: Tensor, own: Tensor, share: float = 0.001) -> Tensor:
    """Mean square difference of the worst-imitated elements alone (equation 1): so many that a student does not follow
    its teacher beyond normals.

    The published share is that above the quantile .999 of one picture; here of a batch.
    """
    squares = (wanted - own).square().flatten()
    return squares.topk(max(1, round(share * squares.numel()))).values.mean()


@torch.no_grad()
def normalize_channels(teacher: PatchDescriptionNetwork, features: Tensor) -> None:
    """Give the teacher's features of these pictures zero mean and unit variance each, in place (equation 2).

    Args:
        teacher: its last convolution takes the scales.
        features: (n, c, h, w), its present ones of training normals.
    """
    deviation, mean = torch.std_mean(features.double(), (0, 2, 3), correction=0)
    least = 1e-3 * float(deviation.mean()) + 1e-12
    scale_channels(teacher, mean.float(), deviation.clamp(min=least).float())


@torch.no_grad()
def scale_channels(teacher: PatchDescriptionNetwork, mean: Tensor, deviation: Tensor) -> None:
    """(x - mean) / deviation becomes part of the teacher's last convolution; (c,) each."""
    last = teacher.outputs[0]
    assert isinstance(last, ConvUnit) and last.conv.bias is not None, "it was built with one"
    last.conv.weight.div_(deviation[:, None, None, None])
    last.conv.bias.sub_(mean).div_(deviation)


def fit_quantiles(module: EfficientAd, local: Tensor, whole: Tensor) -> None:
    """Set the normalization in place by the two maps of calibration normals, (n, 1, H, W) each."""
    found = (np.quantile(one.numpy(), QUANTILES) for one in (local, whole))
    set_quantiles(module, *((float(lower), float(upper)) for lower, upper in found))


@torch.no_grad()
def set_quantiles(module: EfficientAd, local: tuple[float, float], whole: tuple[float, float]) -> None:
    """(lower, upper) of the teacher-student and of the autoencoder-student map become 0 and .1 (equations 5 and 6)."""
    gains = [0.5 * (_UPPER - _LOWER) / max(upper - lower, 1e-6 * abs(upper), 1e-12)
             for lower, upper in (local, whole)]  # fmt: skip
    module.get_buffer("gains").copy_(torch.tensor(gains).view(1, 2, 1, 1))
    module.get_buffer("offset").fill_(-gains[0] * local[0] - gains[1] * whole[0])

"""Bi3DOF: a variational autoencoder of optical flow that finds motion unlike that of normals.

Feng, Ng, Easwaran, "Improving Variational Autoencoder based Out-of-Distribution Detection for Embedded Real-time
Applications", arXiv 2107.11750; the second detector of Bansal et al., arXiv 2409.00880. Six successive fields of
horizontal and six of vertical motion are read by two independent encoders; only these are deployed.
"""

import itertools
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from budgetc.core.dataset import Motion
from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.halves import half_safe_kl
from budgetc.detectors.layers import ConvUnit, InputUnit, LinearUnit
from budgetc.detectors.variational import Latent, LatentEncoder, VaeOutput, Variational, kl_per_latent

Size = tuple[int, int]
KERNEL = 5
MAX_FRAME = 4096
PUBLISHED: dict[Size, Size] = {(113, 152): (120, 160), (87, 116): (90, 120), (56, 77): (60, 80)}
"""(height, width) of fields -> of the frames that they are the center of."""
_CROP = 0.95
"""Share of a frame's side that the fields of other sizes take."""
_LARGEST = 0.1
"""Of the frame's width: the motion between two frames that is the largest to be told."""


_LOGVAR = 30.0
_HALF_MU, _HALF_LOGVAR = 60.0, 7.0
"""The sum of a dozen latents at both bounds, and half of it, fits in FP16."""


class FlowVaeConfig(DetectorConfig):
    """Shape of the encoders, and of what they read; the defaults are the published ones."""

    input_size: Size = (113, 152)
    """(height, width) of the fields."""
    frame_size: Size = PUBLISHED[113, 152]
    """(height, width) that frames are resized to before the crop; follows from `input_size` where it is not given."""
    fields: int = Field(default=6, ge=1, le=64)
    """Successive fields that are read at once."""
    largest: float = Field(default=16.0, gt=0, allow_inf_nan=False)
    """Pixels between two frames that the end of the scale stands for; a tenth of the frame's width if not given."""
    widths: tuple[int, ...] = Field(default=(32, 64, 128, 256), min_length=1)
    """Channels of an encoder's convolutions: 5x5, the last of stride 1 and all before of stride 3."""
    paddings: tuple[Size, ...] = ()
    """Rows and columns of zeros on each side, by convolution. Where they are not given, the fewest that leave no
    border unread, which are the published ones at 113x152."""
    latents: int = Field(default=12, ge=1)
    """Of each encoder."""
    decoder: bool = True
    """Whether the decoders are kept; a compressed detector has none, since only training needs them."""

    @model_validator(mode="before")
    @classmethod
    def _settled(cls, given: Any) -> Any:
        """What follows from the rest is written down, so that a bundle says it. What is no size is refused later."""
        if not isinstance(given, dict):
            return given
        result = dict(given)
        size = result.get("input_size", cls.model_fields["input_size"].default)
        if _is_size(size):
            height, width = size
            centered = PUBLISHED.get((height, width), (round(height / _CROP), round(width / _CROP)))
            result.setdefault("frame_size", centered)
            count = len(result["widths"]) if isinstance(result.get("widths"), (list, tuple)) else 4
            result.setdefault("paddings", tuple(zip(*(fewest_paddings(side, count) for side in size), strict=True)))
        if _is_size(result.get("frame_size")):
            result.setdefault("largest", _LARGEST * result["frame_size"][1])
        return result

    @model_validator(mode="after")
    def _fits(self) -> "FlowVaeConfig":
        if len(self.paddings) != len(self.widths):
            raise ValueError(f"paddings: {len(self.paddings)} for {len(self.widths)} convolutions")
        if any(not 0 <= padding < KERNEL for pair in self.paddings for padding in pair):
            raise ValueError(f"paddings: {self.paddings}, each must lie in 0..{KERNEL - 1}")
        if max(self.frame_size) > MAX_FRAME:
            raise ValueError(f"frame_size: {self.frame_size}, at most {MAX_FRAME} on a side")
        if any(frame < field for frame, field in zip(self.frame_size, self.input_size, strict=True)):
            raise ValueError(f"frame_size: {self.frame_size} is smaller than its center {self.input_size}")
        if min(self.input_size) < KERNEL:
            raise ValueError(f"input_size: {self.input_size} is too small: the first window has {KERNEL} on a side")
        if min(min(size) for size in self.sizes) < 1:
            raise ValueError(f"input_size: {self.input_size} is too small for {len(self.widths)} convolutions")
        return self

    @property
    def channels(self) -> int:
        """Horizontal and vertical fields."""
        return 2 * self.fields

    @property
    def motion(self) -> Motion:
        """Fields and the frames that they come from."""
        return Motion(self.input_size, self.frame_size, self.fields, self.largest)

    @property
    def parts(self) -> tuple[str, ...]:
        """The distances of both directions."""
        return ("d_h", "d_v")

    @property
    def stem_channels(self) -> int:
        """Fields of one direction."""
        return self.fields

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the convolutions."""
        return strides_of(len(self.widths))

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of the input and of what each convolution makes of it."""
        found = [self.input_size]
        for stride, padding in zip(self.strides, self.paddings, strict=True):
            height, width = ((side + 2 * pad - KERNEL) // stride + 1
                             for side, pad in zip(found[-1], padding, strict=True))  # fmt: skip
            found.append((height, width))
        return tuple(found)


def _is_size(given: object) -> bool:
    return (isinstance(given, (list, tuple)) and len(given) == 2
            and all(isinstance(side, int) and side > 0 for side in given))  # fmt: skip


def strides_of(count: int) -> tuple[int, ...]:
    """Of so many convolutions."""
    return (*(3,) * (count - 1), 1)


def fewest_paddings(side: int, count: int) -> tuple[int, ...]:
    """By convolution, the fewest zeros on both ends of a side that let the windows cover all of it, exactly."""
    found: list[int] = []
    for stride in strides_of(count):
        fitting = (pad for pad in range(KERNEL) if side + 2 * pad >= KERNEL and (side + 2 * pad - KERNEL) % stride == 0)
        found.append(next(fitting, 0))
        side = (side + 2 * found[-1] - KERNEL) // stride + 1
    return tuple(found)


class FieldEncoder(nn.Module):
    """(b, fields, H, W) of one direction -> its posterior."""

    def __init__(self, config: FlowVaeConfig) -> None:
        super().__init__()
        # Both directions have an input of their own: traffic moves more from side to side than up and down.
        self.input = InputUnit()
        shapes = zip(itertools.pairwise((config.fields, *config.widths)), config.strides, config.paddings, strict=True)
        self.blocks = nn.ModuleList(
            ConvUnit(before, after, KERNEL, stride=stride, padding=padding, activation="elu")
            for (before, after), stride, padding in shapes
        )
        flat = config.widths[-1] * config.sizes[-1][0] * config.sizes[-1][1]
        # Two heads, never one: mu and logvar must not share a quantization scale.
        self.mu = LinearUnit(flat, config.latents, head=True)
        self.logvar = LinearUnit(flat, config.latents, head=True)

    def forward(self, fields: Tensor) -> Latent:
        x = self.input(fields)
        for block in self.blocks:
            x = block(x)
        x = x.reshape(x.shape[0], -1)
        return Latent(self.mu(x), self.logvar(x))


class FlowEncoder(LatentEncoder):
    """(b, 2 * fields, H, W) in [0, 1] -> score (b,), d_h (b,), d_v (b,): the deployed part.

    Each direction's distance is the sum of its KL divergences. A clip is anomalous when either is over its threshold
    (arXiv 2107.11750): the score is the larger of the two, each in units of what normals seldom exceed.
    """

    output_names = ("score", "d_h", "d_v")
    half_safe = False
    """Whether the head must survive FP16; set by the export for targets that compute in it."""
    distance = None

    def __init__(self, config: FlowVaeConfig) -> None:
        super().__init__()
        self.fields = config.fields
        self.horizontal, self.vertical = FieldEncoder(config), FieldEncoder(config)
        # Fitted to normals by `fit_units`. Before, neither 1 nor equal: an exporter would fold or merge them, and the
        # graph that is priced would be another one.
        self.register_buffer("gain_h", torch.full((1,), 0.5))
        self.register_buffer("gain_v", torch.full((1,), 0.25))

    @property
    def latents(self) -> int:
        """Latent variables of both directions."""
        return self.horizontal.mu.linear.out_features + self.vertical.mu.linear.out_features

    def directions(self, image: Tensor) -> tuple[Latent, Latent]:
        """(b, 2 * fields, H, W) in [0, 1] -> posteriors of horizontal and vertical motion."""
        horizontal: Latent = self.horizontal(image[:, : self.fields])
        vertical: Latent = self.vertical(image[:, self.fields :])
        return horizontal, vertical

    def encode(self, image: Tensor) -> Latent:
        """Both posteriors side by side; for training, never in a file."""
        horizontal, vertical = self.directions(image)
        return Latent(torch.cat([horizontal.mu, vertical.mu], 1), torch.cat([horizontal.logvar, vertical.logvar], 1))

    def distances(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 2 * fields, H, W) in [0, 1] -> d_h and d_v in nats, (b,) each."""
        horizontal, vertical = (self._divergence(latent) for latent in self.directions(image))
        return horizontal, vertical

    def _divergence(self, latent: Latent) -> Tensor:
        """(b,) sum of the KL of all latents. Far from normals, such as in front of a still picture, nothing bounds what
        the heads say: where e^logvar would be infinite, the distance is only very large.
        """
        if self.half_safe:
            mu, logvar = latent.mu.clamp(-_HALF_MU, _HALF_MU), latent.logvar.clamp(max=_HALF_LOGVAR)
            return half_safe_kl(mu, logvar).sum(1)
        return kl_per_latent(Latent(latent.mu, latent.logvar.clamp(max=_LOGVAR))).sum(1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        horizontal, vertical = self.distances(image)
        score = torch.maximum(horizontal * self.get_buffer("gain_h"), vertical * self.get_buffer("gain_v"))
        return score, horizontal, vertical


class FieldDecoder(nn.Module):
    """(b, latents) -> (b, fields, H, W) logits: the encoder mirrored, for training only."""

    def __init__(self, config: FlowVaeConfig) -> None:
        super().__init__()
        self.bottom = (config.widths[-1], *config.sizes[-1])
        self.first = nn.Linear(config.latents, self.bottom[0] * self.bottom[1] * self.bottom[2])
        layers: list[nn.Module] = []
        channels = (config.fields, *config.widths)
        for at in reversed(range(len(config.widths))):
            # Rows and columns of a border that the encoder did not read come back as they are not: by zeros.
            height, width = ((side + 2 * pad - KERNEL) % config.strides[at]
                             for side, pad in zip(config.sizes[at], config.paddings[at], strict=True))  # fmt: skip
            last = at == 0
            layers.append(nn.ConvTranspose2d(channels[at + 1], channels[at], KERNEL, config.strides[at],
                                             config.paddings[at], (height, width), bias=last))  # fmt: skip
            layers += [] if last else [nn.BatchNorm2d(channels[at]), nn.ELU()]
        self.layers = nn.Sequential(nn.ELU(), *layers)

    def forward(self, z: Tensor) -> Tensor:
        fields: Tensor = self.layers(self.first(z).reshape(-1, *self.bottom))
        return fields


class FlowDecoder(nn.Module):
    """(b, 2 * latents) -> (b, 2 * fields, H, W) logits."""

    def __init__(self, config: FlowVaeConfig) -> None:
        super().__init__()
        self.horizontal, self.vertical = FieldDecoder(config), FieldDecoder(config)

    def forward(self, z: Tensor) -> Tensor:
        halves = z.chunk(2, 1)
        return torch.cat([self.horizontal(halves[0]), self.vertical(halves[1])], 1)


class FlowVae(Variational):
    """Both encoders and decoders."""

    encoder: FlowEncoder

    def __init__(self, config: FlowVaeConfig) -> None:
        super().__init__()
        self.encoder = FlowEncoder(config)
        self.decoder = FlowDecoder(config) if config.decoder else None


def flow_loss(output: VaeOutput, fields: Tensor) -> Tensor:
    """0.5 squared error, summed over pixels, + KL of both directions; mean over the batch (arXiv 2107.11750)."""
    error = (output.reconstruction.sigmoid() - fields).square().sum() / len(fields)
    return 0.5 * error + kl_per_latent(output.latent).sum(1).mean()


_SELDOM = 0.95
"""Quantile of normals that each direction is measured in."""


@torch.no_grad()
def fit_units(encoder: FlowEncoder, horizontal: Tensor, vertical: Tensor) -> None:
    """Set the units of both directions in place, from the distances of normals, (n,) each.

    The threshold of the score follows from calibration normals, as for every detector.
    """
    for name, distances in (("gain_h", horizontal), ("gain_v", vertical)):
        unit = torch.quantile(distances.double(), _SELDOM).clamp(min=1e-6)
        encoder.get_buffer(name).copy_((1 / unit).float())

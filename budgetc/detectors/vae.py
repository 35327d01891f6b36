"""beta-VAE out-of-distribution detector; only its encoder is deployed.

Ramakrishna et al., "Efficient Out-of-Distribution Detection Using Latent Space of beta-VAE",
arXiv 2108.11800; the first detector of Bansal et al., arXiv 2409.00880.
"""

import itertools

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.halves import half_safe_kl
from budgetc.detectors.latents import LatentDistance
from budgetc.detectors.layers import ConvUnit, InputUnit, LinearUnit
from budgetc.detectors.variational import (
    Latent,
    LatentEncoder,
    VaeOutput,
    Variational,
    kl_per_latent,
)


class VaeConfig(DetectorConfig):
    """Shape of encoder and decoder; the defaults are the published ones at 224 px."""

    input_size: tuple[int, int] = (224, 224)
    widths: tuple[int, ...] = Field(default=(128, 64, 32, 16), min_length=1)
    """Channels of the convolution blocks; each halves the resolution."""
    hidden: tuple[int, ...] = (2048, 1000, 250)
    """Sizes of the fully connected layers between the last block and the heads; may be empty."""
    latents: int = Field(default=30, ge=1)
    beta: float = Field(default=1.4, gt=0)
    prototypes: int = Field(default=0, ge=0, le=1024)
    """The score is the distance to the nearest of so many clusters of normals; 0: the KL divergence, as published."""
    decoder: bool = True
    """Whether the decoder is kept; a compressed detector has none, since only training needs it."""

    @model_validator(mode="after")
    def _large_enough(self) -> "VaeConfig":
        if min(self.bottom) < 1:
            raise ValueError(f"input_size {self.input_size} is too small for {len(self.widths)} halvings")
        return self

    @property
    def bottom(self) -> tuple[int, int]:
        """(height, width) of the last block's output."""
        return self.input_size[0] >> len(self.widths), self.input_size[1] >> len(self.widths)


class VaeEncoder(LatentEncoder):
    """(b, 3, H, W) in [0, 1] -> score (b,), kl (b, latents). The deployed part of a VAE without prototypes."""

    output_names = ("score", "kl")
    half_safe = False
    """Whether the head must survive FP16; set by the export for targets that compute in it."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.input = InputUnit()
        channels = (3, *config.widths)
        self.blocks = nn.ModuleList(ConvUnit(a, b, 3, activation="leaky") for a, b in itertools.pairwise(channels))
        sizes = (config.widths[-1] * config.bottom[0] * config.bottom[1], *config.hidden)
        self.hidden = nn.ModuleList(LinearUnit(a, b, activation="leaky") for a, b in itertools.pairwise(sizes))
        # Two heads, never one: mu and logvar must not share a quantization scale.
        self.mu = LinearUnit(sizes[-1], config.latents, head=True)
        self.logvar = LinearUnit(sizes[-1], config.latents, head=True)
        self.distance = LatentDistance(config.latents, config.prototypes) if config.prototypes else None

    @property
    def latents(self) -> int:
        """Latent variables."""
        return self.mu.linear.out_features

    def encode(self, image: Tensor) -> Latent:
        """(b, 3, H, W) in [0, 1] -> posterior."""
        x = _features(self, image)
        return Latent(self.mu(x), self.logvar(x))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.encode(image)
        kl = half_safe_kl(*latent) if self.half_safe else kl_per_latent(latent)
        return kl.sum(1), kl


class VaeDistance(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,): the deployed part of a VAE with prototypes.

    It shares the layers of an encoder, without `logvar`, which only training needs.
    """

    output_names = ("score",)

    def __init__(self, encoder: VaeEncoder, distance: LatentDistance) -> None:
        super().__init__()
        self.input, self.blocks, self.hidden = encoder.input, encoder.blocks, encoder.hidden
        self.mu, self.distance = encoder.mu, distance

    def means(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] -> (b, latents): what the distance is measured of."""
        mu: Tensor = self.mu(_features(self, image))
        return mu

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.distance(self.means(image)),)


def _features(network: VaeEncoder | VaeDistance, image: Tensor) -> Tensor:
    """(b, 3, H, W) in [0, 1] -> (b, c): what the heads read."""
    x: Tensor = network.input(image)
    for block in network.blocks:
        x = F.max_pool2d(block(x), 2)
    x = x.reshape(x.shape[0], -1)
    for layer in network.hidden:
        x = layer(x)
    return x


class VaeDecoder(nn.Module):
    """(b, latents) -> (b, 3, H, W) logits; training only."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.size, self.shape = config.input_size, (config.widths[-1], *config.bottom)
        sizes = (config.latents, *reversed(config.hidden), self.shape[0] * self.shape[1] * self.shape[2])
        self.hidden = nn.ModuleList(LinearUnit(a, b, activation="leaky") for a, b in itertools.pairwise(sizes))
        channels = (*reversed(config.widths), config.widths[0])
        self.blocks = nn.ModuleList(ConvUnit(a, b, 3, activation="leaky") for a, b in itertools.pairwise(channels))
        self.image = nn.Conv2d(channels[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        for layer in self.hidden:
            z = layer(z)
        x = z.reshape(-1, *self.shape)
        for block in self.blocks:
            x = F.interpolate(block(x), scale_factor=2.0, mode="nearest")
        x = self.image(x)
        return x if x.shape[-2:] == self.size else F.interpolate(x, size=self.size, mode="nearest")


class Vae(Variational):
    """Encoder and decoder."""

    encoder: VaeEncoder

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.encoder = VaeEncoder(config)
        self.decoder = VaeDecoder(config) if config.decoder else None

    def deployed(self) -> nn.Module:
        """The encoder, or what measures the distance of its means."""
        encoder = self.encoder
        return encoder if encoder.distance is None else VaeDistance(encoder, encoder.distance)


def vae_loss(output: VaeOutput, image: Tensor, beta: float) -> Tensor:
    """Reconstruction (binary cross-entropy summed over pixels) + beta * KL, mean over the batch."""
    pixels = F.binary_cross_entropy_with_logits(output.reconstruction, image, reduction="sum") / len(image)
    return pixels + beta * kl_per_latent(output.latent).sum(1).mean()

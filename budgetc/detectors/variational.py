"""What variational autoencoders share, whatever they read: a posterior, its divergence, and a decoder for training."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from budgetc.detectors.latents import LatentDistance
from budgetc.errors import InputRejected


class Latent(NamedTuple):
    """Posterior of the latent variables, each (batch, latents)."""

    mu: Tensor
    logvar: Tensor


class VaeOutput(NamedTuple):
    """Everything the training loss needs."""

    latent: Latent
    reconstruction: Tensor
    """(batch, channels, H, W) logits."""


def kl_per_latent(latent: Latent) -> Tensor:
    """KL(q(z|x) || N(0, 1)) per dimension: 0.5 (mu^2 + e^logvar - logvar - 1), (batch, latents)."""
    return 0.5 * (latent.mu.square() + latent.logvar.exp() - latent.logvar - 1)


class LatentEncoder(nn.Module):
    """What passes know of an encoder."""

    distance: LatentDistance | None
    """What scores by clusters of normals have in place of the divergence."""

    @property
    def latents(self) -> int:
        """Latent variables of the posterior."""
        raise NotImplementedError

    def encode(self, image: Tensor) -> Latent:
        """(b, channels, H, W) in [0, 1] -> posterior of all latents."""
        raise NotImplementedError


class Variational(nn.Module):
    """An encoder and, until the network is compressed, a decoder: (b, latents) -> (b, channels, H, W) logits."""

    encoder: LatentEncoder
    decoder: nn.Module | None

    def deployed(self) -> nn.Module:
        """The encoder."""
        return self.encoder

    def forward(self, image: Tensor) -> VaeOutput:
        if self.decoder is None:
            raise InputRejected("this VAE has no decoder (it was compressed): train its baseline instead")
        latent = self.encoder.encode(image)
        noise = torch.randn_like(latent.mu) if self.training else torch.zeros_like(latent.mu)
        z = latent.mu + noise * (0.5 * latent.logvar).exp()
        return VaeOutput(latent, self.decoder(z))

"""Losses and data of imitation."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from budgetc.detectors.vae import Latent
from budgetc.training.losses import latent_divergence


def test_equal_posteriors_are_at_distance_zero() -> None:
    """And only they: moving a mean costs."""
    own = Latent(torch.randn(3, 4), torch.randn(3, 4))
    assert latent_divergence(own, own).item() == pytest.approx(0, abs=1e-6)
    assert latent_divergence(own, own._replace(mu=own.mu + 1)).item() > 0.1


def test_the_divergence_is_that_of_torch_distributions() -> None:
    """KL(wanted || own), in this direction, summed over latents and averaged over the batch."""
    torch.manual_seed(0)
    wanted, own = (Latent(torch.randn(5, 3), torch.randn(5, 3)) for _ in range(2))
    p, q = (Normal(latent.mu, (0.5 * latent.logvar).exp()) for latent in (wanted, own))
    torch.testing.assert_close(latent_divergence(wanted, own), kl_divergence(p, q).sum(1).mean())

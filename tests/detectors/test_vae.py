"""beta-VAE: its score, its shapes, its published size."""

import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Normal, kl_divergence

from budgetc.detectors.families import build
from budgetc.detectors.layers import LinearUnit, units
from budgetc.detectors.vae import Vae, VaeConfig, vae_loss
from budgetc.detectors.variational import Latent, kl_per_latent
from budgetc.errors import InputRejected
from tests.small import SIZE, small_vae


def test_kl_is_that_of_torch_distributions() -> None:
    """The closed form equals the library's KL(N(mu, sigma) || N(0, 1)) per dimension."""
    mu, logvar = torch.randn(5, 4), torch.randn(5, 4)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_per_latent(Latent(mu, logvar)), expected)


@torch.no_grad()
def test_the_score_is_the_sum_over_latents() -> None:
    """score (b,) sums kl (b, latents)."""
    score, kl = small_vae().deployed()(torch.rand(3, 3, *SIZE))
    assert score.shape == (3,) and kl.shape == (3, 4)
    torch.testing.assert_close(score, kl.sum(1))


def test_mu_and_logvar_are_heads_of_their_own() -> None:
    """Two layers, both exempt from rounding: one tensor would make them share a scale."""
    heads = [name for name, unit in units(small_vae().module) if isinstance(unit, LinearUnit) and unit.head]
    assert heads == ["encoder.mu", "encoder.logvar"]


def test_the_encoder_has_the_published_number_of_weights() -> None:
    """8.84 M parameters at 224 px with the published widths (arXiv 2409.00880)."""
    with torch.device("meta"):
        encoder = Vae(VaeConfig(latents=30)).encoder
    assert sum(weight.numel() for weight in encoder.parameters()) == pytest.approx(8.84e6, rel=0.005)


@pytest.mark.parametrize("size", [(32, 32), (36, 52)])
def test_reconstructions_have_the_size_of_the_image(size: tuple[int, int]) -> None:
    """Also where the size is no multiple of the halvings."""
    module = build("vae", VaeConfig(input_size=size, widths=(8, 8, 8), hidden=(), latents=2)).module
    assert module(torch.rand(2, 3, *size)).reconstruction.shape == (2, 3, *size)


def test_the_loss_falls_where_the_reconstruction_improves() -> None:
    """Logits on the right side of 0.5 cost less than on the wrong one; beta weighs the KL."""
    latent = Latent(torch.ones(1, 2), torch.zeros(1, 2))
    image = torch.full((1, 3, 2, 2), 0.9)
    module = small_vae().module
    output = module(torch.rand(1, 3, *SIZE))
    right = vae_loss(output._replace(latent=latent, reconstruction=torch.full_like(image, 2.0)), image, 1.0)
    wrong = vae_loss(output._replace(latent=latent, reconstruction=torch.full_like(image, -2.0)), image, 1.0)
    assert right < wrong
    heavier = vae_loss(output._replace(latent=latent, reconstruction=torch.full_like(image, 2.0)), image, 3.0)
    assert (heavier - right).item() == pytest.approx(2 * 1.0)  # KL of mu = (1, 1) is 1


def test_evaluation_draws_no_noise() -> None:
    """In evaluation mode two reconstructions of one image are equal."""
    module, image = small_vae().module, torch.rand(1, 3, *SIZE)
    assert torch.equal(module(image).reconstruction, module(image).reconstruction)


def test_a_vae_without_decoder_says_why_it_cannot_train() -> None:
    """Compressed VAEs have none; the message says what to train instead."""
    module = build("vae", VaeConfig(input_size=SIZE, widths=(8,), hidden=(), latents=2, decoder=False)).module
    with pytest.raises(InputRejected, match="no decoder"):
        module(torch.rand(1, 3, *SIZE))


def test_an_input_that_vanishes_is_refused() -> None:
    """Four halvings of 8 px leave nothing."""
    with pytest.raises(ValidationError, match="too small for 4 halvings"):
        VaeConfig(input_size=(8, 64))


@torch.no_grad()
def test_a_vae_with_prototypes_deploys_its_score_alone() -> None:
    """The distance of its means to clusters; logvar is a branch of the training."""
    config = VaeConfig(input_size=SIZE, widths=(8, 8), hidden=(), latents=4, prototypes=3)
    encoder = build("vae", config).deployed()
    assert encoder.output_names == ("score",)
    (score,) = encoder(torch.rand(5, 3, *SIZE))
    assert score.shape == (5,)

"""What a student may imitate beside features."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from budgetc.detectors.variational import Latent
from budgetc.training.losses import latent_divergence, ranking_loss, relation_loss


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


def test_relations_do_not_see_scale_place_and_turning() -> None:
    """Distances over their mean and angles are those of a similar figure, in more dimensions too."""
    torch.manual_seed(0)
    wanted = torch.randn(6, 3)
    turned = torch.linalg.qr(torch.randn(5, 5)).Q[:3]
    assert relation_loss(wanted, 4 * wanted @ turned + 1).item() == pytest.approx(0, abs=1e-9)
    assert relation_loss(wanted, torch.randn(6, 3)).item() > 0.01


def test_relations_pull_a_picture_that_lies_too_far_away() -> None:
    """The gradient leads the odd one back to where the others are; pictures that are all alike give no NaN."""
    wanted = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    own = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0]], requires_grad=True)
    relation_loss(wanted, own).backward()
    assert own.grad is not None
    assert own.grad[1, 0] > 0
    alike = torch.zeros(3, 2, requires_grad=True)
    relation_loss(wanted, alike).backward()
    assert alike.grad is not None and bool(alike.grad.isfinite().all())


def test_a_ranking_lifts_what_should_be_higher() -> None:
    """And lowers the other; in the right order far apart there is nothing left to gain, and ties have no order."""
    wanted, own = torch.tensor([0.0, 1.0]), torch.zeros(2, requires_grad=True)
    ranking_loss(wanted, own).backward()
    assert own.grad is not None
    assert own.grad[0] > 0 > own.grad[1]
    assert ranking_loss(wanted, torch.tensor([0.0, 20.0])).item() == pytest.approx(0, abs=1e-6)
    assert ranking_loss(wanted, torch.tensor([20.0, 0.0])).item() == pytest.approx(20, rel=1e-3)
    assert ranking_loss(torch.zeros(2), torch.tensor([5.0, 0.0])).item() == 0

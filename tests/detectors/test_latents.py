"""The distance of a latent code to clusters of normals."""

import pytest
import torch
from torch import Tensor

from budgetc.detectors.latents import LatentDistance, fit_prototypes
from budgetc.errors import BudgetcError


def _clusters(seed: int = 0) -> Tensor:
    """(90, 3): thirty codes around each of three places, widest along the first latent."""
    torch.manual_seed(seed)
    places = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0], [0.0, 9.0, 0.0]])
    return places.repeat_interleave(30, 0) + torch.randn(90, 3) * torch.tensor([0.5, 0.1, 0.1])


def _fitted(mu: Tensor, prototypes: int) -> LatentDistance:
    distance = LatentDistance(mu.shape[1], prototypes)
    fit_prototypes(distance, mu)
    return distance


@torch.no_grad()
def test_what_lies_between_clusters_is_farther_than_what_lies_in_one() -> None:
    """The middle of all normals is no normal; one cluster alone would say it is the most normal of all."""
    mu = _clusters()
    middle = mu.mean(0, keepdim=True)
    assert _fitted(mu, 3)(middle) > 10 * _fitted(mu, 3)(mu).max()
    assert _fitted(mu, 1)(middle) < _fitted(mu, 1)(mu).min()


@torch.no_grad()
def test_a_code_nearer_to_zero_than_normals_is_anomalous() -> None:
    """The KL to N(0, 1) says the opposite: that is why there is this score."""
    mu = _clusters() + 20
    assert _fitted(mu, 3)(torch.zeros(1, 3)) > 10 * _fitted(mu, 3)(mu).max()


@torch.no_grad()
def test_directions_count_by_how_far_normals_go_in_them() -> None:
    """A step along the wide latent is less than the same step along a narrow one."""
    mu = _clusters()
    wide, narrow = _fitted(mu, 3)(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]))
    assert narrow > 5 * wide


@torch.no_grad()
def test_distances_are_those_of_mahalanobis() -> None:
    """With one cluster: the squared distance to the mean under the shrunk covariance, over 64."""
    mu = _clusters().double()
    rest = mu - mu.mean(0)
    covariance = rest.T @ rest / len(mu)
    covariance += 0.01 * covariance.diagonal().mean() * torch.eye(3)
    expected = (rest @ torch.linalg.inv(covariance) * rest).sum(1) / 64
    torch.testing.assert_close(_fitted(mu.float(), 1)(mu.float()), expected.float(), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_the_farthest_code_fits_in_half_precision() -> None:
    """A code far beyond everything gives a finite score in FP16, and still the largest."""
    distance = _fitted(_clusters().repeat(1, 20), 3)
    assert torch.isfinite(distance(torch.full((1, 60), 1e4)).half()).all()


@torch.no_grad()
def test_more_prototypes_than_normals_are_no_harm() -> None:
    """Every normal is its own center then, at distance 0."""
    mu = _clusters()[::20]
    assert _fitted(mu, 8)(mu).max() < 1e-6


def test_codes_that_are_all_alike_are_refused() -> None:
    """An encoder that collapsed says nothing about distance."""
    with pytest.raises(BudgetcError, match="all alike"):
        _fitted(torch.ones(10, 3), 2)


@torch.no_grad()
@pytest.mark.parametrize("seed", range(3))
def test_clusters_stay_where_rounding_left_them(seed: int) -> None:
    """Codes that moved a little move distances a little; k-means from elsewhere ends elsewhere."""
    torch.manual_seed(seed)
    mu, probe = torch.randn(200, 6), 1.5 * torch.randn(100, 6)
    moved = mu + 0.02 * torch.randn(200, 6)
    before = _fitted(mu, 16)(probe)
    kept, anew = _fitted(mu, 16), _fitted(moved, 16)
    fit_prototypes(kept, moved, anew=False)
    changes = [(distance(probe) / before).log().abs().mean() for distance in (kept, anew)]
    assert changes[0] < 0.5 * changes[1]


@torch.no_grad()
def test_what_was_never_fitted_is_fitted_anew() -> None:
    """There are no clusters to stay where they were."""
    mu, distance = _clusters(), LatentDistance(3, 3)
    fit_prototypes(distance, mu, anew=False)
    assert torch.equal(distance(mu), _fitted(mu, 3)(mu))

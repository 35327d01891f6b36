"""The Gaussian detector: distance of features from those of normals, in units of their own spread."""

import copy

import numpy as np
import pytest
import torch

from budgetc.detectors.detector import as_input, score_images
from budgetc.detectors.gaussian import SHRINKAGE, Gaussian, GaussianConfig, fit_normals
from budgetc.errors import BudgetcError
from tests.small import SIZE, plain, small_gaussian, textures


def test_it_is_the_mahalanobis_distance_of_the_features() -> None:
    """Against scipy's, with the same shrinkage: squared, over the number of channels, at its largest place."""
    from scipy.spatial.distance import mahalanobis

    module = small_gaussian().module
    assert isinstance(module, Gaussian)
    with torch.no_grad():
        normals, query = (module.features(as_input(textures(n, seed=n))).double().numpy() for n in (24, 3))
        scores = module(as_input(textures(3, seed=3)))[0].numpy()
    rows = normals.transpose(0, 2, 3, 1).reshape(-1, normals.shape[1])
    covariance = np.cov(rows.T)
    covariance += SHRINKAGE * covariance.diagonal().mean() * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    for picture, score in zip(query, scores, strict=True):
        places = picture.reshape(picture.shape[0], -1).T
        expected = max(mahalanobis(place, rows.mean(0), inverse) ** 2 for place in places) / len(covariance)
        assert score == pytest.approx(expected, rel=1e-3)


def test_normals_lie_at_one_and_damage_beyond() -> None:
    """Whitened features of normals have unit variance, so that the mean of the map is about 1."""
    module = small_gaussian().module
    assert isinstance(module, Gaussian)
    normals = textures(24, seed=24)
    damaged = normals.copy()
    damaged[:, :, 8:20, 8:20] = 0
    with torch.no_grad():
        features = module.whiten(module.features(as_input(normals)))
    assert float(features.square().mean()) == pytest.approx(1.0, abs=0.25)
    assert np.median(score_images(module, damaged)) > np.median(score_images(module, normals))


def test_the_map_covers_the_input() -> None:
    """(b, 1, H, W), and its scale is the score's."""
    score, heat = small_gaussian().deployed()(as_input(textures(2)))
    assert score.shape == (2,) and heat.shape == (2, 1, *SIZE)
    assert bool((heat.flatten(1).amax(1) <= score + 1e-5).all())


def test_features_that_never_vary_are_refused() -> None:
    """A dead backbone has no Gaussian."""
    module = small_gaussian().module
    assert isinstance(module, Gaussian)
    with pytest.raises(BudgetcError, match="all alike"):
        fit_normals(module, [[torch.ones(4, module.whiten.conv.in_channels, 2, 2)]])


def test_normals_may_come_in_batches() -> None:
    """The same Gaussian as of all at once, far from zero too; nothing is ever held whole."""
    whole = Gaussian(GaussianConfig(input_size=SIZE, backbone=plain(4, 8)))
    features = 1e3 + torch.randn(10, whole.whiten.conv.in_channels, 3, 2, generator=torch.Generator().manual_seed(0))
    parts = copy.deepcopy(whole)
    fit_normals(whole, [[features]])
    fit_normals(parts, [[features[:1]], [features[1:8]], [features[8:]]])
    torch.testing.assert_close(parts.whiten(features), whole.whiten(features), rtol=1e-4, atol=1e-4)
    assert float(whole.whiten(features).detach().mean().abs()) < 1e-3


def test_several_taps_are_averaged_on_the_coarsest_grid() -> None:
    """Every place holds the channels of all taps; sizes that do not divide lose nothing but the far edge."""
    config = plain(16, 24, 32).model_copy(update={"taps": (0, 1, 2)})
    for size in (SIZE, (36, 44), (66, 200), (20, 100)):
        module = Gaussian(GaussianConfig(input_size=size, backbone=config)).eval()
        image = as_input(textures(2, size=size))
        with torch.no_grad():
            taps, features = module.backbone(module.normalized(image)), module.features(image)
        assert features.shape == (2, 72, *taps[-1].shape[-2:])
        assert torch.equal(features[:, 40:], taps[-1])
        height, width = (-(-a // b) for a, b in zip(taps[0].shape[-2:], taps[-1].shape[-2:], strict=True))
        assert features[0, 0, 0, 0] == pytest.approx(float(taps[0][0, 0, :height, :width].mean()), rel=1e-5)


def test_the_half_safe_head_gives_the_same_scores() -> None:
    """FP16 devices get another order of operations, not another detector."""
    module = small_gaussian().module
    assert isinstance(module, Gaussian)
    images = as_input(textures(4))
    with torch.no_grad():
        plainly = module(images)[0]
        module.half_safe = True
        assert torch.allclose(module(images)[0], plainly, rtol=1e-5)

"""What a candidate kept of the baseline's features."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from budgetc.compiler.features import Inner, inner, known_likeness, likeness, linear_cka
from budgetc.detectors.detector import Detector
from budgetc.detectors.vae import Vae
from budgetc.detectors.variational import Latent
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop
from tests.small import dataset, small, target


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "run") as opened:
        yield opened


def shop(detector: Detector, run: RunDirectory) -> Workshop:
    return Workshop(detector, dataset(), target(), run, seed=0, key="k")


def test_similarity_ignores_rotation_and_scale() -> None:
    """Linear CKA is 1 for the same features, also turned and stretched, and small for unrelated ones."""
    torch.manual_seed(0)
    x = torch.randn(400, 8)
    turned = 3 * x @ torch.linalg.qr(torch.randn(8, 8))[0] + 5
    assert linear_cka(x, turned) == pytest.approx(1.0)
    unrelated = linear_cka(x, torch.randn(400, 3))
    assert unrelated is not None and unrelated < 0.1


@pytest.mark.parametrize("other", [torch.randn(5, 2), torch.ones(4, 2)])
def test_there_is_no_similarity_of_other_places_or_constants(other: torch.Tensor) -> None:
    """None, not a number that means nothing."""
    assert linear_cka(torch.randn(4, 2), other) is None


@pytest.mark.parametrize(("family", "shape"), [("stfpm", (12 * 64, 24)), ("gaussian", (12 * 64, 24)), ("vae", (12, 4))])
def test_features_of_calibration_normals(family: str, shape: tuple[int, int], run: RunDirectory) -> None:
    """A row a place of the last tap, or a picture of a VAE; the baseline is like itself."""
    detector = small(family)
    found = inner(detector, shop(detector, run))
    assert found is not None and tuple(found.features.shape) == shape
    alike = likeness(found, found)
    assert alike.similarity == pytest.approx(1.0)
    assert (alike.divergence is None) is (family == "gaussian")


def test_constant_channels_are_not_active() -> None:
    """Half of the features never change."""
    features = torch.randn(50, 4) * torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert likeness(Inner(features), Inner(features)).active == 0.5


def test_latents_without_information_are_not_active() -> None:
    """A latent that equals its prior has a KL of 0; the KL from the baseline is 0 for the baseline itself."""
    mu = torch.zeros(20, 2)
    mu[:, 0] = torch.linspace(-2, 2, 20)
    latent = Latent(mu, torch.zeros(20, 2))
    alike = likeness(Inner(mu, latent), Inner(mu, latent))
    assert alike.active == 0.5
    assert alike.divergence == pytest.approx(0.0)


def test_another_encoder_is_some_nats_away(run: RunDirectory) -> None:
    """More than none."""
    first, second = small("vae"), small("vae")
    assert isinstance(second.module, Vae)
    with torch.no_grad():
        second.module.encoder.mu.linear.bias.add_(1.0)
    own, baseline = (inner(one, shop(first, run)) for one in (second, first))
    found = likeness(own, baseline)
    assert found.divergence is not None and found.divergence > 0.1
    assert found.similarity == pytest.approx(1.0)


def test_nothing_to_compare() -> None:
    """A family without features gives no figures."""
    assert likeness(None, Inner(torch.zeros(1, 1))) == replace(likeness(None, None))


def test_what_is_known_is_not_computed_again(run: RunDirectory) -> None:
    """The second report of the same step asks the store."""
    detector = small("gaussian")
    opened = shop(detector, run)
    first = known_likeness(detector, opened, lambda: inner(detector, opened))

    def never() -> Inner | None:
        raise AssertionError("features are computed again")

    assert known_likeness(detector, opened, never) == first
    assert first.similarity == pytest.approx(1.0)

"""How much of the baseline's inner life a candidate kept: features or latents over calibration normals."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from budgetc.core.dataset import evenly
from budgetc.core.plan import fingerprint
from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.gaussian import Gaussian
from budgetc.detectors.reverse_distillation import ReverseDistillation, TeacherStudent
from budgetc.detectors.stfpm import Stfpm, matching_loss
from budgetc.detectors.uninformed_students import UninformedStudents, deviations_of
from budgetc.detectors.variational import Latent, LatentEncoder, kl_per_latent
from budgetc.training.losses import latent_divergence
from budgetc.workshop import Workshop, file_key

_PICTURES, _BATCH = 48, 16
_ACTIVE_NATS = 0.01
_ACTIVE_SHARE = 1e-3
"""Of the largest standard deviation: a feature that varies less is as good as constant."""


@dataclass(frozen=True, slots=True)
class Inner:
    """What a detector computes before its score, as it is deployed: rounding included."""

    features: Tensor
    """(n, c): a row a place of a feature map (of a student: of its last tap), or a picture (VAE: latent means)."""
    latent: Latent | None = None
    distance: float | None = None
    """Of a teacher and its student: between the features of both, as the score sees them."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """None where the family or a change of shape leaves nothing to compare."""

    similarity: float | None = None
    active: float | None = None
    divergence: float | None = None


@torch.no_grad()
def inner(detector: Detector, shop: Workshop) -> Inner | None:
    """Features of calibration normals; None for a family that has none to show."""
    part = detector.deployed()
    match part:
        case Gaussian():
            return Inner(torch.cat([_rows(part.features(images)) for images in _batches(detector, shop)]))
        case Stfpm() | ReverseDistillation():
            return _student(part, detector, shop)
        case EfficientAd():
            parts = [part.features(images) for images in _batches(detector, shop)]
            local = torch.cat([part.distances_of(one)[0] for one in parts])
            return Inner(torch.cat([_rows(one[1]) for one in parts]), distance=float(local.mean()))
        case UninformedStudents():
            return _students(part, detector, shop)
        case LatentEncoder():
            each = [part.encode(images) for images in _batches(detector, shop)]
            latent = Latent(torch.cat([one.mu for one in each]), torch.cat([one.logvar for one in each]))
            return Inner(latent.mu, latent)
        case _:
            return None


def known_likeness(detector: Detector, shop: Workshop, baseline: Callable[[], Inner | None]) -> Likeness:
    """`likeness` to the baseline from the store; only on a miss are features computed, those of `baseline` too."""
    key = fingerprint(["likeness", file_key(detector, shop), file_key(shop.baseline, shop)])
    return shop.store.cached(key, Likeness, lambda: likeness(inner(detector, shop), baseline()))


@torch.no_grad()
def likeness(own: Inner | None, baseline: Inner | None) -> Likeness:
    """Similarity to the baseline, the share of units that do something, and the family's own distance."""
    if own is None or baseline is None:
        return Likeness()
    similarity = linear_cka(own.features, baseline.features)
    if own.latent is None or baseline.latent is None:
        spread = own.features.std(0)
        return Likeness(similarity, float((spread > _ACTIVE_SHARE * spread.max()).float().mean()), own.distance)
    active = float((kl_per_latent(own.latent).mean(0) > _ACTIVE_NATS).float().mean())
    same = own.latent.mu.shape == baseline.latent.mu.shape
    divergence = float(latent_divergence(baseline.latent, own.latent)) if same else None
    return Likeness(similarity, active, divergence)


def linear_cka(x: Tensor, y: Tensor) -> float | None:
    """Linear centered kernel alignment of (n, p) and (n, q): 1 for the same features up to rotation and scale.

    Kornblith et al., "Similarity of Neural Network Representations Revisited" (ICML 2019), section 3. None where the
    rows are not of the same places, or nothing varies.
    """
    if len(x) != len(y):
        return None
    x, y = x.double() - x.double().mean(0), y.double() - y.double().mean(0)
    scale = float((x.T @ x).norm() * (y.T @ y).norm())
    return float((y.T @ x).norm() ** 2 / scale) if scale > 0 else None


def _student(part: TeacherStudent, detector: Detector, shop: Workshop) -> Inner:
    features, distances = [], []
    for images in _batches(detector, shop):
        wanted, taps = part.taps(images)
        features.append(_rows(taps[-1]))
        distances += [float(matching_loss(wanted, taps))] * len(images)
    return Inner(torch.cat(features), distance=sum(distances) / len(distances))


def _students(part: UninformedStudents, detector: Detector, shop: Workshop) -> Inner:
    features, errors = [], []
    for images in _batches(detector, shop):
        teacher, students = part.descriptors(images)
        features.append(_rows(students[0]))
        errors.append(deviations_of(teacher, students)[0].flatten(1).mean(1))
    return Inner(torch.cat(features), distance=float(torch.cat(errors).mean()))


def _rows(tap: Tensor) -> Tensor:
    """(b, c, h, w) -> (b h w, c)."""
    return tap.movedim(1, -1).flatten(0, 2)


def _batches(detector: Detector, shop: Workshop) -> Iterator[Tensor]:
    images = shop.dataset.images("calibration", detector.config.input_size)
    chosen = images[evenly(len(images), _PICTURES)]
    for start in range(0, len(chosen), _BATCH):
        yield as_input(chosen[start : start + _BATCH])

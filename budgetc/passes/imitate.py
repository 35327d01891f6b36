"""The training that distillation and pruning share: reproduce the outputs of a frozen network."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.core.plan import Distill
from budgetc.detectors.backbones import Backbone
from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.latents import LatentDistance
from budgetc.detectors.stfpm import Stfpm, matching_loss, scale_maps
from budgetc.detectors.vae import Latent, Vae, VaeEncoder
from budgetc.passes.work import Work
from budgetc.training.loop import Effort, Examples, fit

Loss = Callable[[Tensor], Tensor]
"""Indices of pictures -> scalar."""
Compare = Callable[[Tensor, Latent], Tensor]
"""Indices of pictures and what an encoder makes of them -> scalar."""
_NEAR = 0.01
"""Distance below which normals need not be told apart: of one scene they lie about twice as far."""


@dataclass(frozen=True, slots=True)
class Imitation:
    """How long to imitate, and what to call it."""

    epochs: int
    learning_rate: float
    label: str

    def effort(self, work: Work) -> Effort:
        """At the present rung."""
        return work.effort_of(self.epochs, self.learning_rate, self.label)


def on_all(work: Work, size: tuple[int, int]) -> tuple[Tensor, Tensor, np.ndarray]:
    """Indices to train on and to watch over normal and then damaged pictures, and the pictures."""
    pictures = work.pictures(size)
    offset = len(pictures.normal)
    train = torch.cat([pictures.train, pictures.damaged_train + offset])
    watch = torch.cat([pictures.held_out, pictures.damaged_held_out + offset])
    return train, watch, np.concatenate([pictures.normal, pictures.damaged])


def imitate_taps(new: Backbone, source: Detector, effort: Effort, work: Work) -> None:
    """Train a smaller teacher on normals and damaged normals.

    It must know more than normals: a teacher that has seen only them knows no more than its student.
    Linear adapters to the old channels exist during training only.
    """
    if effort.epochs == 0:
        new.eval()
        return
    assert isinstance(source.module, Stfpm)
    old, size = source.module, source.config.input_size
    train, watch, images = on_all(work, size)
    wanted = work.outputs(old.teacher, lambda x: old.teacher(old.normalized(x)), size)
    probe = new(torch.zeros(1, 3, *size))
    adapters = nn.ModuleList(nn.Conv2d(a.shape[1], b.shape[1], 1) for a, b in zip(probe, wanted, strict=True))
    trained = nn.ModuleDict({"network": new, "adapters": adapters})

    def loss(indices: Tensor) -> Tensor:
        taps = new(old.normalized(as_input(images[indices.numpy()])))
        mapped = [adapter(tap) for adapter, tap in zip(adapters, taps, strict=True)]
        return matching_loss([tap[indices] for tap in wanted], mapped)

    work.curves.append(fit(trained, Examples(train, watch, loss), effort, work.progress))


def learn_student(detector: Detector, step: Distill, work: Work) -> None:
    """Train the student of an STFPM detector in place on its teacher's features of normals.

    With `map_weight`, damaged normals teach it too: there its maps follow the baseline's.
    """
    effort = work.effort_of(step.epochs, step.learning_rate, "distilling the student")
    learn_taps(detector, effort, work, step.map_weight)


def learn_taps(detector: Detector, effort: Effort, work: Work, map_weight: float = 0.0) -> None:
    """`learn_student` with settled effort."""
    if effort.epochs == 0:
        detector.module.eval()
        return
    assert isinstance(detector.module, Stfpm)
    network, size = detector.module, detector.config.input_size
    pictures = work.pictures(size)
    wanted = work.outputs(network.teacher, lambda x: network.teacher(network.normalized(x)), size)
    student = network.student

    def feature_loss(indices: Tensor) -> Tensor:
        taps = student(network.normalized(as_input(pictures.normal[indices.numpy()])))
        return matching_loss([tap[indices] for tap in wanted], taps)

    if map_weight == 0 or work.baseline.config.input_size != size:
        examples = Examples(pictures.train, pictures.held_out, feature_loss)
    else:
        examples = _with_maps(detector, feature_loss, map_weight, work)
    work.curves.append(fit(student, examples, effort, work.progress))


def _with_maps(detector: Detector, feature_loss: Loss, weight: float, work: Work) -> Examples:
    """Feature loss on normals plus the distance to the baseline's maps on their damaged copies."""
    assert isinstance(detector.module, Stfpm)
    network, size = detector.module, detector.config.input_size
    base = work.baseline.module
    assert isinstance(base, Stfpm)
    pictures = work.pictures(size)
    offset, count = len(pictures.normal), len(pictures.damaged)
    wanted = work.outputs(network.teacher, lambda x: network.teacher(network.normalized(x)), size)

    def baseline_maps(x: Tensor) -> list[Tensor]:
        normalized = base.normalized(x)
        return scale_maps(base.teacher(normalized), base.student(normalized))

    maps = work.outputs(base, baseline_maps, size)

    def loss(indices: Tensor) -> Tensor:
        damaged = indices % count
        taps = network.student(network.normalized(as_input(pictures.damaged[damaged.numpy()])))
        own = scale_maps([tap[damaged + offset] for tap in wanted], taps)
        distance = sum(((m - maps[i][damaged + offset]).square().mean() for i, m in enumerate(own)), torch.zeros(()))
        return feature_loss(indices) + weight * distance

    return Examples(pictures.train, pictures.held_out, loss)


def imitate_latents(detector: Detector, imitation: Imitation, work: Work) -> None:
    """Train a VAE's encoder in place towards the baseline's posterior, on normals and damaged normals.

    Loss: KL(baseline posterior || own posterior), summed over latents (closed form of two Gaussians); with prototypes
    what their distance sees of the means.
    """
    effort = imitation.effort(work)
    if effort.epochs == 0:
        detector.module.eval()
        return
    encoder = _encoder(detector.module)
    imitate_encoder(encoder, detector, effort, work)


def imitate_encoder(encoder: VaeEncoder, detector: Detector, effort: Effort, work: Work) -> None:
    """`imitate_latents` with settled effort."""
    size = detector.config.input_size
    source = _encoder(work.baseline.module)
    train, watch, images = on_all(work, size)
    wanted = Latent(*work.outputs(source, lambda x: list(source.encode(x)), size))
    compare = _by_divergence(wanted) if source.distance is None else _by_distance(wanted, source.distance)

    def loss(indices: Tensor) -> Tensor:
        return compare(indices, encoder.encode(as_input(images[indices.numpy()])))

    work.curves.append(fit(encoder, Examples(train, watch, loss), effort, work.progress))


def _by_divergence(wanted: Latent) -> Compare:
    """The loss for a score by the KL: where the posterior lies and how wide it is."""

    def compare(indices: Tensor, own: Latent) -> Tensor:
        return latent_divergence(Latent(wanted.mu[indices], wanted.logvar[indices]), own)

    return compare


def _by_distance(wanted: Latent, distance: LatentDistance) -> Compare:
    """The loss for a score by distance: whitened means by Huber's loss, and the logarithm of the distance.

    A step of the means counts by how seldom normals take it. Without the second part a small encoder scatters normals
    more widely than mild damage moves them (measured: DECISIONS.md).
    """
    judge = copy.deepcopy(distance).requires_grad_(False)
    whitened = judge.whiten(wanted.mu)
    far = _log_distance(judge.nearest(whitened))

    def compare(indices: Tensor, own: Latent) -> Tensor:
        mine = judge.whiten(own.mu)
        return F.smooth_l1_loss(mine, whitened[indices]) + F.mse_loss(_log_distance(judge.nearest(mine)), far[indices])

    return compare


def _log_distance(distance: Tensor) -> Tensor:
    return (distance + _NEAR).log()


def latent_divergence(wanted: Latent, own: Latent) -> Tensor:
    """KL(wanted || own) of diagonal Gaussians, summed over latents, mean over the batch."""
    variance = (wanted.logvar - own.logvar).exp()
    distance = (wanted.mu - own.mu).square() * (-own.logvar).exp()
    return 0.5 * (variance + distance - 1 - (wanted.logvar - own.logvar)).sum(1).mean()


def _encoder(module: nn.Module) -> VaeEncoder:
    assert isinstance(module, Vae)
    return module.encoder

"""The training that distillation and pruning share: reproduce the outputs of a frozen network."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from budgetc.core.plan import Distill
from budgetc.detectors.backbones import Backbone
from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.latents import LatentDistance
from budgetc.detectors.reverse_distillation import ReverseDistillation, TeacherStudent, reverse_loss
from budgetc.detectors.stfpm import matching_loss
from budgetc.detectors.variational import Latent, LatentEncoder, Variational, kl_per_latent
from budgetc.errors import UsageError
from budgetc.passes.tap_losses import Added, added_loss, teacher_taps
from budgetc.passes.work import Size, Work
from budgetc.runtime.preprocess import resize_rgb
from budgetc.training.loop import Effort, Examples, fit
from budgetc.training.losses import latent_divergence, ranking_loss, relation_loss

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
    assert isinstance(source.module, TeacherStudent)
    old, size = source.module, source.config.input_size
    train, watch, images = on_all(work, size)
    wanted = teacher_taps(old, size, work)
    pairs = zip(new(torch.zeros(1, 3, *size)), wanted(torch.tensor([0])), strict=True)
    adapters = nn.ModuleList(nn.Conv2d(own.shape[1], theirs.shape[1], 1) for own, theirs in pairs)
    trained = nn.ModuleDict({"network": new, "adapters": adapters})

    def loss(indices: Tensor) -> Tensor:
        taps = new(old.normalized(as_input(images[indices.numpy()])))
        mapped = [adapter(tap) for adapter, tap in zip(adapters, taps, strict=True)]
        return matching_loss(wanted(indices), mapped)

    work.curves.append(fit(trained, Examples(train, watch, loss), effort, work.progress))


def learn_student(detector: Detector, step: Distill, work: Work) -> None:
    """Train the student of a teacher-student detector in place on its teacher's features of normals, and by
    `step.loss`.
    """
    effort = work.effort_of(step.epochs, step.learning_rate, "distilling the student")
    learn_taps(detector, effort, work, added_loss(detector, step, work) if effort.epochs else None)


def learn_taps(detector: Detector, effort: Effort, work: Work, added: Added | None = None) -> None:
    """`learn_student` with settled effort and loss."""
    if effort.epochs == 0:
        detector.module.eval()
        return
    assert isinstance(detector.module, TeacherStudent)
    network, size = detector.module, detector.config.input_size
    pictures, wanted = work.pictures(size), teacher_taps(network, size, work)

    def loss(indices: Tensor) -> Tensor:
        known = wanted(indices)
        if isinstance(network, ReverseDistillation):
            return reverse_loss(known, network.student(known))
        taps = network.student_taps(as_input(pictures.normal[indices.numpy()]))
        features = matching_loss(known, taps)
        return features if added is None else features + added(indices, taps)

    work.curves.append(fit(network.student, Examples(pictures.train, pictures.held_out, loss), effort, work.progress))


def imitate_latents(detector: Detector, imitation: Imitation, work: Work) -> None:
    """Train a VAE's encoder in place towards the baseline's posterior, on normals and damaged normals.

    Loss: KL(baseline posterior || own posterior), summed over latents (closed form of two Gaussians); with prototypes
    what their distance sees of the means.
    """
    imitate_encoder(_encoder(detector.module), detector, imitation.effort(work), work)


def imitate_encoder(
    encoder: LatentEncoder, detector: Detector, effort: Effort, work: Work, *, step: Distill | None = None
) -> None:
    """`imitate_latents` with settled effort, and by `step.loss` where there is a step.

    An encoder of fewer latents imitates the directions in which the baseline's say most: see `_fewer`.

    Raises:
        UsageError: the family has no such loss.
    """
    if effort.epochs == 0:
        detector.module.eval()
        return
    step = step or Distill()
    base, source = work.baseline.config.input_size, _encoder(work.baseline.module)
    train, watch, images = on_all(work, base)
    recall = work.outputs(source, lambda x: list(source.encode(x)), base)
    wanted = Latent(*recall(torch.arange(len(images))))
    compare = _compare(wanted, source.distance, step, encoder.latents)
    smaller = _resized(images, detector.config.input_size)

    def loss(indices: Tensor) -> Tensor:
        return compare(indices, encoder.encode(as_input(smaller[indices.numpy()])))

    work.curves.append(fit(encoder, Examples(train, watch, loss), effort, work.progress))


def _resized(images: np.ndarray, size: Size) -> np.ndarray:
    """(n, 3, H, W) uint8 at another size: the very pictures of which the baseline's outputs are known."""
    if images.shape[-2:] == size:
        return images
    return np.stack([resize_rgb(Image.fromarray(image.transpose(1, 2, 0)), *size) for image in images])


def _compare(wanted: Latent, distance: LatentDistance | None, step: Distill, latents: int) -> Compare:
    """The loss between what the baseline made of all pictures and what an encoder of so many latents does of some."""
    if distance is None or step.loss == "divergence":
        wanted = _most_active(wanted, latents)
        judge: Callable[[Latent], Tensor] = _log_kl
        compare, order = _by_divergence(wanted), _log_kl(wanted)
    else:
        compare, judge, order = _by_distance(wanted, distance, latents)
    match step.loss:
        case "feature" | "divergence":
            return compare
        case "relation":
            added = _by_relations(wanted)
        case "ranking":
            added = _by_order(order, judge)
        case "map":
            raise UsageError("distill.loss: a VAE has no anomaly map to imitate")
    return lambda indices, own: compare(indices, own) + step.loss_weight * added(indices, own)


def _by_relations(wanted: Latent) -> Compare:
    """Between pictures, by their means."""
    return lambda indices, own: relation_loss(wanted.mu[indices], own.mu)


def _by_order(wanted: Tensor, judge: Callable[[Latent], Tensor]) -> Compare:
    """Of scores: normals lie among pictures with more and less damage."""
    return lambda indices, own: ranking_loss(wanted[indices], judge(own))


def _log_kl(latent: Latent) -> Tensor:
    return kl_per_latent(latent).sum(1).log()


def _most_active(wanted: Latent, latents: int) -> Latent:
    """The latents of the largest mean KL, which say most of a picture, in their old order."""
    kept = kl_per_latent(wanted).mean(0).topk(latents).indices.sort().values
    return Latent(wanted.mu[:, kept], wanted.logvar[:, kept])


def _by_divergence(wanted: Latent) -> Compare:
    """The loss for a score by the KL: where the posterior lies and how wide it is."""

    def compare(indices: Tensor, own: Latent) -> Tensor:
        return latent_divergence(Latent(wanted.mu[indices], wanted.logvar[indices]), own)

    return compare


def _by_distance(
    wanted: Latent, distance: LatentDistance, latents: int
) -> tuple[Compare, Callable[[Latent], Tensor], Tensor]:
    """The loss for a score by distance: whitened means by Huber's loss, and the logarithm of the distance.

    A step of the means counts by how seldom normals take it. Without the second part a small encoder scatters normals
    more widely than mild damage moves them (measured: DECISIONS.md).

    Returns:
        the loss, the logarithm of the distance of an encoder's posterior, (b,), and that of the baseline's, (n,).
    """
    judge = copy.deepcopy(distance).requires_grad_(False)
    whitened = judge.whiten(wanted.mu)
    far = _log_distance(judge.nearest(whitened))
    whiten: Callable[[Tensor], Tensor] = judge.whiten
    if latents < whitened.shape[1]:
        # Fewer latents: the directions in which the baseline's whitened means of all pictures vary most.
        directions = torch.linalg.eigh(torch.cov(whitened.T)).eigenvectors[:, -latents:]
        whitened = whitened @ directions
        judge.get_buffer("centers").set_(judge.get_buffer("centers") @ directions)
        whiten = nn.Identity()

    def own_distance(own: Latent) -> Tensor:
        return _log_distance(judge.nearest(whiten(own.mu)))

    def compare(indices: Tensor, own: Latent) -> Tensor:
        return F.smooth_l1_loss(whiten(own.mu), whitened[indices]) + F.mse_loss(own_distance(own), far[indices])

    return compare, own_distance, far


def _log_distance(distance: Tensor) -> Tensor:
    return (distance + _NEAR).log()


def _encoder(module: nn.Module) -> LatentEncoder:
    assert isinstance(module, Variational)
    return module.encoder

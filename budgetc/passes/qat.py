"""QAT: weights and ranges learn under the rounding that ships, towards what the network was without it."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.core.dataset import evenly
from budgetc.core.plan import Qat
from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.gaussian import Gaussian
from budgetc.detectors.graph import Graph
from budgetc.detectors.layers import units
from budgetc.detectors.learned_rounding import LearnedRounding, learning_copy, settle
from budgetc.detectors.reverse_distillation import ReverseDistillation, TeacherStudent
from budgetc.detectors.stfpm import Stfpm, matching_loss, scale_maps
from budgetc.detectors.uninformed_students import UninformedStudents, deviations_of
from budgetc.detectors.variational import Latent, Variational
from budgetc.errors import UsageError
from budgetc.passes.biases import round_biases
from budgetc.passes.features import whitened_loss
from budgetc.passes.work import Work
from budgetc.training.loop import Examples, evaluate_loss, fit
from budgetc.training.losses import latent_divergence, relative_errors

_SMALLEST_MAP = 1e-3
"""Maps reach from 0 to 2; normals lie near this."""
_NEAR = 0.01
"""Distance of latents below which normals need not be told apart."""

Compare = Callable[[Tensor], Tensor]
"""Pictures, (b, 3, H, W) in [0, 1] -> scalar: how far the rounded network is from the float one."""


def qat(detector: Detector, step: Qat, work: Work) -> Detector:
    """The detector trained under its own INT8 formats, or as it was where no epoch brought it nearer to its float form.

    The loss is the distance between what the score sees of the rounded and of the float network, on normals and on
    damaged normals: the function that was trained is to be kept, and no anomaly is needed for that. BatchNorm is folded
    on the fly with frozen statistics.

    Raises:
        UsageError: nothing is quantized yet.
    """
    if detector.quantization is None:
        raise UsageError("qat trains under the rounding of INT8: put a quantize step before it")
    effort = work.effort_of(step.epochs, step.learning_rate, "training under INT8")
    if effort.epochs == 0:
        return detector
    module = learning_copy(detector.module, detector.formats)
    learner, compare = _learner(module), _compare(detector.module, module)
    train, watch, images = _pictures(detector.config.input_size, step.samples, work)
    examples = Examples(train, watch, lambda indices: compare(as_input(images[indices.numpy()])))
    before = evaluate_loss(learner, examples, effort.batch)
    curve = fit(learner, examples, effort, work.progress)
    work.curves.append(curve)
    if curve.held_out_loss is None or curve.held_out_loss >= before:
        return detector
    trained, learned = settle(module)
    formats = {name: learned.get(name, known) for name, known in detector.formats.items()}
    result = replace(detector, module=trained.eval(), formats=formats, threshold=None)
    return replace(result, module=round_biases(result, images[:1]))


def _pictures(size: tuple[int, int], samples: int, work: Work) -> tuple[Tensor, Tensor, np.ndarray]:
    """Indices to train on and to watch, at most `samples` normals and as many damaged ones; and the pictures."""
    pictures = work.pictures(size)
    offset = len(pictures.normal)
    sides = [(pictures.train, pictures.damaged_train), (pictures.held_out, pictures.damaged_held_out)]
    train, watch = (torch.cat([_some(a, samples), _some(b, samples) + offset]) for a, b in sides)
    return train, watch, np.concatenate([pictures.normal, pictures.damaged])


def _some(indices: Tensor, samples: int) -> Tensor:
    return indices[torch.from_numpy(evenly(len(indices), samples))]


def _learner(module: nn.Module) -> nn.Module:
    """The part that learns: every network with a unit that rounds. Heads are fitted, never trained."""
    networks: dict[str, nn.Module]
    match module:
        case Stfpm() | ReverseDistillation() | EfficientAd():
            networks = {"teacher": module.teacher, "student": module.student}
        case UninformedStudents():
            networks = {"teacher": module.teacher, "students": module.students}
        case Gaussian():
            networks = {"backbone": module.backbone}
        case Variational():
            networks = {"encoder": module.encoder}
        case Graph():
            networks = {"layers": module.layers}
        case _:
            raise UsageError(f"qat does not know detectors of type {type(module).__name__}")
    rounds = {
        name: network
        for name, network in networks.items()
        if any(isinstance(unit.rounding, LearnedRounding) and unit.rounding.rounds for _, unit in units(network))
    }
    return nn.ModuleDict(rounds)


def _compare(plain: nn.Module, rounded: nn.Module) -> Compare:
    """What the score sees of both networks, and how far apart that is."""
    plain = copy.deepcopy(plain).eval().requires_grad_(False)
    match plain, rounded:
        case Gaussian(), Gaussian():
            return lambda x: whitened_loss(plain.whiten(rounded.features(x)), plain.whiten(plain.features(x)))
        case (Stfpm(), Stfpm()) | (ReverseDistillation(), ReverseDistillation()):
            assert isinstance(plain, TeacherStudent) and isinstance(rounded, TeacherStudent)
            return lambda x: _taps_loss(rounded.taps(x), plain.taps(x))
        case EfficientAd(), EfficientAd():
            return lambda x: _features_loss(rounded, rounded.features(x), plain.features(x))
        case UninformedStudents(), UninformedStudents():
            return lambda x: _descriptors_loss(plain, rounded, x)
        case Variational(), Variational():
            return lambda x: _latent_loss(plain, rounded.encoder.encode(x), plain.encoder.encode(x))
        case Graph(), Graph():
            return lambda x: relative_errors(rounded.features(x), plain.features(x))
        case _:
            raise UsageError(f"qat does not know detectors of type {type(plain).__name__}")


def _taps_loss(own: tuple[list[Tensor], list[Tensor]], wanted: tuple[list[Tensor], list[Tensor]]) -> Tensor:
    """Directions of the features of both networks, and the logarithms of the maps that they make."""
    features = matching_loss(wanted[0], own[0]) + matching_loss(wanted[1], own[1])
    return features + _maps_loss(scale_maps(*own), scale_maps(*wanted))


def _maps_loss(own: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean square difference of the logarithms of maps: by which factor they differ."""
    each = [F.mse_loss((a + _SMALLEST_MAP).log(), (b + _SMALLEST_MAP).log()) for a, b in zip(own, wanted, strict=True)]
    return torch.stack(each).mean()


def _features_loss(module: EfficientAd, own: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Features of all networks, which have variances of about 1, and the logarithms of both distances."""
    features = torch.stack([F.mse_loss(a, b) for a, b in zip(own, wanted, strict=True)]).sum()
    return features + _maps_loss(module.distances_of(own), module.distances_of(wanted))


def _descriptors_loss(plain: UninformedStudents, rounded: UninformedStudents, image: Tensor) -> Tensor:
    """All descriptors, and the logarithms of error and spread."""
    own, wanted = ([first, *others] for first, others in (one.descriptors(image) for one in (rounded, plain)))
    descriptors = torch.stack([F.mse_loss(a, b) for a, b in zip(own, wanted, strict=True)]).mean()
    return descriptors + _maps_loss(deviations_of(own[0], own[1:]), deviations_of(wanted[0], wanted[1:]))


def _latent_loss(plain: Variational, own: Latent, wanted: Latent) -> Tensor:
    """What a distance to clusters sees of the means, and the logarithm of the distance; else the whole posterior."""
    distance = plain.encoder.distance
    if distance is None:
        return latent_divergence(wanted, own)
    mine, theirs = distance.whiten(own.mu), distance.whiten(wanted.mu)
    near, wanted_near = ((distance.nearest(whitened) + _NEAR).log() for whitened in (mine, theirs))
    return F.smooth_l1_loss(mine, theirs) + F.mse_loss(near, wanted_near)

"""What a student of a teacher-student detector imitates beside its teacher's features: chosen by `Distill.loss`."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from budgetc.core.plan import Distill
from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.reverse_distillation import TeacherStudent
from budgetc.detectors.stfpm import Stfpm, scale_maps
from budgetc.errors import UsageError
from budgetc.passes.work import Size, Work
from budgetc.training.features import Recall
from budgetc.training.losses import ranking_loss, relation_loss

Added = Callable[[Tensor, list[Tensor]], Tensor]
"""Indices of normal pictures and the student's taps of them -> scalar."""
_SMALL = 1e-12


def added_loss(detector: Detector, step: Distill, work: Work) -> Added | None:
    """The loss that `step` adds to features, weighted; None where it adds none. Its gradient reaches the student alone.

    Raises:
        UsageError: the family has no such loss, or maps are to be compared that are not of the same taps.
    """
    if step.loss == "feature":
        return None
    assert isinstance(detector.module, Stfpm)
    network, size = detector.module, detector.config.input_size
    match step.loss:
        case "relation":
            added = _relations(network, size, work)
        case "map":
            added = _maps(network, size, work)
        case "ranking":
            added = _ranking(network, size, work)
        case "divergence":
            raise UsageError("distill.loss: divergence is of a VAE's posterior; an stfpm has none")
    return lambda indices, taps: step.loss_weight * added(indices, taps)


def teacher_taps(network: TeacherStudent, size: Size, work: Work) -> Recall:
    """What the teacher makes of normal and then damaged pictures: each (b, c, h, w)."""
    return work.outputs(network.teacher, lambda x: network.teacher(network.normalized(x)), size)


def _relations(network: Stfpm, size: Size, work: Work) -> Added:
    """Between pictures of normals, by the means of their taps over all places."""
    wanted = teacher_taps(network, size, work)

    def added(indices: Tensor, taps: list[Tensor]) -> Tensor:
        pairs = zip(wanted(indices), taps, strict=True)
        return torch.stack([relation_loss(_pooled(theirs), _pooled(own)) for theirs, own in pairs]).sum()

    return added


def _pooled(tap: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, c): the mean over places of the unit vectors that are compared."""
    return F.normalize(tap, dim=1).mean((2, 3))


def _maps(network: Stfpm, size: Size, work: Work) -> Added:
    """The distance to the baseline's maps of damaged normals."""
    pictures, wanted = work.pictures(size), teacher_taps(network, size, work)
    judged, first = _judged(work, size), torch.tensor([0])
    taps, maps = len(wanted(first)), len(judged(first)) - 1
    if maps != taps:
        raise UsageError(
            f"distill.loss: the maps of {taps} taps cannot follow the baseline's of {maps}; "
            "take another loss, or leave out the truncate step before it"
        )
    offset, count = len(pictures.normal), len(pictures.damaged)

    def added(indices: Tensor, taps: list[Tensor]) -> Tensor:
        damaged = indices % count
        own = network.student_taps(as_input(pictures.damaged[damaged.numpy()]))
        mine = scale_maps(wanted(damaged + offset), own)
        *theirs, _ = judged(damaged + offset)
        return torch.stack([F.mse_loss(m, t) for m, t in zip(mine, theirs, strict=True)]).sum()

    return added


def _ranking(network: Stfpm, size: Size, work: Work) -> Added:
    """The baseline's order of scores of a normal, of the same at half the damage, and at all of it."""
    pictures, wanted = work.pictures(size), teacher_taps(network, size, work)
    offset, count = len(pictures.normal), len(pictures.damaged)
    judged, half = _judged(work, size), _half_damaged(pictures.normal, pictures.damaged)
    base = work.baseline.module
    assert isinstance(base, Stfpm)
    name = f"half damaged at {size}"
    half_taps = work.kept(network.teacher, name, lambda x: network.teacher(network.normalized(x)), half)
    half_judged = work.kept(base, name, lambda x: [_score(base, *base.taps(x))], half)

    def added(indices: Tensor, taps: list[Tensor]) -> Tensor:
        damaged = indices % count
        rows = damaged.numpy()
        scores = [
            _score(network, wanted(indices), taps),
            _score(network, half_taps(damaged), network.student_taps(as_input(half[rows]))),
            _score(network, wanted(damaged + offset), network.student_taps(as_input(pictures.damaged[rows]))),
        ]
        order = [judged(indices)[-1], half_judged(damaged)[-1], judged(damaged + offset)[-1]]
        return ranking_loss(torch.cat(order), torch.cat(scores))

    return added


def _half_damaged(normal: np.ndarray, damaged: np.ndarray) -> np.ndarray:
    """(m, 3, H, W) uint8: damaged pictures halfway back to what they were made of."""
    whole = normal[np.arange(len(damaged)) % len(normal)].astype(np.uint16)
    halves: np.ndarray = ((whole + damaged) // 2).astype(np.uint8)
    return halves


def _judged(work: Work, size: Size) -> Recall:
    """The baseline's maps of all scales and the logarithm of its score, over normal and then damaged pictures."""
    base = work.baseline.module
    assert isinstance(base, Stfpm)

    def judge(x: Tensor) -> list[Tensor]:
        taps = base.taps(x)
        return [*scale_maps(*taps), _score(base, *taps)]

    return work.outputs(base, judge, size)


def _score(network: Stfpm, teacher: list[Tensor], student: list[Tensor]) -> Tensor:
    """(b,): the logarithm of the score."""
    return (network.joined(scale_maps(teacher, student)).flatten(1).amax(1) + _SMALL).log()

"""The network that loses channels, inside the detector that is judged by it."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.core.dataset import evenly
from budgetc.core.plan import fingerprint
from budgetc.detectors.backbones import Backbone
from budgetc.detectors.detector import Detector, as_input, deployed_part, lowest_score
from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.gaussian import Gaussian, fit_normals
from budgetc.detectors.graph import Graph
from budgetc.detectors.reverse_distillation import Restorer, ReverseDistillation
from budgetc.detectors.stfpm import Stfpm
from budgetc.detectors.uninformed_students import UninformedStudents
from budgetc.detectors.variational import LatentEncoder
from budgetc.errors import UsageError
from budgetc.passes.pruning.groups import Forward, Group, Survey, survey
from budgetc.passes.work import Size, Work
from budgetc.training.features import batches_of

_BATCH = 16
Judge = Callable[[Tensor], list[Tensor]]
"""Images, (n, 3, H, W) in [0, 1] -> what must not move, (n, ...) each."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A private copy of a detector's network, in evaluation mode; all of it may be written to."""

    whole: nn.Module
    network: nn.Module
    """The part that loses channels."""
    forward: Forward
    example: Tensor
    judge: Judge
    about: str
    """Digest of the detector's configuration and of the part: weights alone do not tell taps or input sizes apart."""

    def survey(self) -> Survey:
        """Channels that can go, and why others cannot."""
        return survey(self.network, self.example, self.forward, trusted=not isinstance(self.network, Graph))

    def groups(self) -> tuple[Group, ...]:
        """Channels that can go."""
        return self.survey().groups


def subject_of(detector: Detector, part: str) -> Subject:
    """The `student` or `teacher` of a detector; other families have a student only.

    What must not move is the logarithm of the score, and of a teacher its normalized taps, so that students of any kind
    share it.

    Raises:
        UsageError: the family is not known.
    """
    whole = copy.deepcopy(detector.module).eval()
    example = torch.zeros(detector.config.input_shape)
    about = fingerprint([part, detector.config.model_dump(mode="json")])
    match whole:
        case Stfpm() | ReverseDistillation() if part == "teacher":
            taps: Judge = lambda x: _unit_taps(whole.teacher(whole.normalized(x)))  # noqa: E731  # one use, with a type
            return Subject(whole, whole.teacher, _taps, example, taps, about)
        case Stfpm():
            return Subject(whole, whole.student, _taps, example, _log_score(whole), about)
        case EfficientAd() if part == "teacher":
            return Subject(whole, whole.teacher, _normalized(whole), example, lambda x: whole.features(x)[:1], about)
        case EfficientAd():
            return Subject(whole, whole.student, _normalized(whole), example, _log_score(whole), about)
        case ReverseDistillation():
            return Subject(whole, whole.student, _restored(whole), example, _log_score(whole), about)
        case UninformedStudents():
            forward = _descriptors(whole)
            if part == "teacher":
                described: Judge = lambda x: forward(whole.teacher, x)  # noqa: E731  # one use, with a type
                return Subject(whole, whole.teacher, forward, example, described, about)
            return Subject(whole, whole.students, forward, example, _log_score(whole), about)
        case Gaussian():
            return Subject(whole, whole, _whitened, example, _log_score(whole), about)
        case Graph():
            noise = torch.rand(example.shape, generator=torch.Generator().manual_seed(0))
            return Subject(whole, whole, _score_reads, noise, _score_of_any_sign(whole, noise), about)
        case _:
            encoder = getattr(whole, "encoder", None)
            if not isinstance(encoder, LatentEncoder):
                raise UsageError(f"prune does not know detectors of family {detector.family}")
            return Subject(whole, encoder, _latent, example, _log_score(whole), about)


def fit_head(subject: Subject, work: Work) -> None:
    """Fit what a truncated network has not fitted yet, so that an untrained structure is judged as a trained one."""
    if isinstance(subject.whole, Gaussian):
        module, normals = subject.whole, work.pictures(size_of(subject)).as_cameras_differ()
        images = normals[evenly(len(normals), 192)]
        fit_normals(module, batches_of(lambda x: [module.features(x)], images))


def judged_weights(whole: nn.Module) -> dict[str, Tensor]:
    """Weights that sensitivities depend on, by name: not a whitening, which is fitted for them."""
    return {name: weight for name, weight in whole.state_dict().items()
            if not (isinstance(whole, Gaussian) and name.startswith("whiten."))}  # fmt: skip


def size_of(subject: Subject) -> Size:
    """(height, width) of its pictures."""
    return int(subject.example.shape[2]), int(subject.example.shape[3])


def sampled(work: Work, size: Size, normals: int, damaged: int) -> NDArray[np.uint8]:
    """Training normals as they were taken and damaged normals, spread evenly: (n, 3, H, W)."""
    pictures = work.pictures(size)
    taken = pictures.as_taken
    return np.concatenate(
        [taken[evenly(len(taken), normals)], pictures.damaged[evenly(len(pictures.damaged), damaged)]]
    )


def batches(images: NDArray[np.uint8]) -> Iterator[Tensor]:
    """As a network reads them."""
    return (as_input(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH))


@contextmanager
def gated(network: nn.Module, groups: Sequence[Group], gates: Mapping[str, Tensor]) -> Iterator[None]:
    """Multiply the channels of groups, by root, wherever a member returns them."""

    def gate_of(group: Group) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        gate = gates[group.root]
        return lambda _unit, _inputs, output: output * gate.view(1, -1, *([1] * (output.dim() - 2)))

    handles = [network.get_submodule(member).register_forward_hook(gate_of(group))
               for group in groups if group.root in gates for member in group.members]  # fmt: skip
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _log_score(whole: nn.Module) -> Judge:
    part = deployed_part(whole)
    lowest = lowest_score(part)

    def judge(image: Tensor) -> list[Tensor]:
        return [(part(image)[0] - lowest).clamp(min=1e-12).log()]

    return judge


def _score_of_any_sign(whole: Graph, example: Tensor) -> Judge:
    """As a logarithm where scores are large, and finite where they are negative."""
    with torch.no_grad():
        usual = whole(example)[0].abs().clamp(min=1e-12)

    def judge(image: Tensor) -> list[Tensor]:
        return [torch.asinh(whole(image)[0] / usual)]

    return judge


def _score_reads(network: nn.Module, image: Tensor) -> list[Tensor]:
    assert isinstance(network, Graph)
    return network.features(image)


def _taps(network: nn.Module, image: Tensor) -> list[Tensor]:
    assert isinstance(network, Backbone)
    taps: list[Tensor] = network(image)
    return taps


def _normalized(whole: EfficientAd) -> Forward:
    """What a part of it makes of the picture as the detector normalizes it."""

    def forward(network: nn.Module, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = network(whole.normalized(image))
        return features

    return forward


def _restored(whole: ReverseDistillation) -> Forward:
    """What is restored of a frozen teacher's features, which lose no channel: maps and taps keep agreeing."""

    def forward(network: nn.Module, image: Tensor) -> list[Tensor]:
        assert isinstance(network, Restorer)
        with torch.no_grad():
            taps = whole.teacher(whole.normalized(image))
        restored: list[Tensor] = network(taps)
        return restored

    return forward


def _descriptors(whole: UninformedStudents) -> Forward:
    """Of a teacher or of all students, whose channels are compared and stay."""

    def forward(network: nn.Module, image: Tensor) -> list[Tensor]:
        found: Tensor | list[Tensor] = network(whole.normalized(image))
        return [found] if isinstance(found, Tensor) else found

    return forward


def _unit_taps(taps: list[Tensor]) -> list[Tensor]:
    return [nn.functional.normalize(tap, dim=1) for tap in taps]


def _whitened(network: nn.Module, image: Tensor) -> list[Tensor]:
    assert isinstance(network, Gaussian)
    return [network.whiten(network.features(image))]


def _latent(network: nn.Module, image: Tensor) -> list[Tensor]:
    assert isinstance(network, LatentEncoder)
    return list(network.encode(image))

"""An EfficientAD to start training from: its networks, and the pretrained one that its teacher learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from budgetc.compiler.untrained import architecture, check_published, checked_seed, first_error, load_teacher
from budgetc.detectors.backbones import BackboneConfig, build_backbone, normalization
from budgetc.detectors.backbones.config import Architecture
from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import PUBLISHED_SIDE, EfficientAd, EfficientAdConfig
from budgetc.detectors.efficientad_networks import PatchDescriptionNetwork
from budgetc.detectors.families import build
from budgetc.errors import UsageError
from budgetc.load.checkpoint import read_checkpoint
from budgetc.load.import_efficientad import read_patch_network
from budgetc.training.efficientad import Source

WIDTHS = (32, 64, 64, 128)
"""A quarter of the published ones, and a third of the features: minutes of training at 64 pixels instead of hours."""
_TAPS: dict[Architecture, tuple[int, ...]] = {
    "resnet18": (2, 3), "wide_resnet50_2": (2, 3), "efficientnet_lite0": (3, 5),
}  # fmt: skip
"""Stages of strides 8 and 16, as the paper takes them; of a picture twice as large they lie at 4 and 8."""
_EMBEDDED = 4
"""Channels of the second hidden layer over those of the autoencoder: 256 / 64 as published."""


@dataclass(frozen=True, slots=True)
class Untrained:
    """A detector, and what its teacher learns from first; None: the teacher is finished, or is to stay random."""

    detector: Detector
    source: Source | None


def new_efficientad(
    input_size: tuple[int, int], *, teacher: str = "efficientnet_lite0", teacher_weights: str | Path | None = None,
    teacher_widths: Sequence[int] | None = None, student_widths: Sequence[int] | Literal["same"] = "same",
    seed: int = 0,
) -> Untrained:  # fmt: skip
    """Patch networks with random weights, and the network whose features the teacher is to learn.

    Pictures of fewer than 256 pixels get padded convolutions: the rim that others cannot describe is a large part of
    them.

    Args:
        input_size: (height, width), at least 32.
        teacher: the pretrained network: efficientnet_lite0, resnet18 or wide_resnet50_2.
        teacher_weights: its weights, as `new_stfpm`'s; or those of a finished PDN-S in the names of its authors and
            of anomalib, conv1 to conv4, and then nothing is distilled; "none" leaves the teacher random.
        teacher_widths: channels of its three hidden layers and of its features; None: `WIDTHS`, or those of the file.
        student_widths: of the three hidden layers of the student; "same": as the teacher.
        seed: of all random weights.

    Raises:
        UsageError, InputRejected: as `new_stfpm`.
    """
    arch = architecture(teacher)
    if arch not in _TAPS:
        raise UsageError(f"--teacher {teacher}: has no weights to learn from; efficientad takes {', '.join(_TAPS)}")
    torch.manual_seed(checked_seed(seed))
    finished = _finished(teacher_weights)
    if finished is None and teacher_weights != "none":
        check_published(arch, teacher_weights)
    if finished is not None and teacher_widths is not None:
        raise UsageError("--teacher-widths: --teacher-weights holds a finished teacher, whose widths are its own")
    widths = tuple(teacher_widths or WIDTHS) if finished is None else (*finished.widths, finished.channels)
    student = widths[:3] if isinstance(student_widths, str) else tuple(student_widths)
    detector = build("efficientad", _config(input_size, widths, student))
    module = detector.module
    assert isinstance(module, EfficientAd)
    if finished is not None:
        module.teacher.load_state_dict(finished.state_dict())
    source = None if finished is not None or teacher_weights == "none" else _source(arch, teacher_weights)
    return Untrained(detector, source)


def _config(size: tuple[int, int], teacher: tuple[int, ...], student: tuple[int, ...]) -> EfficientAdConfig:
    padding = min(size) < PUBLISHED_SIDE
    for name, widths, count in (("teacher_widths", teacher, 4), ("student_widths", student, 3)):
        if len(widths) != count:
            raise UsageError(f"no such efficientad: {name}: {len(widths)} given, a patch network has {count} here")
    try:
        embedded = max(1, student[1] // _EMBEDDED)
        return EfficientAdConfig.model_validate({
            "input_size": size, "teacher": teacher, "student": student, "decoder": embedded,
            "encoder": (max(1, embedded // 2),) * 2 + (embedded,) * 4, "padding": padding, "pad_maps": not padding,
        })  # fmt: skip
    except ValidationError as error:
        raise UsageError(f"no such efficientad: {first_error(error)}") from error


def _finished(weights: str | Path | None) -> PatchDescriptionNetwork | None:
    """The patch network that a file of weights holds, if it is one."""
    if weights is None or weights == "none" or not Path(weights).exists():
        return None
    return read_patch_network(str(weights), read_checkpoint(Path(weights)).weights)


def _source(arch: Architecture, weights: str | Path | None) -> Source:
    shape = BackboneConfig(arch=arch, taps=_TAPS[arch])
    backbone = build_backbone(shape)
    load_teacher(backbone, shape, weights)
    mean, std = normalization(arch)
    return Source(backbone.eval(), mean, std)

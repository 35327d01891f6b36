"""Patch networks, whose teacher learns from a pretrained network first: `efficientad`, `uninformed_students`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from budgetc.compiler.untrained.pretrained import architecture, check_published, load_teacher
from budgetc.compiler.untrained.starting import shape_of, start
from budgetc.detectors.backbones import BackboneConfig, build_backbone, load_strictly, normalization
from budgetc.detectors.backbones.config import Architecture
from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import PUBLISHED_SIDE, EfficientAd, EfficientAdConfig
from budgetc.detectors.efficientad_networks import PatchDescriptionNetwork
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents
from budgetc.errors import InputRejected, UsageError
from budgetc.load.checkpoint import read_checkpoint
from budgetc.load.import_efficientad import read_patch_network
from budgetc.training.efficientad import Source

PATCH_WIDTHS: dict[int, tuple[int, ...]] = {
    17: (32, 64, 64, 64), 33: (32, 64, 64, 64), 65: (32, 32, 64, 64, 64),
}  # fmt: skip
PATCH_DESCRIPTOR = 64
"""The published 128 to 256 and 512 take hours on a processor; a descriptor wider than the layer before it has no more
to say."""
PDN_WIDTHS = (32, 64, 64, 128)
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
        teacher_widths: channels of its three hidden layers and of its features; None: `PDN_WIDTHS` or the file's.
        student_widths: of the three hidden layers of the student; "same": as the teacher.
        seed: of all random weights.

    Raises:
        UsageError, InputRejected: as `new_stfpm`.
    """
    arch = architecture(teacher)
    if arch not in _TAPS:
        raise UsageError(f"--teacher {teacher}: has no weights to learn from; efficientad takes {', '.join(_TAPS)}")
    finished = _finished(teacher_weights)
    if finished is None and teacher_weights != "none":
        check_published(arch, teacher_weights)
    if finished is not None:
        _refuse_shape({"--teacher-widths": teacher_widths})
    widths = tuple(teacher_widths or PDN_WIDTHS) if finished is None else (*finished.widths, finished.channels)
    student = widths[:3] if isinstance(student_widths, str) else tuple(student_widths)
    detector = start("efficientad", _config(input_size, widths, student), seed)
    module = detector.module
    assert isinstance(module, EfficientAd)
    if finished is not None:
        module.teacher.load_state_dict(finished.state_dict())
    source = None if finished is not None or teacher_weights == "none" else _source(arch, teacher_weights)
    return Untrained(detector, source)


def _refuse_shape(options: Mapping[str, object]) -> None:
    """Refuse to shape a teacher that is finished."""
    for option, value in options.items():
        if value is not None:
            raise UsageError(f"{option}: --teacher-weights holds a finished teacher, whose shape is its own")


def _config(size: tuple[int, int], teacher: tuple[int, ...], student: tuple[int, ...]) -> EfficientAdConfig:
    padding = min(size) < PUBLISHED_SIDE
    for name, widths, count in (("teacher_widths", teacher, 4), ("student_widths", student, 3)):
        if len(widths) != count:
            raise UsageError(f"no such efficientad: {name}: {len(widths)} given, a patch network has {count} here")
    with shape_of("efficientad"):
        embedded = max(1, student[1] // _EMBEDDED)
        return EfficientAdConfig.model_validate({
            "input_size": size, "teacher": teacher, "student": student, "decoder": embedded,
            "encoder": (max(1, embedded // 2),) * 2 + (embedded,) * 4, "padding": padding, "pad_maps": not padding,
        })  # fmt: skip


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


def new_uninformed_students(
    input_size: tuple[int, int], *, receptive_field: int = 33, teacher_weights: str | Path | None = None,
    teacher_widths: Sequence[int] | None = None, student_widths: Sequence[int] | Literal["same"] = "same",
    students: int = 3, descriptor: int | None = None, stride: int = 4, margin: bool = False, seed: int = 0,
) -> Detector:  # fmt: skip
    """Patch networks: a teacher, which training teaches unless its weights are given, and untrained students.

    Args:
        input_size: (height, width).
        receptive_field: side of the described patches: 17, 33 or 65.
        teacher_weights: a state_dict of a patch network (`layers.0.conv.weight`, ..., `out.conv.weight`), whose widths
            and descriptor it has then; "none" leaves it random; None lets training teach it by EfficientNet-Lite0.
        teacher_widths: channels of its convolutions before the descriptor; None: `PATCH_WIDTHS` or the file's.
        student_widths: the same of each student; "same": the teacher's.
        students: how many.
        descriptor: channels of what describes a patch; None: `PATCH_DESCRIPTOR` or the file's.
        stride: pixels from one patch to the next: 1, 2, 4 or 8.
        margin: mirror pictures at their edges, so that patches are centered on all of it.
        seed: of all random weights.

    Raises:
        UsageError, InputRejected: as `new_stfpm`.
    """
    given = None if teacher_weights in (None, "none") else _patch_weights(str(teacher_weights))
    widths, described = tuple(teacher_widths or PATCH_WIDTHS.get(receptive_field, ())), descriptor or PATCH_DESCRIPTOR
    if given is not None:
        _refuse_shape({"--teacher-widths": teacher_widths, "--descriptor": descriptor})
        *layers, described = (len(one) for name, one in given.items() if name.endswith(".conv.weight"))
        widths = tuple(layers)
    norm = given is None or any(".norm." in name for name in given)
    mean, std = normalization("efficientnet_lite0")
    with shape_of("uninformed_students"):
        config = StudentsConfig.model_validate({
            "input_size": input_size, "field": receptive_field, "teacher": {"widths": widths, "norm": norm},
            "student": {"widths": widths if student_widths == "same" else student_widths}, "students": students,
            "descriptor": described, "stride": stride, "margin": margin, "mean": mean, "std": std,
            "taught_by": "efficientnet_lite0" if teacher_weights is None else "given",
        })  # fmt: skip
    detector = start("uninformed_students", config, seed)
    assert isinstance(detector.module, UninformedStudents)
    if given is not None:
        try:
            load_strictly(detector.module.teacher, given)
        except InputRejected as error:
            raise InputRejected(f"{teacher_weights}: {error}") from error
    return detector


def _patch_weights(weights: str) -> dict[str, torch.Tensor]:
    if not Path(weights).exists():
        raise UsageError(f"--teacher-weights {weights}: no such file")
    found = dict(read_checkpoint(Path(weights)).weights)
    if "out.conv.weight" not in found:
        raise InputRejected(f"{weights}: these are not the weights of a patch network; out.conv.weight is missing")
    return found

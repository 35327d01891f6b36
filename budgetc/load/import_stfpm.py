"""STFPM from published layouts: anomalib's, `teacher.` / `student.`, or two torchvision files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from budgetc.detectors.backbones import BackboneConfig, build_backbone, dead_key, torchvision_keys
from budgetc.detectors.detector import Detector
from budgetc.detectors.families import build
from budgetc.detectors.halves import map_gain
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.errors import InputRejected
from budgetc.load.anomalib import Stated
from budgetc.load.keys import Part, is_counter, said_of_dropped, take
from budgetc.load.layouts import BackboneRoot, backbone_roots

TAPS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class StfpmSource:
    """Where the two networks come from."""

    where: str
    weights: Mapping[str, Tensor]
    student_where: str
    student_weights: Mapping[str, Tensor]
    teacher_prefix: str | None
    student_prefix: str | None
    separate: bool
    """Whether teacher and student are two files."""
    stated: Stated
    """What the file says beside its weights."""


def stfpm_from(
    source: StfpmSource, backbone: str | None, input_size: tuple[int, int]
) -> tuple[Detector, tuple[str, ...]]:
    """The detector and notes on what was dropped.

    Raises:
        InputRejected: a network is not found, is another than `backbone`, or keys or shapes do not fit.
    """
    teacher = _root(source.where, source.weights, "teacher", source.teacher_prefix, alone=source.separate)
    student = _root(
        source.student_where, source.student_weights, "student", source.student_prefix, alone=source.separate
    )
    for role, root, where in (("teacher", teacher, source.where), ("student", student, source.student_where)):
        expected = backbone or teacher.arch
        if root.arch != expected:
            raise InputRejected(f"{where}: the {role} is a {root.arch}, expected {expected} (--backbone)")
    config = _backbone(source, teacher)
    fields = {"input_size": input_size, "teacher": config, "student": config, **source.stated.normalization()}
    detector = build("stfpm", StfpmConfig.model_validate(fields))
    dead = partial(dead_key, config)
    parts = [
        Part(f"teacher ({config.arch})", source.where, source.weights, teacher.prefix,
             _names("teacher", config, teacher), dead),
        Part(f"student ({config.arch})", source.student_where, source.student_weights, student.prefix,
             _names("student", config, student), dead),
    ]  # fmt: skip
    taken = take(parts, detector.module.state_dict())
    detector.module.load_state_dict(taken.weights, strict=False)
    notes = _notes(teacher, student, taken.dropped, source.stated)
    return Detector("stfpm", detector.config, detector.module.eval()), notes


def _backbone(source: StfpmSource, teacher: BackboneRoot) -> BackboneConfig:
    try:
        return BackboneConfig(arch=teacher.arch, taps=source.stated.taps or TAPS)
    except ValueError as error:
        raise InputRejected(f"{source.where}: its layers {source.stated.taps} are none of a {teacher.arch}") from error


def _root(where: str, weights: Mapping[str, Tensor], role: str, prefix: str | None, *, alone: bool) -> BackboneRoot:
    roots = backbone_roots(weights)
    found = ", ".join(repr(root.prefix) for root in roots) or "none"
    if prefix is not None:
        chosen = [root for root in roots if root.prefix.rstrip(".") == prefix.rstrip(".")]
    else:
        chosen = [root for root in roots if role in root.prefix.lower()]
        if not chosen and alone and len(roots) == 1:
            chosen = roots
    if len(chosen) == 1:
        return chosen[0]
    if not roots:
        raise InputRejected(
            f"{where}: no ResNet-18 or Wide-ResNet-50-2 found for the {role}; expected keys that end in "
            f"conv1.weight and layer1.0.conv1.weight (torchvision's names) or stem.0.conv.weight (ours)"
        )
    if len(roots) == 1 and not alone:
        raise InputRejected(
            f"{where}: holds one {roots[0].arch} (prefix {found}), but stfpm needs teacher and student; give the "
            f"student's file by --student, or train one with budgetc train stfpm"
        )
    raise InputRejected(f"{where}: which network is the {role}? Found prefixes {found}; give --{role}-prefix")


def _names(role: str, config: BackboneConfig, root: BackboneRoot) -> dict[str, str]:
    """Keys of a network without their prefix -> ours."""
    with torch.device("meta"):  # only names are wanted
        own = [key for key in build_backbone(config).state_dict() if not is_counter(key)]
    names = {key: key for key in own} if root.own_names else torchvision_keys(config)
    return {theirs: f"{role}.{ours}" for theirs, ours in names.items()}


def _notes(teacher: BackboneRoot, student: BackboneRoot, dropped: Sequence[str], stated: Stated) -> tuple[str, ...]:
    taps = stated.taps or TAPS
    notes = [f"teacher {teacher.arch} at {teacher.prefix!r}, student {student.arch} at {student.prefix!r}, taps {taps}"]
    notes += said_of_dropped(dropped, (teacher.prefix, student.prefix))
    notes.append(f"{stated.said()}; no threshold: fitted on normals by compile")
    if stated.model is not None:
        notes.append(
            f"score and map are {map_gain(len(taps)) ** len(taps):g} times anomalib's before its normalization"
        )
    return tuple(notes)

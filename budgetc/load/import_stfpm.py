"""STFPM from published layouts: anomalib's, `teacher.` / `student.`, or two torchvision files."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budgetc.detectors.backbones import BackboneConfig, build_backbone, dead_key, torchvision_keys
from budgetc.detectors.detector import Detector
from budgetc.detectors.families import build
from budgetc.detectors.halves import map_gain
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.errors import InputRejected
from budgetc.load.anomalib import Stated
from budgetc.load.layouts import BackboneRoot, backbone_roots, is_bystander
from budgetc.load.tensors import named

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
    renamed: dict[str, Tensor] = {}
    dropped: list[str] = []
    for role, root, where, weights in (
        ("teacher", teacher, source.where, source.weights),
        ("student", student, source.student_where, source.student_weights),
    ):
        found, dead = _renamed(f"{where}: {role}", config, root, weights)
        renamed |= {f"{role}.{key}": value for key, value in found.items()}
        dropped += dead
    dropped += _strangers(source, teacher, student)
    detector.module.load_state_dict(renamed, strict=False)
    return Detector("stfpm", detector.config, detector.module.eval()), _notes(teacher, student, dropped, source.stated)


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


def _renamed(
    where: str, config: BackboneConfig, root: BackboneRoot, weights: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Weights of one network under our names, and its keys that are dropped."""
    with torch.device("meta"):  # only names and shapes are wanted
        expected = {key: value for key, value in build_backbone(config).state_dict().items() if not _counter(key)}
    names = {key: key for key in expected} if root.own_names else torchvision_keys(config)
    own = {key.removeprefix(root.prefix): value for key, value in weights.items() if key.startswith(root.prefix)}
    missing = sorted(root.prefix + key for key in names if key not in own)
    rest = [key for key in own if key not in names]
    dead = [key for key in rest if _counter(key) or (not root.own_names and dead_key(config, key))]
    # With an empty prefix everything in the file starts with it; other networks are then not ours to judge.
    extra = sorted(root.prefix + key for key in set(rest) - set(dead)) if root.prefix else []
    shapes = [
        f"{root.prefix}{key} is {tuple(own[key].shape)}, expected {tuple(expected[ours].shape)}"
        for key, ours in names.items()
        if key in own and own[key].shape != expected[ours].shape
    ]
    problems = (("missing", missing), ("not expected", extra), ("of another shape", shapes))
    found = [f"{len(items)} keys {what}: {named(items)}" for what, items in problems if items]
    if found:
        raise InputRejected(f"{where} ({config.arch}): {'; '.join(found)}")
    return {ours: own[theirs].float() for theirs, ours in names.items()}, [root.prefix + key for key in dead]


def _strangers(source: StfpmSource, teacher: BackboneRoot, student: BackboneRoot) -> list[str]:
    """Keys of neither network: those of known frameworks are dropped, any other is refused."""
    files = [(source.where, source.weights, [teacher, student])]
    if source.separate:
        files = [(source.where, source.weights, [teacher]), (source.student_where, source.student_weights, [student])]
    dropped: list[str] = []
    for where, weights, roots in files:
        outside = [key for key in weights if not _belongs(key, roots)]
        unknown = sorted(key for key in outside if not is_bystander(key))
        if unknown:
            raise InputRejected(f"{where}: {len(unknown)} keys that belong to neither network: {named(unknown)}")
        dropped += outside
    return dropped


def _belongs(key: str, roots: list[BackboneRoot]) -> bool:
    if any(root.prefix and key.startswith(root.prefix) for root in roots):
        return True
    starts = ("conv1.", "bn1.", "layer", "fc.", "stem.", "stages.")
    return any(not root.prefix for root in roots) and key.startswith(starts)


def _counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _notes(teacher: BackboneRoot, student: BackboneRoot, dropped: list[str], stated: Stated) -> tuple[str, ...]:
    taps = stated.taps or TAPS
    notes = [f"teacher {teacher.arch} at {teacher.prefix!r}, student {student.arch} at {student.prefix!r}, taps {taps}"]
    dead = [key for key in dropped if not _counter(key)]
    if dead:
        groups = Counter(_part(key, (teacher.prefix, student.prefix)) for key in dead)
        listed = ", ".join(f"{part} ({count} keys)" for part, count in sorted(groups.items()))
        notes.append(f"dropped, since the detector does not need them: {listed}")
    notes.append(f"{stated.said()}; no threshold: fitted on normals by compile")
    if stated.model is not None:
        notes.append(
            f"score and map are {map_gain(len(taps)) ** len(taps):g} times anomalib's before its normalization"
        )
    return tuple(notes)


def _part(key: str, prefixes: tuple[str, str]) -> str:
    """The top-level module of a key, after the prefix of its network."""
    prefix = next((p for p in prefixes if p and key.startswith(p)), "")
    return prefix + key.removeprefix(prefix).split(".")[0]

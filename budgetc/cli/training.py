"""`budgetc train`: a detector from normal pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from budgetc.cli.output import Group, Json, show, show_json
from budgetc.cli.progress import Display
from budgetc.cli.values import input_size_of, widths_of
from budgetc.errors import UsageError

if TYPE_CHECKING:
    from budgetc.compiler.training import Trained
    from budgetc.detectors.detector import Detector
    from budgetc.training.efficientad import Source

Options = dict[str, str | int | float | None]
_EPOCHS = {"efficientad": 20, "flow_vae": 200, "gaussian": 1, "reverse_distillation": 60, "stfpm": 60,
           "uninformed_students": 12, "vae": 100}  # fmt: skip
_LEARNING_RATE = {"efficientad": 2e-3, "flow_vae": 1e-3, "gaussian": 1e-3, "reverse_distillation": 5e-3, "stfpm": 3e-3,
                  "uninformed_students": 3e-3, "vae": 1e-3}  # fmt: skip
_PRETRAINED = ("teacher", "teacher_weights")
_WIDTHS = ("teacher_widths", "student_widths")
_OPTIONS: dict[str, tuple[str, ...]] = {
    "efficientad": (*_PRETRAINED, *_WIDTHS),
    "flow_vae": ("widths", "latents", "fields"),
    "gaussian": (*_PRETRAINED, "taps"),
    "reverse_distillation": (*_PRETRAINED, *_WIDTHS, "upsampling", "smoothing"),
    "stfpm": (*_PRETRAINED, *_WIDTHS),
    "uninformed_students": (
        "teacher_weights", *_WIDTHS, "receptive_field", "students", "descriptor", "stride", "margin",
    ),
    "vae": ("widths", "hidden", "latents", "beta", "prototypes"),
}  # fmt: skip
"""Which options each family takes beside those of all."""


InputSize = Annotated[str, typer.Option(help="SIDE or HEIGHTxWIDTH in pixels.")]
Teacher = Annotated[
    str | None,
    typer.Option(
        help="stfpm, reverse_distillation, gaussian, efficientad: the pretrained network: resnet18, wide_resnet50_2, "
        "efficientnet_lite0 (default), plain (not efficientad)."
    ),
]
TeacherWeights = Annotated[
    str | None,
    typer.Option(
        help="All but the VAEs: its state_dict or .safetensors; none leaves it random. efficientad, "
        "uninformed_students: or a finished patch network's."
    ),
]
TeacherWidths = Annotated[
    str | None,
    typer.Option(
        help="stfpm, reverse_distillation: channels of a plain teacher's stages; uninformed_students: of its layers; "
        "efficientad: of its four layers [32,64,64,128]."
    ),
]
StudentWidths = Annotated[
    str | None,
    typer.Option(
        help="stfpm: channels of a plain student's stages [16,32,48,64]; reverse_distillation: of a plain decoder's "
        "maps, finest first [same]; uninformed_students: of a student's layers [same]; efficientad: of its three "
        "hidden layers [same]; same: as the teacher."
    ),
]
Upsampling = Annotated[
    str | None,
    typer.Option(
        help="reverse_distillation: transposed (as published, default) or subpixel: equal, and INT8-friendly."
    ),
]
Smoothing = Annotated[
    float | None,
    typer.Option(min=0, help="reverse_distillation: deviation in pixels that maps are smoothed by [side / 64]."),
]
ReceptiveField = Annotated[
    int | None, typer.Option(help="uninformed_students: side of the patches that are described: 17, 33 or 65 [33].")
]
Students = Annotated[int | None, typer.Option(min=1, help="uninformed_students: how many [3].")]
Descriptor = Annotated[
    int | None, typer.Option(min=1, help="uninformed_students: channels that describe a patch [64].")
]
Stride = Annotated[
    int | None, typer.Option(help="uninformed_students: pixels from one patch to the next: 1, 2, 4 or 8 [4].")
]
Margin = Annotated[
    bool | None,
    typer.Option("--margin/--no-margin", help="uninformed_students: mirror pictures at their edges, or not [not]."),
]
Taps = Annotated[
    str | None,
    typer.Option(help="gaussian: the stages whose features are judged together [efficientnet_lite0: 3,4,5,6,7]."),
]
Widths = Annotated[
    str | None, typer.Option(help="vae: channels of its blocks [128,64,32,16]; flow_vae: [32,64,128,256].")
]
Hidden = Annotated[
    str | None, typer.Option(help="vae: sizes of its linear layers [2048,1000,250]; none: no such layer.")
]
Latents = Annotated[
    int | None, typer.Option(min=1, help="vae: latent variables [30]; flow_vae: of each direction [12].")
]
Beta = Annotated[float | None, typer.Option(min=1e-6, help="vae: weight of the KL divergence in its loss [1.4].")]
Prototypes = Annotated[
    int | None,
    typer.Option(
        min=0, help="vae: score by the distance to the nearest of so many clusters of normals [0: by the KL]."
    ),
]
Fields = Annotated[int | None, typer.Option(min=1, help="flow_vae: successive flow fields that are read at once [6].")]
Variants = Annotated[
    int | None, typer.Option(min=1, help="Pictures made of each normal [as many as make 2500, at most 16].")
]
Epochs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="At most; it stops early. [uninformed_students 12, efficientad 20, vae 100, flow_vae 200, else 60]",
    ),
]

LearningRate = Annotated[
    float | None,
    typer.Option(
        min=1e-8, help="[reverse_distillation 0.005, stfpm, uninformed_students 0.003, efficientad 0.002, VAEs 0.001]"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("train")(train)


def train(
    context: typer.Context,
    detector: Annotated[str, typer.Argument(help=f"{', '.join(_EPOCHS)}.")],
    *,
    data: Annotated[Path, typer.Option(help="Data set; only its normal training pictures are used.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="The bundle to write.")] = Path("model.pt"),
    input_size: InputSize = "64",
    teacher: Teacher = None,
    teacher_weights: TeacherWeights = None,
    teacher_widths: TeacherWidths = None,
    student_widths: StudentWidths = None,
    upsampling: Upsampling = None,
    smoothing: Smoothing = None,
    receptive_field: ReceptiveField = None,
    students: Students = None,
    descriptor: Descriptor = None,
    stride: Stride = None,
    margin: Margin = None,
    taps: Taps = None,
    widths: Widths = None,
    hidden: Hidden = None,
    latents: Latents = None,
    beta: Beta = None,
    prototypes: Prototypes = None,
    fields: Fields = None,
    variants: Variants = None,
    epochs: Epochs = None,
    learning_rate: LearningRate = None,
    batch: Annotated[int, typer.Option(min=2, help="Pictures of one gradient step.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and the held-out choice.")] = 0,
    group: Group = None,
    train_device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Train a detector on normal pictures and fit its threshold."""
    size = input_size_of(input_size)
    known: dict[str, Options] = {
        family: {name: context.params[name] for name in names} for family, names in _OPTIONS.items()
    }
    if detector not in _EPOCHS:
        raise UsageError(f"unknown detector {detector!r}; budgetc trains {', '.join(_EPOCHS)}")
    _refuse_foreign(detector, known)

    from budgetc.compiler.training import train_bundle
    from budgetc.training.loop import Effort

    rate = learning_rate or _LEARNING_RATE[detector]
    effort = Effort(epochs or _EPOCHS[detector], rate, seed, batch, label=f"training {detector}")
    untrained, source = _untrained(detector, size, known[detector], seed)
    display = Display()
    trained = train_bundle(
        untrained, data=data, out=output, effort=effort, group=group, variants=variants,
        train_device=train_device, source=source, progress=display.progress,
    )  # fmt: skip
    _print(trained, json=json)


def _untrained(detector: str, size: tuple[int, int], given: Options, seed: int) -> "tuple[Detector, Source | None]":
    """The detector, and what its teacher is to learn from where it has one to learn."""
    if detector == "efficientad":
        return _efficientad(size, given, seed)
    return _MAKE[detector](size, given, seed), None


def _efficientad(size: tuple[int, int], given: Options, seed: int) -> "tuple[Detector, Source | None]":
    from budgetc.compiler.untrained_efficientad import WIDTHS, new_efficientad

    weights, teacher, student = given["teacher_weights"], given["teacher_widths"], given["student_widths"]
    made = new_efficientad(
        size, teacher=str(given["teacher"] or "efficientnet_lite0"),
        teacher_weights=None if weights is None else str(weights),
        teacher_widths=None if teacher is None else widths_of("--teacher-widths", teacher, WIDTHS),
        student_widths="same" if student in (None, "same") else widths_of("--student-widths", student, ()), seed=seed,
    )  # fmt: skip
    return made.detector, made.source


def _gaussian(size: tuple[int, int], given: Options, seed: int) -> "Detector":
    from budgetc.compiler.untrained import new_gaussian

    backbone, weights, taps = given["teacher"], given["teacher_weights"], given["taps"]
    return new_gaussian(
        size, backbone=str(backbone or "efficientnet_lite0"), weights=None if weights is None else str(weights),
        taps=None if taps is None else widths_of("--taps", taps, ()), seed=seed,
    )  # fmt: skip


def _stfpm(size: tuple[int, int], given: Options, seed: int) -> "Detector":
    from budgetc.compiler.untrained import STUDENT_WIDTHS, new_stfpm

    teacher, weights, widths = _teacher(given)
    student: tuple[int, ...] | Literal["same"] = widths_of("--student-widths", given["student_widths"], STUDENT_WIDTHS)
    if given["student_widths"] == "same":
        student = "same"
    return new_stfpm(
        size, teacher=teacher, teacher_weights=weights, teacher_widths=widths, student_widths=student, seed=seed
    )


def _reverse(size: tuple[int, int], given: Options, seed: int) -> "Detector":
    from budgetc.compiler.untrained import new_reverse_distillation

    teacher, weights, widths = _teacher(given)
    student: tuple[int, ...] | Literal["same"] = "same"
    if given["student_widths"] not in (None, "same"):
        student = widths_of("--student-widths", given["student_widths"], ())
    form, smoothing = given["upsampling"] or "transposed", given["smoothing"]
    if form not in ("transposed", "subpixel"):
        raise UsageError(f"--upsampling {form}: expected transposed or subpixel")
    return new_reverse_distillation(
        size, teacher=teacher, teacher_weights=weights, teacher_widths=widths, student_widths=student,
        upsampling="subpixel" if form == "subpixel" else "transposed",
        smoothing=None if smoothing is None else float(smoothing), seed=seed,
    )  # fmt: skip


def _students(size: tuple[int, int], given: Options, seed: int) -> "Detector":
    from budgetc.compiler.untrained import new_uninformed_students

    weights, widths, narrow = (given[name] for name in ("teacher_weights", "teacher_widths", "student_widths"))
    numbers = {name: int(value) for name in ("receptive_field", "students", "descriptor", "stride")
               if (value := given[name]) is not None}  # fmt: skip
    return new_uninformed_students(
        size, teacher_weights=None if weights is None else str(weights),
        teacher_widths=None if widths is None else widths_of("--teacher-widths", widths, ()),
        student_widths="same" if narrow in (None, "same") else widths_of("--student-widths", narrow, ()),
        margin=bool(given["margin"]), seed=seed, **numbers,
    )  # fmt: skip


def _teacher(given: Options) -> tuple[str, str | None, tuple[int, ...]]:
    """Its architecture, the file of its weights, and the widths of a plain one."""
    from budgetc.compiler.untrained import TEACHER_WIDTHS

    teacher, weights = str(given["teacher"] or "efficientnet_lite0"), given["teacher_weights"]
    if given["teacher_widths"] is not None and teacher != "plain":
        raise UsageError(f"--teacher-widths is for --teacher plain; the widths of {teacher} are published ones")
    widths = widths_of("--teacher-widths", given["teacher_widths"], TEACHER_WIDTHS)
    return teacher, None if weights is None else str(weights), widths


def _vae(size: tuple[int, int], given: Options, seed: int) -> "Detector":
    from budgetc.compiler.untrained import new_vae
    from budgetc.detectors.vae import VaeConfig

    defaults = VaeConfig()
    widths, hidden, latents = given["widths"], given["hidden"], given["latents"]
    return new_vae(
        size,
        widths=widths_of("--widths", widths, defaults.widths),
        hidden=() if hidden == "none" else widths_of("--hidden", hidden, defaults.hidden),
        latents=int(latents or defaults.latents),
        beta=float(given["beta"] or defaults.beta),
        prototypes=int(given["prototypes"] or 0),
        seed=seed,
    )


def _flow_vae(size: tuple[int, int], given: Options, seed: int) -> "Detector":
    from budgetc.compiler.untrained import new_flow_vae
    from budgetc.detectors.flow_vae import FlowVaeConfig

    defaults = FlowVaeConfig()
    return new_flow_vae(
        size, widths=widths_of("--widths", given["widths"], defaults.widths),
        latents=int(given["latents"] or defaults.latents), fields=int(given["fields"] or defaults.fields), seed=seed,
    )  # fmt: skip


_MAKE = {
    "flow_vae": _flow_vae, "gaussian": _gaussian, "reverse_distillation": _reverse, "stfpm": _stfpm,
    "uninformed_students": _students, "vae": _vae,
}  # fmt: skip


def _refuse_foreign(detector: str, known: dict[str, Options]) -> None:
    """Every option that was given must be one of this detector."""
    foreign = {name: value for options in known.values() for name, value in options.items()
               if name not in known[detector]}  # fmt: skip
    given = [f"--{name.replace('_', '-')}" for name, value in foreign.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: not for {detector}; see budgetc train --help")


def _print(trained: "Trained", *, json: bool) -> None:
    from budgetc.report.words import aligned, quantity

    if json:
        show_json({
            "bundle": str(trained.path), "size_bytes": trained.size_bytes, "detector": trained.detector.family,
            "parameters": trained.detector.parameters(), "epochs": trained.curve.epochs,
            "training_loss": trained.curve.training_loss, "held_out_loss": trained.curve.held_out_loss,
            "threshold": trained.threshold, "training_images": trained.images,
            "calibration_images": trained.calibration,
        })  # fmt: skip
        return
    loss = trained.curve.held_out_loss
    rows = [
        ("bundle", f"{trained.path}  ({quantity(trained.size_bytes, 'B')})"),
        ("deployed parameters", f"{trained.detector.parameters():,}"),
        ("trained on", f"{trained.images} normal {_samples(trained.detector)}, {trained.curve.epochs} epochs"),
        ("held-out loss", "-" if loss is None else f"{loss:.5g}"),
        ("threshold", f"{trained.threshold:.6g}  (5 % of {trained.calibration} calibration normals exceed it)"),
    ]
    show(aligned(rows))


def _samples(detector: "Detector") -> str:
    return "pictures" if detector.config.motion is None else "samples of motion"

"""`budgetc import`: what was trained elsewhere becomes a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetc.cli.output import Json, show, show_json
from budgetc.cli.progress import Display
from budgetc.cli.values import input_size_of, new_file, none_of, numbers_of
from budgetc.errors import UsageError

if TYPE_CHECKING:
    from budgetc.load.importing import Imported
    from budgetc.load.onnx_graph import OnnxOptions

File = Annotated[
    Path | None, typer.Argument(help="state_dict (.pt, .pth, .ckpt), .safetensors, or a whole network (.onnx).")
]
Whose = Annotated[
    str | None,
    typer.Option(
        help="Whose weights: efficientad, reverse_distillation, stfpm, vae; or package.module:factory, a function of "
        "yours that returns a torch.nn.Module: RGB in [0, 1], (1, 3, H, W) or (1, H, W, 3), -> score, map or both. "
        "Not for a FILE that is a whole network."
    ),
]
TrustModel = Annotated[
    str | None,
    typer.Option(help="sha256:DIGEST of a FILE that is code (pickle, TorchScript, .pt2): run it in a child process."),
]
Out = Annotated[Path, typer.Option("-o", "--out", help="The bundle to write.")]
BackboneName = Annotated[
    str | None, typer.Option(help="stfpm, reverse_distillation: resnet18 or wide_resnet50_2; else by keys.")
]
InputSize = Annotated[
    str | None,
    typer.Option(
        help="SIDE or HEIGHTxWIDTH it was trained at [256; vae by its layers; network by FILE, factory by "
        "the module's attribute input_size]."
    ),
]
Student = Annotated[Path | None, typer.Option(help="stfpm: the student, where FILE holds the teacher alone.")]
TeacherPrefix = Annotated[str | None, typer.Option(help="stfpm: what the teacher's keys start with.")]
StudentPrefix = Annotated[str | None, typer.Option(help="stfpm: what the student's keys start with.")]
TeacherWeights = Annotated[
    Path | None, typer.Option(help="reverse_distillation: the encoder, where FILE holds bottleneck and decoder.")
]
Padding = Annotated[
    bool | None,
    typer.Option("--padding/--no-padding", help="efficientad: whether its convolutions pad [as its file says]."),
]
Score = Annotated[
    str | None, typer.Option(help="Network: the output that is the score; NAME[1]: the second of its numbers.")
]
Map = Annotated[str | None, typer.Option("--map", help="Network: the output that is the map.")]
Scale = Annotated[
    float | None, typer.Option(help="Network: largest value of a pixel that it expects, as 255 [1; bytes 255].")
]
Mean = Annotated[str | None, typer.Option(help="Network: what to take from pixels, such as .485,.456,.406 [0].")]
Std = Annotated[str | None, typer.Option(help="Network: what to divide them by afterwards [1].")]
LowerIsAnomalous = Annotated[bool, typer.Option("--lower-is-anomalous", help="Network: turn scores and maps around.")]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("import")(import_)


def import_(
    file: File = None,
    *,
    detector: Whose = None,
    trust_model: TrustModel = None,
    output: Out = Path("model.pt"),
    backbone: BackboneName = None,
    input_size: InputSize = None,
    student: Student = None,
    teacher_prefix: TeacherPrefix = None,
    student_prefix: StudentPrefix = None,
    teacher_weights: TeacherWeights = None,
    padding: Padding = None,
    score: Score = None,
    map_: Map = None,
    scale: Scale = None,
    mean: Mean = None,
    std: Std = None,
    lower_is_anomalous: LowerIsAnomalous = False,
    json: Json = False,
) -> None:
    """Make a bundle of weights from elsewhere, or of a network."""
    from budgetc.load.importing import import_weights

    new_file("-o", output)
    if file is not None and output.exists() and file.exists() and output.samefile(file):
        raise UsageError(f"-o {output}: is the FILE that is read; give another name")
    size = None if input_size is None else input_size_of(input_size)
    for_networks = {"--score": score, "--map": map_, "--scale": scale, "--mean": mean, "--std": std,
                    "--lower-is-anomalous": lower_is_anomalous or None}  # fmt: skip
    for_weights = {"--backbone": backbone, "--student": student, "--teacher-prefix": teacher_prefix,
                   "--student-prefix": student_prefix, "--teacher-weights": teacher_weights,
                   "--padding": padding}  # fmt: skip
    if detector is None or ":" in detector:
        none_of(for_weights, "for weights of a detector that budgetc knows")
        imported = _network(file, detector, _options(size, for_networks), trust_model)
    else:
        none_of(for_networks, "for whole networks, which are read without --detector, and for factories")
        imported = import_weights(
            _given(file), detector=detector, backbone=backbone, input_size=size, student=student,
            teacher_prefix=teacher_prefix, student_prefix=student_prefix, teacher_weights=teacher_weights,
            trust=trust_model, padding=padding,
        )  # fmt: skip
    _save(imported, output, json=json)


def _given(file: Path | None) -> Path:
    if file is None:
        raise UsageError("import needs the FILE with the weights; only --detector package.module:factory does without")
    return file


def _network(file: Path | None, factory: str | None, options: "OnnxOptions", trust: str | None) -> "Imported":
    from budgetc.load.importing import import_factory, import_network

    if factory is None:
        return import_network(_given(file), options, trust=trust)
    return import_factory(factory, file, options, trust=trust)


def _options(size: tuple[int, int] | None, given: dict[str, Any]) -> "OnnxOptions":
    from budgetc.load.graph.building import Preparation
    from budgetc.load.onnx_graph import OnnxOptions

    preparation = Preparation(
        1.0 if given["--scale"] is None else given["--scale"], numbers_of("--mean", given["--mean"], (0.0,)),
        numbers_of("--std", given["--std"], (1.0,)), bool(given["--lower-is-anomalous"]),
    )  # fmt: skip
    return OnnxOptions(size, given["--score"], given["--map"], preparation)


def _save(imported: "Imported", output: Path, *, json: bool) -> None:
    from budgetc.compiler.training import save_bundle
    from budgetc.report.words import quantity

    detector = imported.detector
    written = save_bundle(detector, output, imported.source)
    if json:
        show_json({"bundle": str(output), "size_bytes": written, "detector": detector.family,
                   "notes": list(imported.notes), "source_sha256": imported.source.sha256,
                   "parameters": detector.parameters()})  # fmt: skip
        return
    display = Display()
    for note in imported.notes:
        display.say(f"note: {note}")
    show(f"{output}  ({quantity(written, 'B')}, {detector.parameters():,} deployed parameters)")

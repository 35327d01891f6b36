"""`budgetc import` and `budgetc inspect`: a user's weights in, what a file holds out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetc.cli.output import Json, show, show_json
from budgetc.cli.progress import Display
from budgetc.cli.values import input_size_of, none_of, numbers_of

if TYPE_CHECKING:
    from budgetc.load.importing import Imported


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("import")(import_)
    app.command("inspect")(inspect)


def import_(
    file: Annotated[Path, typer.Argument(help="state_dict (.pt, .pth, .ckpt), .safetensors, or a whole .onnx.")],
    *,
    detector: Annotated[
        str | None, typer.Option(help="reverse_distillation, stfpm or vae; not for ONNX, which says what it is.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--out", help="The bundle to write.")] = Path("model.pt"),
    backbone: Annotated[
        str | None, typer.Option(help="All but vae: resnet18 or wide_resnet50_2; else by its keys.")
    ] = None,
    input_size: Annotated[
        str | None, typer.Option(help="SIDE or HEIGHTxWIDTH it was trained at [256; vae by its layers].")
    ] = None,
    student: Annotated[
        Path | None, typer.Option(help="stfpm: the student, where FILE holds the teacher alone.")
    ] = None,
    teacher_prefix: Annotated[str | None, typer.Option(help="stfpm: what the teacher's keys start with.")] = None,
    student_prefix: Annotated[str | None, typer.Option(help="stfpm: what the student's keys start with.")] = None,
    teacher_weights: Annotated[
        Path | None, typer.Option(help="reverse_distillation: the encoder, where FILE holds bottleneck and decoder.")
    ] = None,
    score: Annotated[str | None, typer.Option(help="ONNX: the output that is the score.")] = None,
    map_: Annotated[str | None, typer.Option("--map", help="ONNX: the output that is the map.")] = None,
    scale: Annotated[
        float | None, typer.Option(help="ONNX: largest value of a pixel that it expects, such as 255 [1].")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="ONNX: what to take from pixels, such as .485,.456,.406 [0].")
    ] = None,
    std: Annotated[str | None, typer.Option(help="ONNX: what to divide them by afterwards [1].")] = None,
    lower_is_anomalous: Annotated[
        bool, typer.Option("--lower-is-anomalous", help="ONNX: turn scores and maps around.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a bundle of weights that were trained elsewhere, or of a whole ONNX file."""
    from budgetc.load.importing import import_weights

    size = None if input_size is None else input_size_of(input_size)
    for_onnx = {"--score": score, "--map": map_, "--scale": scale, "--mean": mean, "--std": std,
                "--lower-is-anomalous": lower_is_anomalous or None}  # fmt: skip
    for_weights = {"--backbone": backbone, "--student": student, "--teacher-prefix": teacher_prefix,
                   "--student-prefix": student_prefix, "--teacher-weights": teacher_weights}  # fmt: skip
    if detector is None:
        none_of(for_weights, "with --detector")
        imported = _of_onnx(file, size, for_onnx)
    else:
        none_of(for_onnx, "for ONNX files, which are read without --detector")
        imported = import_weights(
            file, detector=detector, backbone=backbone, input_size=size, student=student,
            teacher_prefix=teacher_prefix, student_prefix=student_prefix, teacher_weights=teacher_weights,
        )  # fmt: skip
    _save(imported, output, json=json)


def _of_onnx(file: Path, size: tuple[int, int] | None, given: dict[str, Any]) -> "Imported":
    from budgetc.load.graph.building import Preparation
    from budgetc.load.importing import import_onnx
    from budgetc.load.onnx_graph import OnnxOptions

    preparation = Preparation(
        1.0 if given["--scale"] is None else given["--scale"], numbers_of("--mean", given["--mean"], (0.0,)),
        numbers_of("--std", given["--std"], (1.0,)), bool(given["--lower-is-anomalous"]),
    )  # fmt: skip
    return import_onnx(file, OnnxOptions(size, given["--score"], given["--map"], preparation))


def _save(imported: "Imported", output: Path, *, json: bool) -> None:
    from budgetc.compiler.training import save_bundle
    from budgetc.report.words import quantity

    detector = imported.detector
    written = save_bundle(detector, output)
    if json:
        show_json({"bundle": str(output), "size_bytes": written, "detector": detector.family,
                   "notes": list(imported.notes), "source_sha256": imported.sha256,
                   "parameters": detector.parameters()})  # fmt: skip
        return
    display = Display()
    for note in imported.notes:
        display.say(f"note: {note}")
    show(f"{output}  ({quantity(written, 'B')}, {detector.parameters():,} deployed parameters)")


def inspect(
    file: Annotated[Path, typer.Argument(help="A bundle (model.pt) or the directory of an artifact.")],
    json: Json = False,
) -> None:
    """Say what a bundle or an artifact holds."""
    found = _artifact(file) if file.is_dir() else _bundle(file)
    if json:
        show_json(found)
        return
    layers = found.pop("layers", None)
    if layers is not None:
        found["tensors"] = f"{len(layers)} (--json lists their shapes)"
    show("\n".join(_lines(found)))


def _bundle(file: Path) -> dict[str, Any]:
    from budgetc.load.model import load_model

    loaded = load_model(file)
    detector = loaded.detector
    weights = {name: list(value.shape) for name, value in detector.module.state_dict().items() if value.dim() > 0}
    return {
        "kind": "bundle",
        "file": str(file),
        "sha256": loaded.sha256,
        "size_bytes": loaded.size_bytes,
        "detector": detector.family,
        "config": detector.config.model_dump(mode="json"),
        "threshold": detector.threshold,
        "deployed_parameters": detector.parameters(),
        "quantized_layers": sum(known.compute == "int8" for known in detector.formats.values()),
        "layers": weights,
    }


def _artifact(directory: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from budgetc.core.layout import ARTIFACT
    from budgetc.runtime.artifact import load_artifact
    from budgetc.runtime.spec import read_spec

    spec = read_spec(directory / ARTIFACT)
    load_artifact(directory, cache=False)
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    return {
        "kind": "artifact",
        "file": str(directory),
        "spec": asdict(spec),
        "files": {name: (directory / name).stat().st_size for name in names},
        "graph": _graph(directory / spec.model),
    }


def _graph(model: Path) -> dict[str, Any] | None:
    """What stands in the graph; None where the package onnx is missing, which scoring does not need."""
    from collections import Counter

    try:
        import onnx
    except ImportError:
        return None
    graph = onnx.load(model, load_external_data=False)
    operators = Counter(node.op_type for node in graph.graph.node)
    return {
        "opset": {item.domain or "ai.onnx": item.version for item in graph.opset_import},
        "ir_version": graph.ir_version,
        "operators": dict(sorted(operators.items())),
    }


def _lines(found: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in found.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_plain(value)}")
    return lines


def _plain(value: object) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)

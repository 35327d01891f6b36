"""`budgetc import` and `budgetc inspect`: a user's weights in, what a file holds out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from budgetc.cli.output import Json, show, show_json
from budgetc.cli.progress import Display
from budgetc.cli.values import input_size_of


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("import")(import_)
    app.command("inspect")(inspect)


def import_(
    file: Annotated[Path, typer.Argument(help="state_dict (.pt, .pth, .ckpt) or .safetensors.")],
    *,
    detector: Annotated[str, typer.Option(help="efficientad, reverse_distillation, stfpm or vae.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="The bundle to write.")] = Path("model.pt"),
    backbone: Annotated[
        str | None, typer.Option(help="stfpm, reverse_distillation: resnet18 or wide_resnet50_2; else by its keys.")
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
    padding: Annotated[
        bool | None,
        typer.Option("--padding/--no-padding", help="efficientad: whether its convolutions pad [as its file says]."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a bundle of weights that were trained elsewhere."""
    from budgetc.compiler.training import save_bundle
    from budgetc.load.importing import import_weights
    from budgetc.report.words import quantity

    size = None if input_size is None else input_size_of(input_size)
    imported = import_weights(
        file, detector=detector, backbone=backbone, input_size=size, student=student,
        teacher_prefix=teacher_prefix, student_prefix=student_prefix, teacher_weights=teacher_weights, padding=padding,
    )  # fmt: skip
    written = save_bundle(imported.detector, output)
    if json:
        show_json({"bundle": str(output), "size_bytes": written, "detector": detector, "notes": list(imported.notes),
                   "source_sha256": imported.sha256, "parameters": imported.detector.parameters()})  # fmt: skip
        return
    display = Display()
    for note in imported.notes:
        display.say(f"note: {note}")
    show(f"{output}  ({quantity(written, 'B')}, {imported.detector.parameters():,} deployed parameters)")


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

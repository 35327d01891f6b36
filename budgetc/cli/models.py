"""`budgetc inspect`: what a file holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetc.cli.output import Json, show, show_json
from budgetc.errors import UsageError

if TYPE_CHECKING:
    from budgetc.compiler.inspecting import Inspection, Layer


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("inspect")(inspect)


def inspect(
    file: Annotated[Path, typer.Argument(help="A bundle (model.pt), an .onnx file, or the directory of an artifact.")],
    *,
    target: Annotated[
        str | None, typer.Option(help="Of a detector: name in targets/devices/, or a path [host-cpu].")
    ] = None,
    json: Json = False,
) -> None:
    """What a detector is made of, and what can be done to it. On a target, if one is named; or an artifact."""
    if file.is_dir():
        if target is not None:
            raise UsageError(f"--target: {file} is an artifact, which is built already; budgetc explain shows it there")
        found = _artifact(file)
        if json:
            show_json(found)
        else:
            show("\n".join(_lines(found)))
        return
    from budgetc.compiler.inspecting import inspect_detector

    detector = inspect_detector(file, target=target or "host-cpu")
    if json:
        show_json(detector)
    else:
        show(_detector(detector))


def _detector(found: "Inspection") -> str:
    from budgetc.report.words import aligned, clean, quantity

    facts = [
        ("detector", f"{found.detector}, {found.deployed_parameters:,} deployed parameters"),
        ("input", f"{found.input_size[0]}x{found.input_size[1]}"),
        ("file", f"{quantity(found.size_bytes, 'B')}, sha256 {found.sha256}"),
        ("threshold", "-" if found.threshold is None else f"{found.threshold:g}"),
    ]
    if found.source is not None:
        digest = "" if found.source.sha256 is None else f", sha256 {found.source.sha256}"
        facts.append(("source", clean(f"{found.source.factory or ''} ({found.source.how})".strip() + digest)))
    facts += [("note", clean(note)) for note in found.notes]
    parts = [("part", "layers", "weights in FP32", "MACs", "")]
    parts += [
        (clean(part.name), str(part.layers), quantity(part.bytes, "B"), f"{part.macs / 1e6:.1f} M",
         "" if part.deployed else "never ships: nothing that is deployed reads it")
        for part in found.parts
    ]  # fmt: skip
    layers = [("layer", "kind", "weights", "MACs", "prune", f"INT8 on {found.target}")]
    layers += [
        (clean(one.name), one.kind, f"{one.parameters:,}", f"{one.macs / 1e6:.2f} M",
         _channels(one),
         "yes" if one.float_because is None else f"no: {clean(one.float_because)}")
        for one in found.layers
    ]  # fmt: skip
    steps = [("step", f"for this detector on {found.target}")]
    steps += [(one.step, "yes" if one.reason is None else f"no: {clean(one.reason)}") for one in found.steps]
    kernels = "" if found.integer_kernels is None else f"\n{found.integer_kernels} integer kernels when quantized here"
    return "\n\n".join([
        f"{clean(found.file)}\n{aligned(facts)}", aligned(parts), aligned(layers) + kernels, aligned(steps),
    ])  # fmt: skip


def _channels(layer: "Layer") -> str:
    if layer.group is None:
        return f"no: {layer.stays}"
    return "yes" if layer.group == layer.name else f"with {layer.group}"


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
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, (list, tuple, dict)) else str(value)

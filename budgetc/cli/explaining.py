"""`explain`: where the time and memory of a file go on a target."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.output import Json, show, show_json

if TYPE_CHECKING:
    from budgetc.compiler.explaining import Costs, Explanation, OperatorPart
    from budgetc.core.cost import Span


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("explain")(explain)


def explain(
    file: Annotated[Path, typer.Argument(help="Directory of an artifact, an .onnx file, or a bundle.")],
    *,
    target: Annotated[str, typer.Option(help="Name in targets/devices/, or a path.")],
    json: Json = False,
) -> None:
    """Time, traffic and roof of every operator on a target. Totals with intervals, and what it refuses."""
    from budgetc.compiler.explaining import explain_file

    found = explain_file(file, target=target)
    if json:
        show_json(found)
    else:
        show(_text(found))


def _text(found: "Explanation") -> str:
    from budgetc.report.words import aligned, clean, quantity

    header = ("#", "operator", "kind", "computes in", "time", "share", "roof", "moves", "MACs")
    rows = [header, *((str(place), *_operator(one)) for place, one in enumerate(found.operators, 1))]
    parts = [f"{clean(found.file)} on {found.target}", "", aligned(rows), ""]
    if found.costs is not None:
        parts.append(_totals(found.costs))
    parts.append(
        f"weights as computed {quantity(found.weight_bytes, 'B')}, "
        f"activations alive at once {quantity(found.activation_bytes, 'B')}"
    )
    parts += [f"refused: {clean(reason)}" for reason in found.refusals]
    if found.missing is not None:
        parts += ["", f"missing: {found.missing}"]
    return "\n".join(parts)


def _operator(one: "OperatorPart") -> tuple[str, ...]:
    from budgetc.report.words import clean, percent, quantity

    time = "-" if one.ms is None else quantity(one.ms, "ms")
    share = "-" if one.share is None else percent(one.share)
    moved = quantity(one.bytes, "B")
    return clean(one.name), one.kind, one.compute, time, share, one.roof or "-", moved, f"{one.macs / 1e6:.2f} M"


def _totals(costs: "Costs") -> str:
    from budgetc.report.words import aligned

    rows = [
        ("latency", *_span(costs.latency_ms, "ms"), "decode to score, mean"),
        ("of it before the graph", *_span(costs.preprocess_ms, "ms"), "decode, resize"),
        ("peak memory", *_span(costs.peak_memory_bytes, "B"), "of the whole process"),
        ("of it the model's", *_span(costs.model_memory_bytes, "B"), ""),
    ]
    energy = costs.energy_mj
    rows.append(
        ("energy", "not measured", "", "no published row says what the board draws")
        if energy is None
        else ("energy", *_span(energy, "mJ"), "of the whole board, one image")
    )
    note = f"predicted; {costs.nominal:.0%} intervals; confidence {costs.confidence}; fitted: {costs.runtime}"
    return f"{aligned(rows)}\n{note}"


def _span(span: "Span", unit: str) -> tuple[str, str]:
    from budgetc.report.words import quantity

    return quantity(span.value, unit), f"{quantity(span.lower, unit)} to {quantity(span.upper, unit)}"

"""`targets calibrate`: the cost model of a target, fitted to one board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.measuring import DEVICE_HELP
from budgetc.cli.output import Group, Json, show, show_json
from budgetc.cli.progress import Display
from budgetc.cli.values import new_file, only_one
from budgetc.errors import UsageError

if TYPE_CHECKING:
    from budgetc.compiler.calibrating import Calibration


def calibrate(
    target: Annotated[str, typer.Argument(help="Name in targets/devices/, or a path: the model to start from.")],
    files: Annotated[list[Path], typer.Argument(help="Artifacts or bundles to measure, three or more.")],
    *,
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP)] = None,
    kit: Annotated[Path | None, typer.Option(help="Write this zip for a board without a network instead.")] = None,
    results: Annotated[
        Path | None, typer.Option("--import", help="results.json that a kit of the same files wrote on the board.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Target file to write [needed without --kit].")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Data set whose pictures are timed; else noise.")] = None,
    group: Group = None,
    json: Json = False,
) -> None:
    """Scale a target's cost model to one board by files that are measured there; other files are then predicted."""
    only_one({"--device": device, "--kit": kit, "--import": results})
    if not (device or kit or results):
        raise UsageError("targets calibrate: give --device, --kit or --import: the board has to be measured")
    from budgetc.compiler import calibrating

    question = calibrating.Question(target, files, data, group)
    if kit is not None:
        calibrating.calibrate_kit(question, new_file("--kit", kit))
        show(f"{kit}: carry it to the board, unpack it, run python3 run_me.py, and bring results.json back")
        return
    if out is None:
        raise UsageError("targets calibrate: -o FILE is missing: the target file to write, such as my-board.yaml")
    new_file("-o", out)
    if device is not None:
        found = calibrating.calibrate_on_board(question, device, out, Display().say)
    else:
        assert results is not None
        found = calibrating.calibrate_imported(question, results, out, Display().say)
    if json:
        show_json(found)
    else:
        show(f"{_table(found)}\n\n{out}: {found.target}, scaled to {found.device}")


def _table(found: "Calibration") -> str:
    from budgetc.report.words import aligned

    rows = [("file", "graph measured", "predicted", "ratio", "decoding ratio")]
    rows += [
        (one.file, f"{one.graph_ms:.3g} ms", f"{one.predicted_graph_ms:.3g} ms",
         f"{one.graph_ms / one.predicted_graph_ms:.2f}", f"{one.preprocess_ms / one.predicted_preprocess_ms:.2f}")
        for one in found.files
    ]  # fmt: skip
    doubt = f"times {found.doubt.lower:.2f} to {found.doubt.upper:.2f} ({found.doubt.source})"
    facts = [("graph", f"x {found.graph_scale:.3f}"), ("decoding", f"x {found.preprocess_scale:.3f}"), ("doubt", doubt)]
    return f"{aligned(rows)}\n\n{aligned(facts)}"

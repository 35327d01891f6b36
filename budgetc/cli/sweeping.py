"""`budgetc sweep`: many compilations on one store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.output import Json, leave, show, show_json
from budgetc.cli.progress import Display

if TYPE_CHECKING:
    from budgetc.sweeps.table import SweepRow, SweepTable


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("sweep")(sweep_)


def sweep_(
    file: Annotated[Path, typer.Argument(help="YAML with models, budgets and, if wanted, targets, seeds and data.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", help="Directory of all artifacts, the table and the picture.")],
    store: Annotated[Path | None, typer.Option(help="Directory of shared results [store/ in the output].")] = None,
    json: Json = False,
) -> None:
    """Compile every model with every budget. And target and seed: one table, one picture of all Pareto fronts.

    Exit code 0 where everything is compliant, else that of the worst combination. The same command again goes on
    where it stopped, and does not repeat what is complete.
    """
    from budgetc.sweeps.members import load_sweep

    content = load_sweep(file)
    from budgetc.sweeps.running import sweep

    display = Display()
    table = sweep(
        content.models, content.targets, content.budgets, content.seeds,
        data=content.data, out=out, store=store, say=display.say, progress=display.progress,
    )  # fmt: skip
    display.clear()
    if json:
        show_json({**table.model_dump(mode="json"), "exit_code": table.exit_code})
    else:
        show(_shown(table, out))
    leave(table.exit_code)


def _shown(table: "SweepTable", out: Path) -> str:
    from budgetc.report.words import aligned

    heads = ("name", "verdict", "size", "latency", "AUROC", "trainings", "s", "choice")
    rows = aligned([heads, *map(_row, table.rows)])
    return f"{rows}\n\ntable: {out / 'sweep.csv'}, {out / 'sweep.json'}\npicture: {out / 'pareto.svg'}"


def _row(row: "SweepRow") -> tuple[str, ...]:
    from budgetc.report.words import ABSENT, clean, quantity

    latency = ABSENT if row.latency is None else f"{quantity(row.latency.value, 'ms')} ({row.latency.kind})"
    trainings = f"{row.trainings_anew} new, {row.trainings_reused} re-used"
    return (
        row.name, row.verdict if row.error is None else f"exit {row.exit_code}",
        ABSENT if row.artifact_size is None else quantity(row.artifact_size, "B"), latency,
        ABSENT if row.auroc is None else quantity(row.auroc.value, "1"), trainings, f"{row.seconds:.0f}",
        clean(row.error or row.choice or ABSENT),
    )  # fmt: skip

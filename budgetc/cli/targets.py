"""`targets`: devices that ship with budgetc, and their cost models against published rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.calibrating import calibrate
from budgetc.cli.output import Json, leave, show, show_file, show_json, show_listed

if TYPE_CHECKING:
    from budgetc.compiler.targets import Fitted
    from budgetc.core.cost import FitStatistic
    from budgetc.measurement.baselines import Baseline, Baselines
    from budgetc.measurement.validating import Group, Validation

Name = Annotated[str, typer.Argument(help="Its name, or a path.")]
File = Annotated[Path, typer.Argument(help="The file to check.")]
RowFiles = Annotated[
    list[Path],
    typer.Option("--rows", help="CSV of published latencies; may be given several times.", show_default=False),
]
Networks = Annotated[
    Path | None, typer.Option(help="Shapes of the networks that rows name (networks.json).", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    targets = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="Devices: list, show, check, validate, fit, calibrate."
    )
    targets.command("list")(list_targets)
    targets.command("show")(show_target)
    targets.command("check")(check_target)
    targets.command("validate")(validate)
    targets.command("fit")(fit)
    targets.command("calibrate")(calibrate)
    app.add_typer(targets, name="targets")


def list_targets(json: Json = False) -> None:
    """Targets that ship with budgetc."""
    from budgetc.load import config

    found = {name: config.load_target(name).target.description for name in config.list_targets()}
    show_listed("targets", found, json=json)


def show_target(name: Name) -> None:
    """The file of a target."""
    from budgetc.load.config import load_target

    show_file(load_target(name).path)


def check_target(file: File) -> None:
    """Whether a file is a valid target."""
    from budgetc.load.config import load_target

    loaded = load_target(file)
    show(f"{loaded.path}: a valid target, {loaded.target.name}")


def validate(target: Name, *, rows: RowFiles, networks: Networks = None, json: Json = False) -> None:
    """How far a target's cost model is off on published latencies, beside simpler predictors.

    Coverage is of the interval for the runtime of the rows; budgets add what artifacts in another runtime are doubted
    by. Exit code 5: no row is of this target.
    """
    from budgetc.compiler.targets import baselines, validate_target

    found = validate_target(target, rows, networks=networks)
    if json:
        show_json(found)
    else:
        show(_validation(found, baselines(target, rows, networks=networks)))
    leave(0 if found.groups else 5)


def fit(
    targets: Annotated[list[str], typer.Argument(help="Names or paths; each file has a `fit:` that says whose rows.")],
    *,
    rows: RowFiles,
    networks: Networks = None,
    never_fitted: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of rows that are only predicted; may be given several times.", show_default=False),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Replace the `cost:` block of the files.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a fit statistic instead of text.")
    ] = False,
) -> None:
    """Fit cost models to published latencies; nothing is written without --write."""
    from budgetc.compiler.targets import fit_targets

    for one in fit_targets(targets, rows, networks=networks, never_fitted=never_fitted or (), write=write):
        if json:
            for statistic in one.cost.fit:
                show_json({"target": one.target, **statistic.model_dump(mode="json")}, lines=True)
        else:
            show(_fit(one, written=write))


def _validation(found: "Validation", beside: "list[Baselines]") -> str:
    from budgetc.report.words import aligned

    rows: list[tuple[str, ...]] = [
        ("precision", "threads", "runtime", "n", "MAPE", "median", "p90", "<= 10 %", "<= 20 %", "Spearman",
         "in interval", "half width", "MACs only", "nearest board")
    ]  # fmt: skip
    rows += [_group(one, simple) for one, simple in zip(found.groups, beside, strict=True)]
    text = [f"{found.target}: errors of the cost model on published latencies", ""]
    text.append(aligned(rows) if found.groups else "no row is of this target")
    text += [line for one in found.groups for line in _details(one)]
    if found.left_out:
        text += ["", "left out:", *(f"  {count:>6}  {reason}" for reason, count in found.left_out.items())]
    return "\n".join(text)


def _group(one: "Group", simple: "Baselines") -> tuple[str, ...]:
    shares = (one.mape, one.median_ape, one.p90_ape, one.within_10, one.within_20)
    ranks = "-" if one.spearman is None else f"{one.spearman:.3f}"
    return (
        one.precision, one.threads or "-", one.runtime, str(one.n), *map(_percent, shares), ranks,
        _percent(one.interval_coverage), _percent(one.interval_half_width_median), _baseline(simple.macs),
        _baseline(simple.board, named=True),
    )  # fmt: skip


def _baseline(one: "Baseline | None", *, named: bool = False) -> str:
    if one is None:
        return "-"
    return _percent(one.mape) + (f" ({one.name}, n {one.n})" if named else "")


def _details(one: "Group") -> list[str]:
    bands = ", ".join(f"{name} {_percent(band.mape)} (n {band.n})" for name, band in one.by_latency_band.items())
    worst = ", ".join(f"{row.model} {row.error:+.0%}" for row in one.worst[:3])
    threads = f", threads {one.threads}" if one.threads else ""
    return ["", f"{one.precision}, {one.runtime}{threads}: MAPE {bands}", f"  worst: {worst}"]


def _fit(one: "Fitted", *, written: bool) -> str:
    from budgetc.report.words import aligned

    rows: list[tuple[str, ...]] = [("use", "group", "n", "MAPE", "median", "p90", "in interval", "half width")]
    rows += [_statistic(statistic) for statistic in one.cost.fit]
    state = f"written to {one.path}" if written else f"not written; --write replaces the `cost:` block of {one.path}"
    table = aligned(rows) if one.cost.fit else "derived from another target: no row of its own"
    return f"{one.target}: {state}\n\n{table}\n"


def _statistic(one: "FitStatistic") -> tuple[str, ...]:
    shares = (one.mape, one.median_ape, one.p90_ape, one.coverage, one.half_width)
    return (one.use, one.group, str(one.n), *map(_percent, shares))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"

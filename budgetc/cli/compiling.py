"""`budgetc compile` and `budgetc plan`: the search, and the dry run before it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from budgetc.cli.measuring import DEVICE_HELP
from budgetc.cli.output import Json, leave, show, show_json, verdict_code
from budgetc.cli.progress import Display
from budgetc.cli.values import new_file, only_one

if TYPE_CHECKING:
    from budgetc.compiler.inputs import Device
    from budgetc.compiler.planning import Feasibility
    from budgetc.report.schema import CandidateRecord, Report

_ROWS = 20
Model = Annotated[Path, typer.Argument(help="A bundle of budgetc train or budgetc import, or an ONNX file.")]
BudgetName = Annotated[str, typer.Option("--budget", help="Path of a budget file, or a name among targets/budgets/.")]
Data = Annotated[Path | None, typer.Option(help="Data set; wins over the budget's.")]


Store = Annotated[
    Path | None, typer.Option(help="Directory of results to share with other runs [the run directory OUT.run/].")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("compile")(compile_)
    app.command("plan")(plan)


def compile_(
    model: Model,
    *,
    budget: BudgetName,
    data: Data = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Directory of the artifact [MODEL.BUDGET/ beside the model].")
    ] = None,
    evidence: Annotated[
        Literal["measured", "predicted"] | None,
        typer.Option(help="Weakest evidence for latency and memory that may pass; wins over the budget's."),
    ] = None,
    device: Annotated[str | None, typer.Option(help=f"{DEVICE_HELP} A cut link is waited for.")] = None,
    kit: Annotated[
        Path | None,
        typer.Option(
            help="For a board without a network: search by prediction, write a zip with the finalists, end with code "
            "5. Unpack it on the board, run python3 run_me.py, and repeat the command with --import."
        ),
    ] = None,
    results: Annotated[
        list[Path] | None, typer.Option("--import", help="results.json of a kit; again for those of further kits.")
    ] = None,
    store: Store = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what OUT.run/ was started with, or refuse if inputs differ.")
    ] = False,
    json: Json = False,
) -> None:
    """Find the smallest artifact that keeps the budget. It is written with its report."""
    only_one({"--device": device, "--kit or --import": kit or results})
    from budgetc.load.config import load_budget

    # Before torch loads, so that a typo is answered at once.
    budget_path = load_budget(budget).path
    from budgetc.compiler.inputs import default_out
    from budgetc.compiler.pipeline import compile_detector, run_path
    from budgetc.report.refusal import refusal

    directory = out if out is not None else default_out(model, budget_path)
    display = Display()
    try:
        report = compile_detector(
            model, budget=budget, data=data, out=directory, evidence=evidence,
            device=_device(device, kit, results), store=store, resume=resume,
            say=display.say, progress=display.progress,
        )  # fmt: skip
    except KeyboardInterrupt:
        if run_path(directory).exists():
            display.say(f"stopped; {run_path(directory)} keeps what is done, and the same command continues from there")
        raise
    display.clear()
    if json:
        show_json(report)
    else:
        show(verdict_words(report, directory))
    code = report_code(report)
    if code:
        display.say(refusal(report))
    leave(code)


def _device(url: str | None, kit: Path | None, results: list[Path] | None) -> "Device | None":
    from budgetc.compiler.inputs import Device

    if kit is not None:
        new_file("--kit", kit)
    return Device(url, kit, tuple(results or ())) if url or kit or results else None


def report_code(report: "Report") -> int:
    """0 compliant, 3 nothing is, 5 cannot be told."""
    if report.verdict is None or not report.complete:
        return 3
    return verdict_code(report.verdict.overall)


def verdict_words(report: "Report", directory: Path) -> str:
    """What is printed at the end of a search that wrote `directory`."""
    from budgetc.core.layout import REPORT_HTML, REPORT_MARKDOWN
    from budgetc.report.verdict_table import verdict_table

    lines = [verdict_table(report), f"page: {directory / REPORT_HTML}", f"report: {directory / REPORT_MARKDOWN}"]
    if report.needs_install:
        lines.append(f"first: budgetc install {directory} (on the machine that runs it; memory holds only then)")
    return "\n".join(lines)


def plan(
    model: Model,
    *,
    budget: BudgetName,
    data: Data = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the plan as JSON to this file.")] = None,
    every: Annotated[bool, typer.Option("--all", help=f"List every structure, not only {_ROWS}.")] = False,
    json: Json = False,
) -> None:
    """Dry run: what fits the budget. What it leaves of the search, and what the search would cost."""
    from budgetc.load.config import load_budget

    load_budget(budget)
    if out is not None:
        new_file("-o", out)
    from budgetc.compiler.planning import plan_detector
    from budgetc.store.durable import write_durably

    display = Display()
    found = plan_detector(model, budget=budget, data=data, say=display.say)
    if out is not None:
        write_durably(out, (found.model_dump_json(indent=2) + "\n").encode())
    if json:
        show_json(found)
    else:
        show(_table(found, None if every else _ROWS))
    if found.smallest_feasible is None:
        display.say("No structure keeps size, latency and memory: training cannot change that. Relax a limit above.")
        leave(3)


def _table(found: "Feasibility", rows: int | None) -> str:
    from budgetc.report.words import aligned, clean

    ordered = sorted(found.candidates, key=_order)
    listed = ordered[:rows]
    cells: list[tuple[str, ...]] = [("id", "size", "latency_p95", "peak_memory", "plan", "what is known")]
    cells += [_row(candidate, found.smallest_feasible) for candidate in listed]
    left = len(ordered) - len(listed)
    floor = "-" if found.floor is None else f"{found.floor:.4f}"
    facts = [
        ("structures", f"{found.enumerated}; {found.keep_size} keep the size limit"),
        ("smallest that fits", found.smallest_feasible or "none"),
        ("cost at most", f"{found.trainings_at_most} trainings, {found.seconds_at_most / 60:.0f} min"),
        ("baseline AUROC", f"{found.baseline_auroc:.4f} on selection; floor {floor}"),
        ("images", clean(found.can_certify)),
        *(("label-light" if not number else "", clean(one)) for number, one in enumerate(found.label_light)),
    ]
    more = f"\n... and {left} more (--all lists them)" if left else ""
    return f"{aligned(cells)}{more}\n\n{aligned(facts)}"


def _order(candidate: "CandidateRecord") -> tuple[bool, int, str]:
    """Feasible ones first, small ones before large ones."""
    size = candidate.artifact_size
    return candidate.fate in ("discarded", "failed"), 2**62 if size is None else size, candidate.id


def _row(candidate: "CandidateRecord", smallest: str | None) -> tuple[str, ...]:
    from budgetc.report.words import ABSENT, clean, quantity

    seen = {one.metric: quantity(one.value, one.unit) for one in candidate.screened}
    size = ABSENT if candidate.artifact_size is None else quantity(candidate.artifact_size, "B")
    reason = clean(candidate.reason)
    return (
        candidate.id, size, seen.get("latency_p95", ABSENT), seen.get("peak_memory", ABSENT),
        candidate.plan.title(), f"{reason} (smallest that fits)" if candidate.id == smallest else reason,
    )  # fmt: skip

"""`evaluate`, `check`, `verify`: figures of a detector, and whether those of an artifact hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.output import Group, Json, leave, show, show_json, verdict_code
from budgetc.cli.progress import Display
from budgetc.cli.values import new_file
from budgetc.errors import UsageError

if TYPE_CHECKING:
    from budgetc.compiler.evaluating import Evaluation
    from budgetc.core.measurement import Measurement
    from budgetc.core.quality import Quality
    from budgetc.core.verdict import Verdict
    from budgetc.report.schema import Report
    from budgetc.report.verify import VerifyResult

Out = Annotated[Path, typer.Argument(help="Directory of an artifact.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("evaluate")(evaluate)
    app.command("check")(check)
    app.command("verify")(verify)


def evaluate(
    detector: Annotated[Path, typer.Argument(help="Directory of an artifact, or a bundle.")],
    *,
    data: Annotated[Path, typer.Option(help="Data set whose test pictures are scored.")],
    scores: Annotated[Path | None, typer.Option(help="Write a CSV: file, group, label, score.")] = None,
    group: Group = None,
    json: Json = False,
) -> None:
    """AUROC and false alarms on data that the detector never saw."""
    if scores is not None:
        new_file("--scores", scores)
    from budgetc.compiler.evaluating import evaluate_detector

    display = Display()
    found = evaluate_detector(detector, data=data, scores=scores, group=group, progress=display.progress)
    display.clear()
    for warning in found.warnings:
        display.say(f"warning: {warning}")
    if json:
        show_json(found)
    else:
        show(_quality(found))


def check(
    out: Out,
    budget: Annotated[str, typer.Option(help="Path of a budget file, or a name among targets/budgets/.")],
    json: Json = False,
) -> None:
    """Hold an artifact's stored measurements against a budget. Measures nothing."""
    from budgetc.load.config import load_budget, load_target
    from budgetc.report.verify import check_artifact, read_report

    loaded = load_budget(budget)
    target = load_target(loaded.budget.target, loaded.path.parent).target
    verdict = check_artifact(out, loaded.budget)
    report = read_report(out)
    judged = report.target.name
    if target.name != judged:
        raise UsageError(
            f"{loaded.path}: target is {target.name}, but the numbers of {out} are for {judged}; "
            f"compile for {target.name}, or check against a budget of {judged}"
        )
    if json:
        show_json(verdict)
    else:
        show(f"{loaded.path.stem}: {verdict.overall}\n\n{_limits(verdict, report)}")
    leave(verdict_code(verdict.overall))


def verify(out: Out, json: Json = False) -> None:
    """Re-check an artifact from its files alone. Nothing was changed, and the verdict follows from the numbers."""
    from budgetc.core.layout import REPORT_JSON
    from budgetc.errors import InputRejected
    from budgetc.report.verify import verify_artifact

    if out.is_dir() and not (out / REPORT_JSON).exists():
        raise InputRejected(f"{out}: is no artifact, it has no {REPORT_JSON}; expected a directory of budgetc compile")
    result = verify_artifact(out)
    if json:
        checks = [{"check": one.name, "holds": one.problem is None, "problem": one.problem} for one in result.checks]
        verdict = None if result.verdict is None else result.verdict.model_dump(mode="json")
        show_json({"holds": result.holds, "checks": checks, "verdict": verdict})
    else:
        show(_checks(result))
    leave(0 if result.holds else 3)


def _quality(found: "Evaluation") -> str:
    from budgetc.report.controls import control_rows
    from budgetc.report.words import ABSENT, aligned, clean, percent

    quality = found.quality
    rows = [
        counted_row("AUROC, mean over categories", quality.auroc_mean),
        counted_row("AUROC, worst category", quality.auroc_worst),
        counted_row("AUROC, pooled", quality.auroc_pooled),
        measured_row("false-positive rate", quality.false_positive_rate),
    ]
    rows += [counted_row(f"AUROC of {name}", one) for name, one in found.parts.items()]
    for one in quality.categories:
        name = f"AUROC of {clean(one.category)}"
        few = (name, ABSENT, f"insufficient data: {one.good} good, {one.bad} bad")
        rows.append(few if one.auroc is None else counted_row(name, one.auroc))
    rows += [*_alarm_rows(quality), *_pixel_rows(quality)]
    rows += [counted_row(f"AUROC for {clean(one.defect)}", one.auroc) for one in quality.defects]
    for defect in quality.recall:
        share = percent(defect.found / defect.of)
        own = "" if defect.found_by_own is None else f", {defect.found_by_own} above that of their category"
        said = f"{defect.found} of {defect.of} above the threshold{own}"
        rows.append((f"recall of {clean(defect.defect)}", share, said))
    rows += [(f"control: {name}", ABSENT, words) for name, words in control_rows(found.controls)]
    own = "".join(
        f"\n  of {clean(one.category)} {one.threshold:.6g}" for one in quality.categories if one.threshold is not None
    )
    return f"{aligned(rows)}\n\nthreshold {quality.threshold:.6g}{own}"


def _alarm_rows(quality: "Quality") -> Iterator[tuple[str, str, str]]:
    """By category, where there are several."""
    from budgetc.report.words import clean

    for one in quality.categories if len(quality.categories) > 1 else ():
        both = (one.false_positive_rate, "threshold of all"), (one.own_false_positive_rate, "own threshold")
        for found, which in both:
            if found is not None:
                yield measured_row(f"false-positive rate of {clean(one.category)}, {which}", found)


def _pixel_rows(quality: "Quality") -> Iterator[tuple[str, str, str]]:
    """Nothing where the detector has no map; a category without masks says so."""
    from budgetc.report.words import ABSENT, clean

    if quality.pixels is None:
        return
    for name, found in (
        ("pixel AUROC, mean over categories", quality.pixels.auroc),
        ("pixel AUROC, worst category", quality.pixels.auroc_worst),
        ("AUPRO, mean over categories", quality.pixels.aupro),
        ("AUPRO, worst category", quality.pixels.aupro_worst),
    ):
        if found is not None:
            yield measured_row(name, found)
    for one in quality.pixels.categories:
        for what, figure in (("pixel AUROC", one.auroc), ("AUPRO", one.aupro)):
            name = f"{what} of {clean(one.category)}"
            yield (name, ABSENT, one.reason) if figure is None else counted_row(name, figure)


def counted_row(name: str, found: "Measurement") -> tuple[str, str, str]:
    """Without the note on the method, which is the same for all and stands in --json."""
    return measured_row(name, found.model_copy(update={"note": None}))


def measured_row(name: str, found: "Measurement") -> tuple[str, str, str]:
    """A figure and what it rests on, for a table."""
    from budgetc.report.words import backing, quantity

    return name, quantity(found.value, found.unit), backing(found, with_confidence=True)


def _limits(verdict: "Verdict", report: "Report") -> str:
    from budgetc.report.verdict_table import outcome_words, support_words
    from budgetc.report.words import ABSENT, aligned, apart, limit_words

    rows = [("limit", "value", "bound", "outcome", "reason")]
    for one in verdict.limits:
        value, bound = ABSENT, limit_words(one.bound, one.unit)
        if one.measurement is not None:
            value, bound = apart(one.measurement.value, one.bound, one.unit)
        rows.append((one.limit, value, bound, outcome_words(one), support_words(report, one.limit, one.reason)))
    return aligned(rows)


def _checks(result: "VerifyResult") -> str:
    from budgetc.report.words import clean

    lines = [f"{'holds' if one.problem is None else 'FAILS'}  {one.name}" for one in result.checks]
    lines += ["", "It holds." if result.holds else "It does not hold:", *(f"  {clean(one)}" for one in result.problems)]
    if result.holds and result.verdict is not None:
        lines.append(f"verdict: {result.verdict.overall}")
    return "\n".join(lines)

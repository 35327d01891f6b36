"""A whole case on real data, from pictures to verdict, and the control that has no compiler.

    BUDGETC_TEST_DATA=DIR python benchmarks/real.py --case magnetic-tile|driving --budget NAME -o DIR [--quick]

Leaves in DIR: model.pt, the baseline, trained once; out/, the artifact, and a copy of it in out-NAME/; NAME.yaml, the
budget; store/, what another --budget with the same DIR need not do again. `--budget host-cpu` derives its limits from
the baseline as it is measured here: shares of its bytes and of its median latency. Any other name is a shipped budget
with the recipes of the case. `--control` compiles with the recipe `no-compiler` instead, into control/. `--sides`
measures the magnetic tile's baseline at every input size. `--quick` trains less everywhere: it shows that the road is
open, its figures mean nothing.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import driving_case  # beside this script, as the next ones
import tile_case
from line import Line
from ruamel.yaml import YAML

import budgetc
from budgetc.candidate import applicable
from budgetc.cli.compiling import report_code
from budgetc.compiler.evaluating import evaluate_detector
from budgetc.compiler.measuring import measure_file
from budgetc.core.budget import Evidence
from budgetc.core.measurement import Measurement
from budgetc.load.config import load_budget, load_target
from budgetc.measurement.size import deployed_bytes
from budgetc.report.schema import Quality, Report

LOCAL = frozenset(tile_case.LOCAL)
CONTROL = ("no-compiler",)
OTHER = {"nano-gpu": "nano-cpu", "nano-cpu": "nano-gpu"}


@dataclass(frozen=True)
class Case:
    """What a case is made of, and what its artifact may cost as shares of the baseline on this machine."""

    name: str
    size: float
    latency: float
    make_data: Callable[[Path, Path], Path]
    train: Callable[..., list[Line]]
    recipes: tuple[str, ...]
    gpu_recipes: tuple[str, ...]


MINUTES, CONTROL_MINUTES = 50, 6
CASES = {
    "magnetic-tile": Case("magnetic-tile", 1 / 8, 1 / 3, tile_case.make_data, tile_case.train, tile_case.RECIPES,
                          tile_case.GPU_RECIPES),
    "driving": Case("driving", 1 / 100, 1 / 4, driving_case.make_data, driving_case.train, driving_case.RECIPES,
                    driving_case.GPU_RECIPES),
}  # fmt: skip


def write_budget(case: Case, name: str, folder: Path, *, data: Path, quick: bool, recipes: tuple[str, ...]) -> Path:
    """The budget as a file: limits in shares of the baseline for this machine, the shipped limits elsewhere."""
    shipped = load_budget(name).budget
    raw = shipped.model_dump(mode="json", exclude_none=True, exclude={"limits", "search"})
    limits = shipped.limits.model_dump(mode="json", exclude_none=True)
    if name == "host-cpu":
        cost = {one.metric: one.value for one in measure_file(folder / "model.pt", calls=300, data=data).measurements}
        limits = {
            "artifact_size": f"{int(cost['artifact_size'] * case.size)} B",
            "latency_p50": f"{cost['latency_p50'] * case.latency:.4f} ms",
        }
    written = {**limits, "auroc": {"max_drop": 0.02}}
    minutes = CONTROL_MINUTES if recipes == CONTROL else MINUTES
    search = {"recipes": list(recipes), "trainings": 4 if quick else 24, "time": f"{minutes} min", "seeds": 3}
    path = folder / f"{name}.yaml"
    YAML().dump({**raw, "limits": written, "search": search}, path)
    return path


def interval(found: Measurement) -> str:
    """Bounds and how they were found."""
    bounds = "" if found.lower is None or found.upper is None else f"{found.lower:.4g} to {found.upper:.4g}"
    return ", ".join(part for part in (bounds, found.note or "") if part)


def baseline_lines(case: Case, report: Report) -> Iterator[Line]:
    """The baseline on the confirmation split, and the controls beside it."""
    assert report.baseline is not None, "the baseline is always described"
    yield from _quality_lines(case, "baseline", report.baseline.quality)
    if report.artifact is not None:
        yield from _quality_lines(case, "artifact", report.artifact.quality)
    for control in report.controls:
        if control.auroc is not None:
            yield _line(f"{case.name} control, {control.control}: AUROC", control.auroc, "reported", True)
        for subject, gap in control.gaps.items():
            name = f"{case.name} {subject} above the control {control.control}"
            yield _line(name, gap, ">= 0.05", gap.value >= 0.05)


def _quality_lines(case: Case, who: str, quality: Quality) -> Iterator[Line]:
    judged = case.name == "magnetic-tile" and who == "baseline"
    value = quality.auroc_mean
    name = f"{case.name} {who} AUROC on {quality.split}"
    yield _line(name, value, ">= 0.8" if judged else "reported", not judged or value.value >= 0.80)
    for one in quality.defects:
        yield _line(f"{name}, {one.defect}", one.auroc, "reported", True)
    local = [one.auroc.value for one in quality.defects if one.defect in LOCAL]
    if local:
        mean = sum(local) / len(local)
        goal = ">= 0.85" if judged else "reported"
        yield Line(
            f"{name}, mean of the local types", round(mean, 4), goal, not judged or mean >= 0.85, "1", value.n, ""
        )


def verdict_lines(case: Case, budget: str, report: Report, seconds: float) -> Iterator[Line]:
    """What was reached, and what it took."""
    head = f"{case.name} on {budget}"
    verdict = "nothing built" if report.verdict is None else report.verdict.overall
    expected = "compliant" if budget == "host-cpu" else "compliant (predicted)"
    code = report_code(report)
    yield Line(f"{head}: exit code ({verdict})", code, "= 0", code == 0 and verdict == expected, "1", 1, report.why)
    yield Line(
        f"{head}: compile time",
        round(seconds, 1),
        "<= 3600",
        seconds <= 3600,
        "s",
        1,
        f"{report.search.trainings} trainings",
    )
    if report.comparison is None:
        return
    share = report.comparison
    chosen = next(one.plan.title() for one in report.candidates if one.id == report.chosen)
    here = budget == "host-cpu"
    for name, ratio, goal in (
        (f"bytes over the baseline's ({chosen})", share.size_ratio, case.size),
        ("p50 over the baseline's", share.latency_p50_ratio, case.latency),
        ("memory above the runtime over the baseline's", share.model_memory_ratio, None),
    ):
        binds = here and goal is not None
        yield _line(f"{head}: {name}", ratio, f"<= {goal:.4g}" if binds else "reported",
                    goal is None or not binds or ratio.value <= goal)  # fmt: skip
    loss = share.auroc_loss
    yield _line(f"{head}: AUROC loss on confirmation, paired", loss, "<= 0.02", loss.value <= 0.02)
    for one in report.seeds:
        yield Line(f"{head}: seed {one.seed}, AUROC loss on confirmation", round(one.auroc_loss, 4), "reported", True,
                   "1", loss.n, f"AUROC {one.confirmation_auroc:.4f}")  # fmt: skip
    if not report.seeds and code == 0:
        yield Line(f"{head}: seeds", 1, "reported", True, "1", 1, "the winner has no random step: every seed gives it")


def elsewhere(case: Case, budget: str, report: Report, folder: Path) -> Iterator[Line]:
    """Why the artifact of one board is not that of the other: it does not run there, breaks a limit, or is larger."""
    other = OTHER[budget]
    target = load_target(load_budget(other).budget.target).target
    name = f"{case.name}: the {budget} artifact on {target.name}"
    plan = next(one.plan for one in report.candidates if one.id == report.chosen)
    reason = applicable(plan, report.detector, target)
    if reason is not None:
        yield Line(f"{name}: runs", 0, "reported", True, "1", 1, reason)
        return
    limit = load_budget(other).budget.limits.latency_p95
    latency = next(one for one in measure_file(folder / f"out-{budget}", target=target.name).measurements
                   if one.metric == "latency_p95")  # fmt: skip
    assert latency.upper is not None and limit is not None
    outcome = "keeps it" if latency.upper <= limit else "breaks it"
    yield _line(f"{name}: p95, limit {limit:g} ms by its upper bound ({outcome})", latency, "reported", True)
    theirs = folder / f"out-{other}"
    if theirs.exists():
        mine, own = (sum(deployed_bytes(folder / f"out-{one}").values()) for one in (budget, other))
        yield Line(f"{name}: bytes over those of its own artifact", round(mine / own, 4), "> 1", mine > own, "1", 1, "")


def without_board(case: Case, budget: str, compile_again: Callable[[], Report]) -> Line:
    """The same with measured evidence asked for: nothing can tell without the board."""
    code = report_code(compile_again())
    return Line(f"{case.name} on {budget}: exit code with --evidence measured", code, "= 5", code == 5, "1", 1, "")


def _line(name: str, found: Measurement, goal: str, ok: bool) -> Line:
    assert found.kind != "declared", "nothing here is taken from a data sheet"
    return Line(name, round(found.value, 4), goal, ok, found.unit, found.n, interval(found), found.kind)


def main() -> None:
    """One case under one budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, required=True)
    parser.add_argument("--budget", default="host-cpu", help="host-cpu, or another budget that ships with budgetc")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="everything is written here")
    parser.add_argument("--control", action="store_true", help="with the recipe no-compiler alone")
    parser.add_argument("--sides", action="store_true", help="only the baseline at every input size")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    root = os.environ.get("BUDGETC_TEST_DATA")
    if root is None:
        parser.error("set BUDGETC_TEST_DATA to the folder that holds magnetic-tile/ and driving/")
    case, folder = CASES[options.case], options.o.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data = case.make_data(Path(root) / case.name, folder)
    if options.sides:
        for line in tile_case.sides(data, folder):
            line.show()
        return
    run(case, options.budget, data, folder, control=options.control, quick=options.quick)


def run(case: Case, budget: str, data: Path, folder: Path, *, control: bool, quick: bool) -> None:
    """Train where there is no model yet, compile, and print what came of it."""
    if not (folder / "model.pt").exists():
        for line in case.train(data, folder / "model.pt", quick=quick):
            line.show()
    gpu = budget.endswith("gpu")
    recipes = CONTROL if control else case.gpu_recipes if gpu else case.recipes
    path = write_budget(case, budget, folder, data=data, quick=quick, recipes=recipes)
    out = folder / ("control" if control else "out")

    def compiled(into: Path, evidence: Evidence | None = None) -> Report:
        return budgetc.compile(
            folder / "model.pt", budget=path, data=data, out=into, store=folder / "store", evidence=evidence,
            say=lambda sentence: print(sentence, file=sys.stderr, flush=True),
        )  # fmt: skip

    started = time.monotonic()
    report = compiled(out)
    seconds = time.monotonic() - started
    lines = [*baseline_lines(case, report), *verdict_lines(case, budget, report, seconds)]
    subjects = {"baseline": folder / "model.pt", **({} if report.artifact is None else {"artifact": out})}
    for who, detector in subjects.items():
        # Selection and confirmation together: what published figures are of.
        lines += _quality_lines(case, who, evaluate_detector(detector, data=data).quality)
    if not control:
        shutil.copytree(out, folder / f"out-{budget}", dirs_exist_ok=True)  # the next budget replaces out/
    if budget in OTHER and report.artifact is not None:
        lines += elsewhere(case, budget, report, folder)
        lines.append(without_board(case, budget, lambda: compiled(folder / f"measured-{budget}", "measured")))
    for line in lines:
        line.show()


if __name__ == "__main__":
    main()

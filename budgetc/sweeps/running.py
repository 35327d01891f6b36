"""One compilation after the other, on one store and with one memory."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from budgetc.compiler.environment import environment
from budgetc.compiler.inputs import Inputs, ReadData, load_inputs
from budgetc.compiler.pipeline import Say, compile_inputs, quiet, run_path
from budgetc.core.layout import REPORT_JSON
from budgetc.errors import BudgetcError, StorageFailed, UsageError
from budgetc.load.datasets import load_dataset
from budgetc.report.schema import Report
from budgetc.report.verify import read_report, verify_artifact
from budgetc.store.durable import storage_errors
from budgetc.store.events import LOG, parse_log
from budgetc.sweeps.members import Member, members_of
from budgetc.sweeps.table import Done, SweepRow, SweepTable, figures_of, write_table
from budgetc.training.loop import Progress, silent
from budgetc.workshop import Memory


def sweep(
    models: Sequence[str | Path], targets: Sequence[str | Path], budgets: Sequence[str | Path], seeds: Sequence[int], *,
    data: str | Path | None = None, out: str | Path, store: str | Path | None = None, say: Say = quiet,
    progress: Progress = silent,
) -> SweepTable:  # fmt: skip
    """Compile every combination into `out/<name>/` on one store; the table and the picture grow with every one.

    A combination that complies with nothing, or whose model or data is refused, does not stop the others.

    Args:
        models: bundles.
        targets: names or paths in place of each budget's own; empty: its own.
        budgets: names or paths.
        seeds: in place of each budget's own; empty: its own.
        data: data set; wins over the budgets'.
        out: directory; gets `sweep.csv`, `sweep.json` and `pareto.svg`.
        store: shared results; default `out/store`.
        say: gets a sentence for every decision.
        progress: gets (what, done, of) during long work.

    Raises:
        UsageError, ConfigError: a budget, target or combination cannot be meant.
        StorageFailed: the disk is full.
    """
    started = time.monotonic()
    folder = Path(out)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    members = [*members_of(models, targets, budgets, seeds, folder=folder)]
    shared = Path(store) if store is not None else folder / "store"
    bench = _Bench(folder, shared, None if data is None else Path(data), say, progress)
    for number, member in enumerate(members, 1):
        say(f"[{number}/{len(members)}] {member.name}")
        row = bench.compile(member)
        say(f"[{number}/{len(members)}] {member.name}: {row.verdict}, {row.seconds:.0f} s")
        table = SweepTable(rows=tuple(bench.rows), store=str(shared), seconds=round(time.monotonic() - started, 1))
        write_table(table, bench.reports, folder)
    return table


@dataclass
class _Bench:
    """Carries out one member after the other, and keeps in memory what the next one needs too."""

    folder: Path
    store: Path
    data: Path | None
    say: Say
    progress: Progress
    read: ReadData = field(default_factory=lambda: cache(load_dataset))
    memory: Memory = field(default_factory=Memory)
    rows: list[SweepRow] = field(default_factory=list)
    reports: dict[str, Report] = field(default_factory=dict)
    """Name of the member -> its report."""

    def compile(self, member: Member) -> SweepRow:
        """One row; an input that is refused is a row too."""
        started = time.monotonic()
        named = {"name": member.name, "model": str(member.model), "budget": member.budget.stem,
                 "target": member.target, "seed": member.seed}  # fmt: skip
        try:
            report, done = self._report(member)
        except (UsageError, StorageFailed):
            raise
        except BudgetcError as error:
            self.rows.append(SweepRow.model_validate(
                {**named, "done": "failed", "verdict": type(error).__name__, "exit_code": error.exit_code,
                 "error": str(error), "seconds": round(time.monotonic() - started, 1)}
            ))  # fmt: skip
            self.say(f"{member.name}: {error}")
            return self.rows[-1]
        self.reports[member.name] = report
        trainings = _trainings(run_path(self.folder / member.name)) if done == "compiled" else {}
        anew = sum(trainings.values())
        again = len(trainings) - anew if done == "compiled" else report.search.trainings
        figures = {**figures_of(report), "trainings_anew": anew, "trainings_reused": again}
        self.rows.append(
            SweepRow.model_validate({**named, **figures, "done": done, "seconds": round(time.monotonic() - started, 1)})
        )
        return self.rows[-1]

    def _report(self, member: Member) -> tuple[Report, Done]:
        inputs = load_inputs(member.model, member.budget, self.data, read=self.read)
        out = self.folder / member.name
        known = earlier_report(out, inputs)
        if known is not None:
            return known, "kept"
        report = compile_inputs(
            inputs, out=out, store=self.store, memory=self.memory, say=self.say, progress=self.progress
        )
        return report, "compiled"


def earlier_report(out: Path, inputs: Inputs) -> Report | None:
    """The report of an earlier compilation of the same inputs by the same budgetc and packages on the same machine."""
    if not (out / REPORT_JSON).exists() or not verify_artifact(out).holds:
        return None
    report, here = read_report(out), environment()
    same = report.complete and report.inputs == dict(inputs.digests)
    matters = {"budgetc", "packages", "cpu", "cpu_features"}
    same &= report.environment.model_dump(include=matters) == here.model_dump(include=matters)
    return report if same else None


def _trainings(run: Path) -> dict[str, bool]:
    """Training of the latest attempt -> whether it was carried out anew."""
    trainings: dict[str, bool] = {}
    for event in parse_log((run / LOG).read_bytes()).events:
        if event.event == "inputs":
            trainings = {}
        if event.event == "training":
            key = str(event.data["key"])
            trainings[key] = trainings.get(key, False) or event.data["anew"] is True
    return trainings

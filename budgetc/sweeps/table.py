"""The table and the picture of a sweep."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from budgetc.core.frozen import Frozen
from budgetc.core.measurement import Measurement
from budgetc.core.verdict import EXIT_CODES
from budgetc.report.evidence import auroc_kind
from budgetc.report.fronts import Point, Series, draw_fronts
from budgetc.report.schema import CandidateRecord, Report
from budgetc.store.durable import write_durably

TABLE_CSV, TABLE_JSON, PICTURE = "sweep.csv", "sweep.json", "pareto.svg"
_WORST_FIRST = (1, 7, 6, 4, 3, 5, 0)
"""Exit codes: what the user has to look at first."""
_LATENCIES = ("latency_p50", "latency_p95", "latency_p99")
Done = Literal["compiled", "kept", "failed"]


class SweepRow(Frozen):
    """What became of one compilation."""

    name: str
    """Its directory in that of the sweep."""
    model: str
    budget: str
    target: str
    seed: int
    done: Done
    """`kept`: an earlier sweep had compiled the same inputs, and its artifact is whole."""
    verdict: str
    exit_code: int
    artifact_size: int | None = None
    """Bytes."""
    latency: Measurement | None = None
    """Of the percentile that the budget limits, else of the highest that was found."""
    auroc: Measurement | None = None
    """On the confirmation split, of the kind that the budget limits."""
    choice: str | None = None
    """Plan of the chosen candidate."""
    trainings_anew: int = 0
    """Trainings that this compilation carried out."""
    trainings_reused: int = 0
    """Trainings that it took from the store."""
    confirmation_uses: int = 0
    seconds: float = 0.0
    error: str | None = None


class SweepTable(Frozen):
    """All compilations of a sweep: `sweep.json`."""

    schema_version: Literal[1] = 1
    rows: tuple[SweepRow, ...]
    store: str
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 where everything is compliant, else the worst of the documented codes."""
        codes = {row.exit_code for row in self.rows}
        return next((code for code in _WORST_FIRST if code in codes), 1)


def figures_of(report: Report) -> dict[str, object]:
    """The part of a row that stands in the report."""
    if report.artifact is None or report.verdict is None:
        return {"verdict": "nothing was built", "exit_code": 3}
    found = {one.metric: one for one in report.artifact.measurements}
    limited = [name for name in _LATENCIES if getattr(report.budget.limits, name) is not None]
    plans = {record.id: record.plan for record in report.candidates}
    over = {"mean": "auroc_mean", "worst-category": "auroc_worst", "pooled": "auroc_pooled"}[auroc_kind(report.budget)]
    return {
        "verdict": report.verdict.overall,
        "exit_code": EXIT_CODES[report.verdict.overall],
        "artifact_size": sum(report.artifact.files.values()),
        "latency": next((found[name] for name in [*limited, *reversed(_LATENCIES)] if name in found), None),
        "auroc": getattr(report.artifact.quality, over),
        "choice": None if report.chosen is None else plans[report.chosen].title(),
        "confirmation_uses": report.confirmation_uses,
    }


def write_table(table: SweepTable, reports: Mapping[str, Report], folder: Path) -> None:
    """Table and picture as far as the sweep has come."""
    write_durably(folder / TABLE_JSON, (table.model_dump_json(indent=2) + "\n").encode())
    write_durably(folder / TABLE_CSV, _csv(table).encode())
    title = f"{len(reports)} compilations: the Pareto front of every target"
    write_durably(folder / PICTURE, draw_fronts(_series(table, reports), title=title).encode())


def _csv(table: SweepTable) -> str:
    text = io.StringIO()
    columns = [name for name in SweepRow.model_fields if name not in ("latency", "auroc")]
    split = ["latency_metric", "latency_ms", "latency_kind", "auroc", "auroc_lower", "auroc_upper"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*columns, *split])
    for row in table.rows:
        latency, auroc = row.latency, row.auroc
        cost = (latency.metric, latency.value, latency.kind) if latency else (None,) * 3
        quality = (auroc.value, auroc.lower, auroc.upper) if auroc else (None,) * 3
        writer.writerow([*(getattr(row, name) for name in columns), *cost, *quality])
    return text.getvalue()


def _series(table: SweepTable, reports: Mapping[str, Report]) -> list[Series]:
    """One a target, or a model and target where there are several models."""
    several = len({row.model for row in table.rows}) > 1
    points: dict[str, list[Point]] = {}
    chosen: dict[str, list[Point]] = {}
    for row in table.rows:
        name = f"{Path(row.model).stem}, {row.target}" if several else row.target
        points.setdefault(name, [])
        chosen.setdefault(name, [])
        report = reports.get(row.name)
        for record in () if report is None else report.candidates:
            if (point := _point(record)) is not None:
                points[name].append(point)
                chosen[name] += [point] if report and record.id == report.chosen else []
    return [Series(name, tuple(points[name]), tuple(chosen[name])) for name in points]


def _point(record: CandidateRecord) -> Point | None:
    """Size and AUROC on selection after the longest training; None where it was not scored."""
    if not record.auroc or record.artifact_size is None or record.fate == "failed":
        return None
    return float(record.artifact_size), record.auroc.get("full", list(record.auroc.values())[-1])

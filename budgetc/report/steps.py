"""What each step of the chosen plan did: to bytes, latency, memory, AUROC and loss, and to the features inside."""

from collections.abc import Callable, Iterator, Sequence

from budgetc.core.verdict import auroc_floor
from budgetc.report.charts.waterfall import Row, Steps, draw_steps
from budgetc.report.figures import LATENCIES, Figure
from budgetc.report.schema import Report, Stage
from budgetc.report.tables import Table, loss_words
from budgetc.report.verdict_table import plan_of
from budgetc.report.words import ABSENT, quantity

_TIME, _MEMORY = "Latency, median", "Memory"
_LATENCY_NOISE, _MEMORY_NOISE = 0.15, 0.03
"""By how much a short measurement on a busy machine may differ from the next one of the same file."""
Value = Callable[[Stage], float | None]


def step_figures(report: Report) -> list[Figure]:
    """A waterfall a quantity; empty without stages."""
    stages = report.exhibits.stages if report.exhibits is not None else ()
    if not stages:
        return []
    kind = _kind(stages)
    return [
        Figure(steps.title, svg, kind if steps.title in (_TIME, _MEMORY) else "")
        for steps in [*_costs(report, stages), _auroc(report, stages), _losses(report)]
        if (svg := draw_steps(steps))
    ]


def feature_figures(report: Report) -> list[Figure]:
    """How the features inside changed; empty for a family that has none to show."""
    stages = report.exhibits.stages if report.exhibits is not None else ()
    found = [
        (Steps("Similarity to the baseline", _rows(stages, lambda one: one.similarity, "{:.3f}"), "bars", falls=False),
         "Linear CKA of features of calibration normals: 1 is the same up to rotation and scale."),
        (Steps("Active units", _rows(stages, lambda one: one.active, "{:.0%}"), "bars", falls=False),
         "Latents that carry information." if "vae" in report.detector else "Channels that vary at all."),
        (Steps(_DISTANCES.get(report.detector, ("Distance", ""))[0],
               _rows(stages, lambda one: one.divergence, "{:.3g}"), "bars"),
         _DISTANCES.get(report.detector, ("", ""))[1]),
    ]  # fmt: skip
    return [Figure(steps.title, svg, about) for steps, about in found if (svg := draw_steps(steps))]


_DISTANCES = {
    "efficientad": ("Teacher-student distance", "Mean square of features on normals; anomalies lie farther."),
    "flow_vae": ("KL from the baseline", "Nats a frame between the baseline's posteriors and its own, on normals."),
    "vae": ("KL from the baseline", "Nats a picture between the baseline's posterior and its own, on normals."),
    "reverse_distillation": ("Teacher-student distance", "What the score sees of normals; anomalies lie farther."),
    "stfpm": ("Teacher-student distance", "What training lowers on normals; anomalies stand out where it is larger."),
    "uninformed_students": (
        "Students' error",
        "Mean squared, of whitened descriptors of normals; anomalies lie farther.",
    ),
}


def steps_table(report: Report) -> Table:
    """The same in numbers."""
    stages = report.exhibits.stages if report.exhibits is not None else ()
    rows = [
        (one.step, ABSENT if one.artifact_size is None else quantity(one.artifact_size, "B"),
         _cost_words(one, _latency(stages)), _cost_words(one, _memory(report)), _number(one.auroc, "{:.4f}"),
         loss_words(one.training_loss), _number(one.similarity, "{:.3f}"), _number(one.active, "{:.0%}"),
         _number(one.divergence, "{:.3g}"), one.note)
        for one in stages
    ]  # fmt: skip
    header = ["After", "Size", _latency(stages), _memory(report), "AUROC (selection)", "Training loss", "CKA",
              "Active", "Distance", "Note"]  # fmt: skip
    return Table(header, rows)


def _costs(report: Report, stages: Sequence[Stage]) -> Iterator[Steps]:
    limits, latency, memory = report.budget.limits, _latency(stages), _memory(report)
    sizes = [
        Row(one.step, one.artifact_size, ABSENT if one.artifact_size is None else quantity(one.artifact_size, "B"))
        for one in stages
    ]
    yield Steps("Bytes", _with_changes(sizes), bound=limits.artifact_size)
    for title, metric, noise in ((_TIME, latency, _LATENCY_NOISE), (_MEMORY, memory, _MEMORY_NOISE)):
        rows = [Row(one.step, _cost(one, metric), _cost_words(one, metric)) for one in stages]
        telling = 0.01 if _predicted(stages) else noise
        yield Steps(title, _with_changes(rows), bound=getattr(limits, metric, None), telling=telling)


def _auroc(report: Report, stages: Sequence[Stage]) -> Steps:
    limit = report.budget.limits.auroc
    floor = None if limit is None else auroc_floor(limit, stages[0].auroc) or None
    return Steps("AUROC", _rows(stages, lambda one: one.auroc, "{:.4f}"), "dots", bound=floor, falls=False, telling=0.0)


def _losses(report: Report) -> Steps:
    candidate = plan_of(report)
    trained = [one for one in candidate.trail if one.training_loss is not None] if candidate is not None else []
    rows = []
    for one in trained:
        held = "" if one.held_out_loss is None else f" (held out {one.held_out_loss:.3g})"
        rows.append(Row(one.step, one.training_loss, f"{one.training_loss:.3g}{held}"))
    return Steps("Training loss", rows, "bars")


def _rows(stages: Sequence[Stage], value: Value, pattern: str) -> list[Row]:
    return [Row(one.step, value(one), _number(value(one), pattern)) for one in stages]


def _with_changes(rows: Sequence[Row]) -> list[Row]:
    """Each value with what the step changed."""
    changed, before = [], None
    for row in rows:
        words = row.shown
        if before and row.value is not None:
            change = round(100 * (row.value / before - 1))
            words += f" ({change:+d} %)" if change else " (same)"
        changed.append(Row(row.name, row.value, words))
        before = row.value if row.value is not None else before
    return changed


def _latency(stages: Sequence[Stage]) -> str:
    known = {one.metric for stage in stages for one in stage.costs}
    return next((name for name in LATENCIES if name in known), LATENCIES[0])


def _memory(report: Report) -> str:
    """What the budget limits, or else the part that the model causes."""
    return "peak_memory" if report.budget.limits.peak_memory is not None else "model_memory"


def _cost(stage: Stage, metric: str) -> float | None:
    return next((one.value for one in stage.costs if one.metric == metric), None)


def _cost_words(stage: Stage, metric: str) -> str:
    return next((quantity(one.value, one.unit) for one in stage.costs if one.metric == metric), ABSENT)


def _number(value: float | None, pattern: str) -> str:
    return ABSENT if value is None else pattern.format(value)


def _kind(stages: Sequence[Stage]) -> str:
    if _predicted(stages):
        return "Predicted, not measured."
    return "Measured shortly, as in screening; gray where the change may be noise."


def _predicted(stages: Sequence[Stage]) -> bool:
    return all(one.kind == "predicted" for stage in stages for one in stage.costs)

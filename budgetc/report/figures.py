"""The charts of a report, each with what it shows in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from budgetc.core.measurement import Measurement
from budgetc.core.verdict import LimitVerdict, auroc_floor
from budgetc.report.charts.bullet import Bullet, draw_bullet
from budgetc.report.charts.curves import Curve, draw_histogram, draw_roc
from budgetc.report.charts.pareto import Bounds, Dot, draw_pareto
from budgetc.report.charts.shares import Found, draw_found, draw_mix
from budgetc.report.evidence import auroc_kind, auroc_over, judge_report, judge_subject
from budgetc.report.schema import CandidateRecord, Quality, Report, ScoredPicture
from budgetc.report.scores import Of, distribution, roc
from budgetc.report.verdict_table import outcome_words, support_words
from budgetc.report.words import ABSENT, apart, backing, limit_words, percent

_FLOORS = frozenset({"auroc", "aupro"})
LATENCIES = ("latency_p50", "latency_p95", "latency_p99")
"""The first that is known is shown: of a short measurement the median is the steadiest."""
_MOST_CATEGORIES = 24


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, its heading, and what to look for."""

    title: str
    svg: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class LimitCard:
    """One limit at a glance."""

    name: str
    value: str
    bound: str
    outcome: str
    kind: str
    """`pass`, `fail`, `open`."""
    support: str
    svg: str


def limit_cards(report: Report) -> list[LimitCard]:
    """A card a limit of the verdict; empty where nothing was judged."""
    verdict = judge_report(report) if report.verdict is None else report.verdict
    if verdict is None:
        return []
    before = judge_subject(report.budget, report.baseline, baseline=report.baseline) if report.baseline else None
    beside = {limit.limit: limit for limit in before.limits} if before else {}
    return [_card(limit, beside.get(limit.limit), report) for limit in verdict.limits]


def _card(limit: LimitVerdict, baseline: LimitVerdict | None, report: Report) -> LimitCard:
    found, floor = limit.measurement, limit.limit in _FLOORS
    value, bound = ABSENT, limit_words(limit.bound, limit.unit)
    if found is not None:
        value, bound = apart(found.value, limit.bound, limit.unit)
    kind = limit.outcome if limit.outcome in ("pass", "fail") else "open"
    ends = None if found is None or found.lower is None or found.upper is None else (found.lower, found.upper)
    then = None if baseline is None or baseline.measurement is None else baseline.measurement.value
    bullet = Bullet(
        value=None if found is None else found.value, bound=limit.bound, floor=floor,
        baseline=then, interval=ends, outcome=limit.outcome,
    )  # fmt: skip
    words = f"{value}, limit {bound}, {limit.outcome}"
    support = limit.reason if found is None else backing(found, with_note=False)
    return LimitCard(
        name=limit.limit, value=value, bound=f"{'at least' if floor else 'at most'} {bound}",
        outcome=outcome_words(limit), kind=kind, svg=draw_bullet(bullet, f"{limit.limit}: {words}"),
        support=support_words(report, limit.limit, support),
    )  # fmt: skip


def pareto_figure(report: Report) -> Figure | None:
    """All candidates; None where nothing was trained."""
    dots = [_dot(one, report.chosen) for one in report.candidates if one.artifact_size is not None]
    first = report.exhibits.stages[0] if report.exhibits is not None and report.exhibits.stages else None
    if first is not None and first.artifact_size is not None:
        # The search may have dropped the unchanged detector by its size, and never scored it.
        dots = [dot for dot in dots if not dot.baseline]
        dots.append(Dot("baseline", first.artifact_size, first.auroc, median_latency(first.costs), baseline=True))
    limit = report.budget.limits.auroc
    reference = next((dot.auroc for dot in dots if dot.baseline), None)
    floor = None if limit is None else auroc_floor(limit, reference)
    svg = draw_pareto(dots, Bounds(report.budget.limits.artifact_size, floor or None), latency="latency")
    if not svg:
        return None
    about = (
        "Every candidate that was trained, by bytes and AUROC on the selection split, colored by its median latency "
        "as in screening; larger dots on the line are those that no other beats. Ticks on the axis are sizes of "
        "candidates that were priced and not trained. Dashed: the budget."
    )
    return Figure("Size against AUROC", svg, about)


def median_latency(found: Sequence[Measurement]) -> float | None:
    """In ms; another percentile where there is no median."""
    times = {one.metric: one.value for one in found}
    return next((times[name] for name in LATENCIES if name in times), None)


def _dot(one: CandidateRecord, chosen: str | None) -> Dot:
    return Dot(
        name=f"{one.plan.title()} [{one.id}]", size=float(one.artifact_size or 0),
        auroc=list(one.auroc.values())[-1] if one.auroc else None,
        latency_ms=median_latency(one.screened),
        chosen=one.id == chosen, baseline=not one.plan.steps,
    )  # fmt: skip


def score_figures(report: Report) -> list[Figure]:
    """ROC of baseline and artifact, and both distributions; empty without scores."""
    pictures, thresholds = _scored(report)
    if not pictures:
        return []
    figures = [Figure("ROC", draw_roc(curves, title="ROC"), _ROC)] if (curves := _curves(report, pictures)) else []
    for name, threshold in thresholds.items():
        svg = draw_histogram(distribution(pictures, name, threshold), title=f"Scores of the {name}")
        figures.append(Figure(f"Scores of the {name}", svg, _HISTOGRAM))
    return figures


_ROC = "All pictures of the confirmation split pooled; the dots are the thresholds, fitted on calibration normals."
_HISTOGRAM = "Normals filled, anomalies outlined, each as a share of its kind. Above the line is an alarm."


def category_rocs(report: Report) -> list[Figure]:
    """The same by product; empty for one product."""
    pictures, _ = _scored(report)
    names = sorted({one.category for one in pictures})
    if len(names) < 2:
        return []
    each = [(name, [one for one in pictures if one.category == name]) for name in names[:_MOST_CATEGORIES]]
    return [Figure(name, draw_roc(found, title=name)) for name, own in each if (found := _curves(report, own))]


def _scored(report: Report) -> tuple[Sequence[ScoredPicture], dict[Of, float]]:
    if report.exhibits is None or report.baseline is None or report.artifact is None:
        return (), {}
    thresholds: dict[Of, float] = {
        "baseline": report.baseline.quality.threshold,
        "artifact": report.artifact.quality.threshold,
    }
    return report.exhibits.pictures, thresholds


def _curves(report: Report, pictures: Sequence[ScoredPicture]) -> list[Curve]:
    _, thresholds = _scored(report)
    found = (roc(pictures, name, name=name, threshold=threshold) for name, threshold in thresholds.items())
    return [curve for curve in found if curve is not None]


def recall_figures(report: Report) -> list[Figure]:
    """Recall by defect type and by area of the defect."""
    if report.artifact is None:
        return []
    rows = _by_defect(report.artifact.quality, report.baseline.quality if report.baseline else None)
    figures = [Figure("Recall by defect type", draw_found(rows, title="Recall by defect type"), _RECALL)]
    areas = report.exhibits.areas if report.exhibits is not None else ()
    sized = [
        Found(f"{_area(one.smallest)} to {_area(one.largest)}", one.of, one.found, one.found_by_baseline)
        for one in areas
    ]
    figures.append(Figure("Recall by defect area", draw_found(sized, title="Recall by defect area"), _AREA))
    return [figure for figure in figures if figure.svg]


_RECALL = "Anomalies above the threshold; the artifact's bar over the baseline's."
_AREA = "Quarters of the anomalies that have a mask, by the share of the picture that it covers."


def _by_defect(quality: Quality, before: Quality | None) -> list[Found]:
    then = {one.defect: one.found for one in before.recall} if before else {}
    rows = [Found(one.defect, one.of, one.found, then.get(one.defect)) for one in quality.recall if one.of]
    return sorted(rows, key=lambda row: row.found / row.of)


def _area(share: float) -> str:
    return percent(share) if share >= 0.0005 else f"{100 * share:.2g} %"


def mix_figures(report: Report) -> list[Figure]:
    """What the artifact's time goes to, by number format and by kind of operator."""
    operators = report.exhibits.operators if report.exhibits is not None else ()
    if report.exhibits is None or not operators:
        return []
    figures = []
    for title, key in (("Time by number format", "compute"), ("Time by kind of operator", "kind")):
        shares: dict[str, float] = {}
        for one in operators:
            shares[getattr(one, key)] = shares.get(getattr(one, key), 0.0) + one.share
        figures.append(Figure(title, draw_mix(_largest(shares), title=title)))
    return figures


def _largest(shares: dict[str, float], most: int = 5) -> list[tuple[str, float]]:
    order = sorted(shares.items(), key=lambda pair: -pair[1])
    total = sum(shares.values()) or 1.0
    kept = [(name, share / total) for name, share in order[:most]]
    rest = sum(share for _, share in order[most:]) / total
    return [*kept, ("other", rest)] if rest else kept


def seed_spread(report: Report) -> Iterator[str]:
    """The baseline's AUROC beside the seeds, in words."""
    if report.seeds and report.baseline is not None:
        values = [one.confirmation_auroc for one in report.seeds]
        baseline = auroc_over(report.baseline.quality, auroc_kind(report.budget)).value
        yield f"From {min(values):.3f} to {max(values):.3f} on confirmation; the baseline has {baseline:.3f}."

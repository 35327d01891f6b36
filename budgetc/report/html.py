"""`report.html`: one page that needs nothing else, neither a network nor a script."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from budgetc.core.measurement import Measurement
from budgetc.report.boards import board_words
from budgetc.report.controls import ABOUT_CONTROLS, controls_table
from budgetc.report.evidence import auroc_kind
from budgetc.report.figures import (
    Figure,
    category_rocs,
    limit_cards,
    mix_figures,
    pareto_figure,
    recall_figures,
    score_figures,
    seed_spread,
)
from budgetc.report.glossary import SEEDS, STEPS, THROUGH_THE_FILE, meanings, needs, run_lines
from budgetc.report.pictures import Shown
from budgetc.report.refusal import refusal
from budgetc.report.schema import Report, Subject
from budgetc.report.scores import agreement
from budgetc.report.sessions import sessions_table, sessions_words
from budgetc.report.steps import feature_figures, step_figures, steps_table
from budgetc.report.tables import (
    Table,
    alarms_table,
    aurocs_table,
    candidates_table,
    categories_table,
    defects_table,
    digests_table,
    files_table,
    lost_most,
    measurements_table,
    notes,
    own_words,
    pixels_table,
    search_rows,
    seeds_table,
    splits_table,
    splits_words,
    trail_table,
)
from budgetc.report.verdict_table import HEADER, gains, limit_rows, overall_words, plan_of
from budgetc.report.words import ABSENT, clean, percent, quantity

_SHOWN_CANDIDATES = 12
_SHOWN_OPERATORS = 12
_SAME_AUROC = 0.0005
"""Less is 0.000 in the three digits of the page."""
_KINDS = {
    "missed": "Missed: anomalies below the threshold, the lowest score first",
    "false alarm": "False alarms: normals above the threshold, the highest score first",
    "worst": "Worst of those found: anomalies barely above the threshold",
    "best": "Best: anomalies found most surely",
    "nearest normal": "Normals that came nearest to an alarm",
}


def render_html(report: Report, pictures: Sequence[Shown] = ()) -> str:
    """The whole report as a page; ends with a line end.

    Args:
        pictures: of the confirmation split, as the artifact and the baseline see them.
    """
    context = {**_verdict(report), **_steps(report), **_quality(report), **_tables(report)}
    gallery = {title: shown for kind, title in _KINDS.items() if (shown := [p for p in pictures if p.kind == kind])}
    return _templates().get_template("report.html.j2").render(report=report, gallery=gallery, **context) + "\n"


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("budgetc.report", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["clean"] = clean
    environment.filters["chart"] = _chart
    return environment


def _chart(figure: Figure) -> Markup:
    """Charts escape their own words."""
    return Markup(figure.svg)


def _verdict(report: Report) -> Mapping[str, Any]:
    candidate, complies = plan_of(report), _complies(report)
    threshold = report.artifact.quality if report.artifact is not None else None
    return {
        "overall": overall_words(report),
        "mood": "good" if complies else "bad" if report.verdict is None or _breaks(report) else "open",
        "complies": complies,
        "candidate": candidate,
        "explained": {} if candidate is None else {one.step: STEPS[one.step] for one in candidate.plan.steps},
        "tiles": _tiles(report),
        "cards": [(one, Markup(one.svg)) for one in limit_cards(report)],
        "limits": Table([name.capitalize() for name in HEADER], limit_rows(report)),
        "meanings": meanings([row[0] for row in limit_rows(report)]),
        "refusal": None if complies else refusal(report),
        "run_lines": run_lines(install=report.needs_install),
        "needs": needs(report.detector).replace("`", ""),
        "own_words": "" if threshold is None else own_words(threshold),
        "threshold": None if threshold is None else f"{threshold.threshold:.6g}",
        "false_alarms": None if threshold is None else percent(threshold.false_positive_rate.value),
    }


def _complies(report: Report) -> bool:
    return report.complete and report.verdict is not None and report.verdict.overall.startswith("compliant")


def _breaks(report: Report) -> bool:
    return report.verdict is not None and report.verdict.overall == "not compliant"


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """(what, how much, how it was found): gains against the baseline."""
    found = report.comparison
    if found is None:
        return []
    change = -found.auroc_loss.value
    large = [
        _times(found.size_ratio, "smaller", "larger"),
        _times(found.latency_p50_ratio, "faster", "slower"),
        _times(found.model_memory_ratio, "less", "more"),
        "the same" if abs(change) < _SAME_AUROC else f"{'−' if change < 0 else '+'}{abs(change):.3f}",
    ]
    return [(name, much, words) for (name, words), much in zip(gains(report, with_notes=False), large, strict=False)]


def _times(ratio: Measurement, less: str, more: str) -> str:
    """How many times, with two digits."""
    factor = max(ratio.value, 1 / ratio.value) if ratio.value > 0 else 1.0
    words = f"{factor:.0f}" if factor >= 10 else f"{factor:.1f}"
    return "the same" if words == "1.0" else f"{words} × {less if ratio.value < 1 else more}"


def _steps(report: Report) -> Mapping[str, Any]:
    candidate = plan_of(report)
    return {
        "step_figures": step_figures(report),
        "feature_figures": feature_figures(report),
        "steps": steps_table(report),
        "trail": None if candidate is None or not candidate.trail else trail_table(candidate),
        "pareto": pareto_figure(report),
        "missing": report.exhibits.missing if report.exhibits is not None else (),
    }


def _quality(report: Report) -> Mapping[str, Any]:
    if report.artifact is None:
        return {"quality": None}
    quality, before = report.artifact.quality, report.baseline.quality if report.baseline is not None else None
    losses = report.comparison.category_losses if report.comparison is not None else ()
    return {
        "quality": quality,
        "through": THROUGH_THE_FILE,
        "over": auroc_kind(report.budget),
        "score_figures": score_figures(report),
        "category_rocs": category_rocs(report),
        "recall_figures": recall_figures(report),
        "agreements": _agreements(report),
        "aurocs": aurocs_table(quality, before),
        "categories": categories_table(quality, before, losses),
        "lost_most": lost_most(losses),
        "alarms": alarms_table(quality),
        "pixels": pixels_table(quality, before),
        "defects": defects_table(quality, before),
        "controls": controls_table(report.controls),
        "about_controls": ABOUT_CONTROLS,
        "mixes": mix_figures(report),
        "operators": _operators(report),
    }


def _agreements(report: Report) -> Table | None:
    """Where compression changed what is said of a picture."""
    pictures = report.exhibits.pictures if report.exhibits is not None else ()
    if not pictures or report.baseline is None or report.artifact is None:
        return None
    thresholds = report.baseline.quality.threshold, report.artifact.quality.threshold
    rows = []
    for name, anomalous in (("anomalies", True), ("normals", False)):
        one = agreement(pictures, thresholds, anomalous=anomalous)
        rows.append((name, str(one.both), str(one.lost), str(one.gained), str(one.neither)))
    return Table(["Pictures", "Alarm of both", "Of the baseline alone", "Of the artifact alone", "No alarm"], rows)


def _operators(report: Report) -> Table:
    """The slowest first."""
    operators = report.exhibits.operators if report.exhibits is not None else ()
    bounded = any(one.bound for one in operators)
    rows = [
        (one.name, str(place), one.kind, one.compute, f"{one.ms:.3g} ms", percent(one.share),
         *([one.bound, quantity(one.bytes or 0, "B")] if bounded else []))
        for place, one in sorted(enumerate(operators, 1), key=lambda pair: -pair[1].ms)
    ]  # fmt: skip
    return Table(
        ["Operator", "Place", "Kind", "Runs in", "Time", "Share", *(["Limited by", "Moves"] if bounded else [])], rows
    )


def _tables(report: Report) -> Mapping[str, Any]:
    environment = report.environment
    subjects = [("Artifact", report.artifact), ("Baseline", report.baseline)]
    return {
        "subjects": [_subject(name, one) for name, one in subjects if one is not None],
        "sessions": sessions_table(report.sessions),
        "about_sessions": sessions_words(report),
        "seeds": seeds_table(report.seeds) if report.seeds else None,
        "about_seeds": " ".join([SEEDS, *seed_spread(report)]),
        "splits": splits_table(report),
        "splits_words": splits_words(report),
        "search": Table(["", ""], search_rows(report)),
        "candidates": candidates_table(report),
        "shown_candidates": _SHOWN_CANDIDATES,
        "shown_operators": _SHOWN_OPERATORS,
        "digests": digests_table(report),
        "packages": ", ".join(f"{name} {version}" for name, version in environment.packages.items()),
        "board": board_words(report.board),
        "absent": ABSENT,
    }


def _subject(name: str, subject: Subject) -> tuple[str, str, Table, Table, Mapping[str, Sequence[str]]]:
    total = quantity(sum(subject.files.values()), "B")
    words = f"{name}: {subject.parameters:,} parameters, {total}"
    return name, words, files_table(subject), measurements_table(subject), notes(subject)

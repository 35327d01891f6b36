"""`report.md`: for the engineer at the machine first, then for those who check and repeat."""

from collections.abc import Iterable

from budgetc.core.measurement import Measurement
from budgetc.report.boards import board_words
from budgetc.report.controls import controls_markdown
from budgetc.report.glossary import SEEDS, STEPS, THROUGH_THE_FILE, meanings, needs, run_lines
from budgetc.report.refusal import refusal
from budgetc.report.schema import Report, Subject
from budgetc.report.sessions import sessions_markdown
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
from budgetc.report.verdict_table import HEADER, gains, limit_rows, overall_words, plan_of, verdict_table
from budgetc.report.words import cell as text
from budgetc.report.words import code, markdown_table, percent

__all__ = ["render_markdown", "verdict_table"]


def render_markdown(report: Report) -> str:
    """The whole report as Markdown; ends with a line end."""
    sections = (
        _head(report), _next(report), _gained(report), _quality(report), _details(report),
        _search(report), _candidates(report), _provenance(report),
    )  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(report: Report) -> str:
    title = f"# {text(report.budget_name)}: {overall_words(report)}"
    about = f"Detector {code(report.detector)} for target {code(report.target.name)}, {text(report.created)}."
    table = markdown_table([name.capitalize() for name in HEADER], limit_rows(report))
    about_terms = meanings([row[0] for row in limit_rows(report)])
    terms = "\n".join(f"- {name if name[0].isupper() else code(name)}: {what}" for name, what in about_terms.items())
    warnings = "\n".join(f"- **Warning:** {text(warning)}" for warning in report.warnings)
    return "\n\n".join(part for part in (title, about, table, warnings, terms) if part)


def _next(report: Report) -> str:
    """What to do now."""
    if report.verdict is None or not report.verdict.overall.startswith("compliant"):
        return f"## What to do\n\n```text\n{refusal(report).replace('```', '')}\n```"
    quality = report.artifact.quality if report.artifact is not None else None
    threshold = "" if quality is None else (
        f"An image is anomalous when its score is above **{quality.threshold:.6g}**. On images that neither training "
        f"nor search saw, {percent(quality.false_positive_rate.value)} of the normal ones were "
        f"({_counted(quality.false_positive_rate)}).{own_words(quality)}"
    )  # fmt: skip
    return "\n\n".join(["## How to run it", _run_lines(report), threshold])


def _run_lines(report: Report) -> str:
    commands = run_lines(install=report.needs_install)
    return "\n".join(
        ["In this directory:", "", "```sh", *commands, "```", "", f"`device/score.py` {needs(report.detector)}"]
    )


def _gained(report: Report) -> str:
    candidate = plan_of(report)
    if candidate is None:
        return f"## Choice\n\n{text(report.why)}" if report.why else ""
    lines = [f"{code(candidate.plan.title())} (candidate {code(candidate.id)}). {text(report.why)}"]
    used = dict.fromkeys(step.step for step in candidate.plan.steps)
    lines.append("\n".join(f"- *{step}*: {STEPS[step]}" for step in used))
    rows = gains(report)
    if rows:
        lines.append(markdown_table(["Against the baseline", ""], rows))
    if candidate.trail:
        lines.append(_written(trail_table(candidate)))
    if report.seeds:
        lines += [SEEDS, _written(seeds_table(report.seeds))]
    return "\n\n".join(["## Choice", *filter(None, lines)])


def _quality(report: Report) -> str:
    if report.artifact is None:
        return ""
    quality = report.artifact.quality
    before = report.baseline.quality if report.baseline is not None else None
    losses = report.comparison.category_losses if report.comparison is not None else ()
    return "\n\n".join([
        f"## Quality on the {text(quality.split)} split",
        THROUGH_THE_FILE,
        _written(aurocs_table(quality, before)),
        *controls_markdown(report.controls),
        *_if_any(categories_table(quality, before, losses)),
        *filter(None, [text(lost_most(losses))]),
        *_if_any(alarms_table(quality)),
        *_if_any(pixels_table(quality, before)),
        *_if_any(defects_table(quality, before)),
        *_if_any(splits_table(report)),
        splits_words(report),
    ])  # fmt: skip


def _details(report: Report) -> str:
    """Every number of the full protocol."""
    subjects = [("Artifact", report.artifact), ("Baseline", report.baseline)]
    parts = [part for name, subject in subjects if subject is not None for part in _subject(name, subject)]
    if report.sessions:
        parts += ["### Session options", *sessions_markdown(report)]
    return "\n\n".join(["## Measurements", *parts]) if parts else ""


def _subject(name: str, subject: Subject) -> Iterable[str]:
    yield f"### {name}"
    yield _written(files_table(subject))
    yield _written(measurements_table(subject))
    yield from _notes(subject)
    yield f"{subject.parameters:,} parameters."


def _notes(subject: Subject) -> Iterable[str]:
    if about := notes(subject):
        yield "\n".join(f"- {', '.join(map(text, names))}: {text(note)}" for note, names in about.items())


def _search(report: Report) -> str:
    return "## Search\n\n" + markdown_table(["", ""], search_rows(report))


def _candidates(report: Report) -> str:
    table = candidates_table(report)
    return f"## All {len(table.rows)} candidates\n\n{_written(table)}" if table.rows else ""


def _provenance(report: Report) -> str:
    environment = report.environment
    packages = ", ".join(f"{text(name)} {text(version)}" for name, version in environment.packages.items())
    return "\n\n".join(filter(None, [
        "## Provenance",
        f"Repeat it:\n\n```sh\n{report.command.replace('```', '')}\n```",
        f"budgetc {text(environment.budgetc)}, Python {text(environment.python)}, {text(environment.platform)}, "
        f"{text(environment.cpu)} ({text(', '.join(environment.cpu_features))}); {packages}.",
        text(board_words(report.board)),
        _written(digests_table(report)),
    ]))  # fmt: skip


def _if_any(table: Table) -> list[str]:
    return [_written(table)] if table.rows else []


def _written(table: Table) -> str:
    return markdown_table([text(name) for name in table.header], table.rows)


def _counted(rate: Measurement) -> str:
    return f"{round(rate.value * rate.n)} of {rate.n}"

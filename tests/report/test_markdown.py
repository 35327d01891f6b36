"""`report.md`: the engineer first, then those who check."""

import re

from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.schema import Report, SeedRecord
from tests.report.example import PLANS, make_report, with_limits


def headings(markdown: str) -> list[str]:
    return re.findall(r"^##? .*$", markdown, flags=re.MULTILINE)


def test_the_order_of_the_sections(report: Report) -> None:
    """Verdict, what to do, choice, quality, then the rest."""
    assert headings(render_markdown(report)) == [
        "# host-cpu: compliant", "## How to run it", "## Choice", "## Quality on the confirmation split",
        "## Measurements", "## Search", "## All 5 candidates", "## Provenance",
    ]  # fmt: skip


def test_an_engineer_finds_threshold_and_false_alarms(report: Report) -> None:
    """In words, with the counts behind them."""
    markdown = render_markdown(report)
    assert "anomalous when its score is above **0.0314159**" in markdown
    assert "5.8 % of the normal ones were (3 of 52)" in markdown


def test_a_detector_of_motion_needs_opencv_and_frames(report: Report) -> None:
    """The board's script fails without it, and single images have no score; other families need neither."""
    assert "OpenCV" not in render_markdown(report) and "OpenCV" not in render_html(report)
    moving = make_report(detector="flow_vae")
    for rendered in (render_markdown(moving), render_html(moving)):
        assert "OpenCV (opencv-python-headless;" in rendered and "successive frames of one clip" in rendered


def test_every_candidate_has_its_fate_and_reason(report: Report) -> None:
    """Also the failed and the discarded."""
    markdown = render_markdown(report)
    for candidate in report.candidates:
        row = next(line for line in markdown.splitlines() if line.startswith(f"| {candidate.id} "))
        assert f"| {candidate.fate} |" in row
        assert candidate.reason.split(" | ")[-1] in row


def test_every_step_is_explained() -> None:
    """A newcomer reads what was done to the detector; an unchanged one needs no list."""
    for plan in PLANS.values():
        (record,) = [one for one in make_report().candidates if one.plan == plan]
        markdown = render_markdown(make_report(chosen=record.id))
        for step in plan.steps:
            assert f"\n- *{step.step}*: " in markdown


def test_too_few_images_are_said_to_be_too_few(report: Report) -> None:
    """Not shown as a number, not left out."""
    assert "| gravel | 10 | 4 | too few images to tell | too few images to tell |" in render_markdown(report)


def test_nothing_complies(report: Report) -> None:
    """Instead of how to run it: the refusal."""
    markdown = render_markdown(make_report(budget=with_limits(report, latency_p95="10 ms")))
    assert "## What to do" in markdown
    assert "No candidate keeps host-cpu" in markdown
    assert "How to run it" not in markdown


def test_a_run_stopped_at_once() -> None:
    """Whatever is missing, there is a report."""
    markdown = render_markdown(
        make_report(complete=False, baseline=None, artifact=None, comparison=None, chosen=None, candidates=(), why="")
    )
    assert headings(markdown) == [
        "# host-cpu: stopped before the end, so nothing is compliant", "## What to do", "## Search", "## Provenance",
    ]  # fmt: skip


def test_a_second_opening_of_the_confirmation_split_is_said() -> None:
    """Figures on data that was looked at before are optimistic."""
    markdown = render_markdown(make_report(confirmation_uses=3))
    assert "opened 3 times with different inputs, which makes its figures optimistic" in markdown


def test_names_of_others_cannot_break_the_page(report: Report) -> None:
    """A category with Markdown, HTML and line ends in its name stays one cell."""
    assert report.artifact is not None
    name = "a|b\n# <b>\x1b[31m"
    categories = tuple(one.model_copy(update={"category": name}) for one in report.artifact.quality.categories)
    quality = report.artifact.quality.model_copy(update={"categories": categories})
    markdown = render_markdown(make_report(artifact=report.artifact.model_copy(update={"quality": quality})))
    assert r"| a\|b # \<b> \[31m | 22 |" in markdown
    assert "\x1b" not in markdown


def test_tables_have_as_many_cells_in_every_row(report: Report) -> None:
    """No row of any table is broken."""
    width = 0
    for line in render_markdown(report).splitlines():
        cells = len(re.split(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (cells and width) or cells == width, line
        width = cells


def test_the_steps_of_the_choice_are_shown(report: Report) -> None:
    """What was trained, how long, what it left."""
    assert "| distill(student 0.25) | 412,345 | 41.2 s | 30 | 0.0123 | 0.0151 |  |" in render_markdown(report)
    assert PLANS["chosen"].title() in render_markdown(report)


def test_a_note_of_many_numbers_is_said_once(report: Report) -> None:
    """Below the table, with the names it is about; in no row."""
    assert report.artifact is not None
    noted = tuple(one.model_copy(update={"note": "a neighbor was busy"}) if one.unit == "ms" else one
                  for one in report.artifact.measurements)  # fmt: skip
    details = render_markdown(make_report(artifact=report.artifact.model_copy(update={"measurements": noted})))
    part = details.partition("## Measurements")[2]
    assert part.count("a neighbor was busy") == 1
    assert "- latency_p50, latency_p95, latency_p50.preprocess: a neighbor was busy" in part


def test_several_seeds_show_how_much_is_luck(report: Report) -> None:
    """One row a seed, the artifact's first."""
    seeds = tuple(
        SeedRecord(seed=seed, selection_auroc=0.9, confirmation_auroc=auroc, auroc_loss=0.93 - auroc, artifact_size=9)
        for seed, auroc in ((0, 0.912), (1, 0.905))
    )
    markdown = render_markdown(report.model_copy(update={"seeds": seeds}))
    assert "| 0 | 0.900 | 0.912 | +0.018 |" in markdown
    assert "| 1 | 0.900 | 0.905 | +0.025 |" in markdown
    assert "several seeds" not in render_markdown(report)

"""Session options in the report: what was tried, what is chosen, and what to do for it."""

import html

from budgetc.core.measurement import Measurement
from budgetc.core.session import SessionOptions
from budgetc.report.figures import limit_cards
from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.schema import Report, SessionTrial
from budgetc.report.verdict_table import verdict_table
from tests.report.example import make_report

LEAN = SessionOptions(arena="as-requested", memory_pattern=False, trim=True)
INSTALLED = LEAN.model_copy(update={"preoptimized": True})


def trial(options: SessionOptions, megabytes: int, *, chosen: bool) -> SessionTrial:
    def found(metric: str, value: float, unit: str) -> Measurement:
        return Measurement.model_validate({
            "metric": metric, "value": value, "unit": unit, "lower": value, "upper": value, "n": 2,
            "kind": "measured", "device": "host",
        })  # fmt: skip

    memory = found("run_memory", megabytes * 2**20, "B")
    return SessionTrial(
        compute="fp32", options=options, chosen=chosen,
        measurements=(memory, found("load_time", 12.5, "ms"), found("latency_p50_ratio", 1.01, "1")),
    )  # fmt: skip


def test_tried_options_are_a_table() -> None:
    """With figures, n and the choice, in both forms of the report."""
    report = make_report(sessions=(trial(SessionOptions(), 74, chosen=False), trial(LEAN, 45, chosen=True)))
    for text in (render_markdown(report), render_html(report)):
        assert "Session options" in text
        assert "exact arena, no memory pattern, heap trimmed after loading" in text
        assert "45.0 MiB (45.0 MiB to 45.0 MiB; n = 2)" in text
        assert "The baseline is measured under the same options" in text
    row = next(line for line in render_markdown(report).splitlines() if "exact arena" in line)
    assert row.startswith("| FP32 | exact arena, no memory pattern, heap trimmed after loading | yes | - | 45.0 MiB")


def with_artifact(session: SessionOptions) -> Report:
    artifact = make_report().artifact
    assert artifact is not None
    return make_report(
        artifact=artifact.model_copy(update={"session": session}),
        sessions=(trial(SessionOptions(), 74, chosen=False), trial(INSTALLED, 42, chosen=session == INSTALLED)),
    )


def test_an_install_step_comes_first() -> None:
    """Before the lines that run the artifact, beside the limit that rests on it, and explained."""
    report = with_artifact(INSTALLED)
    for text in (render_markdown(report), html.unescape(render_html(report))):
        assert "budgetc install OUT" in text
        assert text.index("budgetc install . ") < text.index("device/score.py --install ") < text.index("budgetc run .")
        assert "n = 5; load and run; holds after `budgetc install`" in text.replace("\\`", "`")
    rows = verdict_table(report).splitlines()
    assert [row.split()[0] for row in rows if row.endswith("holds after `budgetc install`")] == ["peak_memory"]
    card = next(one for one in limit_cards(report) if one.name == "peak_memory")
    assert card.support.endswith("holds after `budgetc install`")


def test_no_install_step_is_asked_for_in_vain() -> None:
    """Options that need one were tried, and the artifact needs none."""
    report = with_artifact(LEAN)
    for text in (render_markdown(report), render_html(report), verdict_table(report)):
        assert "budgetc install" not in text


def test_nothing_tried_is_not_mentioned() -> None:
    """As in reports of older versions."""
    assert "Session options" not in render_markdown(make_report()) + render_html(make_report())

"""Session options in the report: what was tried, what is chosen, and what to do for it."""

from budgetc.core.measurement import Measurement
from budgetc.core.session import SessionOptions
from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.schema import SessionTrial
from tests.report.example import make_report

LEAN = SessionOptions(arena="as-requested", memory_pattern=False, trim=True)


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
        assert "Installed graph" not in text
    row = next(line for line in render_markdown(report).splitlines() if "exact arena" in line)
    assert row.startswith("| FP32 | exact arena, no memory pattern, heap trimmed after loading | yes | - | 45.0 MiB")


def test_an_install_step_is_explained() -> None:
    """Where figures rest on it."""
    installed = LEAN.model_copy(update={"preoptimized": True})
    report = make_report(sessions=(trial(installed, 42, chosen=True),))
    for text in (render_markdown(report), render_html(report)):
        assert "budgetc install OUT" in text


def test_nothing_tried_is_not_mentioned() -> None:
    """As in reports of older versions."""
    assert "Session options" not in render_markdown(make_report()) + render_html(make_report())

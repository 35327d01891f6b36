"""Controls in words."""

from budgetc.core.quality import Control
from budgetc.report.controls import control_rows, controls_markdown
from budgetc.report.markdown import render_markdown
from budgetc.report.verdict_table import verdict_table
from tests.report.example import make_report, measured

CONTROLS = (
    Control(control="image size", auroc=None, reason="not applicable: all pictures have one size"),
    Control(
        control="image statistics",
        auroc=measured("auroc", 0.712, "1", 0.05, n=96),
        gaps={
            "baseline": measured("auroc_gap", 0.25, "1", 0.06, n=96),
            "artifact": measured("auroc_gap", -0.012, "1", 0.06),
        },
        defects={"crack": 0.61, "fray": 0.83},
    ),
)


def test_rows_say_how_far_each_subject_is_above() -> None:
    """Or why there is no control."""
    assert control_rows(CONTROLS) == [
        ("image size", "not applicable: all pictures have one size"),
        (
            "image statistics",
            "AUROC 0.712 (95 % interval 0.662 to 0.762; measured, n = 96); baseline +0.250; artifact -0.012 above it",
        ),
    ]


def test_both_reports_show_them() -> None:
    """`report.md` as a table with defect types, the terminal as rows."""
    report = make_report(controls=CONTROLS)
    written = render_markdown(report)
    assert "| Control | AUROC | Baseline above it | Artifact above it | By defect type |" in written
    assert "crack 0.61, fray 0.83" in written
    assert "control: image statistics  AUROC 0.712" in verdict_table(report)


def test_a_report_without_controls_says_nothing_of_them() -> None:
    """Reports of before have none."""
    assert controls_markdown(()) == []
    assert "Control" not in render_markdown(make_report(controls=()))

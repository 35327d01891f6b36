"""What each step of the chosen plan did, as charts and in numbers."""

import pytest

from budgetc.report.schema import Stage
from budgetc.report.steps import feature_figures, step_figures, steps_table
from tests.report.charts.reading import texts
from tests.report.example import exhibits, make_report


def test_a_chart_a_quantity() -> None:
    """Bytes, latency, memory, AUROC and loss, each with its values and what changed."""
    figures = {one.title: one.svg for one in step_figures(make_report(exhibits=exhibits()))}
    assert list(figures) == ["Bytes", "Latency, median", "Memory", "AUROC", "Training loss"]
    assert texts(figures["Bytes"])[:4] == ["baseline", "5.2 MiB", "distill(student 0.25)", "1.5 MiB (-70 %)"]
    assert texts(figures["Latency, median"])[3] == "21.0 ms (-43 %)"
    assert texts(figures["Training loss"]) == ["distill(student 0.25)", "0.0123 (held out 0.0151)"]


@pytest.mark.parametrize(
    ("detector", "expected"),
    [("stfpm", "Teacher-student distance"), ("vae", "KL from the baseline"), ("flow_vae", "KL from the baseline")],
)
def test_features_of_each_family(detector: str, expected: str) -> None:
    """Similarity, active units, and the family's own distance."""
    figures = feature_figures(make_report(detector=detector, exhibits=exhibits()))
    assert [one.title for one in figures] == ["Similarity to the baseline", "Active units", expected]


def test_without_exhibits_there_are_no_steps() -> None:
    """As where nothing was built."""
    report = make_report()
    assert step_figures(report) == feature_figures(report) == []
    assert steps_table(report).rows == []


def test_a_step_that_is_not_known_says_why() -> None:
    """In the table; its size is there all the same."""
    found = exhibits()
    lost = Stage(step="distill(student 0.25)", artifact_size=1_611_000, note="not trained")
    stages = (found.stages[0], lost, found.stages[2])
    rows = steps_table(make_report(exhibits=found.model_copy(update={"stages": stages}))).rows
    assert [rows[1][0], rows[1][1], rows[1][4], rows[1][-1]] == ["distill(student 0.25)", "1.5 MiB", "-", "not trained"]

"""ROC curves and distributions of scores."""

from collections.abc import Sequence

import pytest

from budgetc.report.charts.curves import Curve, Scores, draw_histogram, draw_roc
from tests.report.charts.reading import number, of_class, read, texts

CURVES = [
    Curve("baseline", [(0, 0), (0, 0.8), (1, 1)], (0.05, 0.8)),
    Curve("artifact", [(0, 0), (0.2, 0.8), (1, 1)], (0.1, 0.6)),
]


def test_both_curves_and_their_thresholds() -> None:
    """Each in its own color, named in the legend, told in the label."""
    svg = draw_roc(CURVES, title="ROC")
    assert [len(of_class(svg, "path", f"c{number}")) for number in (0, 1)] == [2, 2]
    assert len(of_class(svg, "circle", "point")) == 2
    assert {"baseline", "artifact"} <= set(texts(svg))
    assert "artifact: 60% found at 10% false alarms" in (read(svg).get("aria-label") or "")


def test_shares_of_both_kinds() -> None:
    """A kind with few pictures is as high as one with many; the threshold is a line between them."""
    svg = draw_histogram(Scores([1.0, 1.1], [2.0] * 50, 1.5), title="Scores")
    normal, anomalous = of_class(svg, "rect", "normal"), of_class(svg, "rect", "anomalous")
    assert len(anomalous) == 1 and len(normal) == 2
    line = number(of_class(svg, "line", "limit")[0], "x1")
    assert max(number(one, "x") for one in normal) < line < number(anomalous[0], "x")


def test_scores_of_many_decades_are_shown_on_a_logarithmic_axis() -> None:
    """Products of maps spread that far; scores below zero cannot."""
    assert "score (logarithmic)" in texts(draw_histogram(Scores([1e-6], [1.0], 1e-3), title="Scores"))
    assert "score" in texts(draw_histogram(Scores([-1.0], [1e6], 0.0), title="Scores"))


@pytest.mark.parametrize(("good", "bad"), [([], [1.0]), ([1.0], []), ([0.5, 0.5], [0.5]), ([0.0], [0.0])])
def test_odd_scores(good: Sequence[float], bad: Sequence[float]) -> None:
    """One kind alone, and scores that are all the same."""
    assert read(draw_histogram(Scores(good, bad, 0.5), title="Scores")).get("role") == "img"

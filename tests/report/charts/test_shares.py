"""How many were found, and what time goes to."""

import pytest

from budgetc.report.charts.shares import Found, draw_found, draw_mix
from tests.report.charts.reading import number, of_class, read, texts


def test_the_artifact_beside_the_baseline() -> None:
    """Lengths are shares of their own kind; counts stand beside them."""
    svg = draw_found([Found("scratch", 20, 10, 15), Found("hole", 4, 4, None)], title="Recall")
    artifact, baseline = of_class(svg, "rect", "artifact"), of_class(svg, "rect", "baseline")
    assert number(artifact[1], "width") == pytest.approx(2 * number(artifact[0], "width"), abs=0.2)
    assert number(baseline[0], "width") == pytest.approx(1.5 * number(artifact[0], "width"), abs=0.2)
    assert texts(svg) == ["scratch", "10 of 20 (baseline 15)", "hole", "4 of 4"]
    assert read(svg).get("aria-label") == "Recall: scratch 10 of 20; hole 4 of 4"


def test_the_parts_of_a_mix_fill_it() -> None:
    """Side by side, in order, with their shares in words."""
    svg = draw_mix([("int8", 0.75), ("fp32", 0.25)], title="Time")
    bars = [one for name in ("m0", "m1") for one in of_class(svg, "rect", name) if number(one, "height") == 18]
    assert number(bars[0], "x") + number(bars[0], "width") == pytest.approx(number(bars[1], "x"), abs=0.2)
    assert texts(svg) == ["int8", "75 %", "fp32", "25 %"]


def test_nothing_is_no_chart() -> None:
    """Rather than an empty one."""
    assert draw_found([], title="Recall") == draw_mix([], title="Time") == ""

"""What each step did to one quantity."""

from budgetc.report.charts.waterfall import Row, Steps, draw_steps
from tests.report.charts.reading import number, of_class, read, texts

BYTES = Steps("Bytes", [Row("baseline", 100.0, "100 B"), Row("distill", 40.0, "40 B"), Row("fp16", 50.0, "50 B")])


def test_a_waterfall_shows_the_change() -> None:
    """What is saved is as long as the difference, and what it costs again stands in the other color."""
    svg = draw_steps(BYTES)
    whole = number(of_class(svg, "rect", "plain")[0], "width")
    saved, lost = of_class(svg, "rect", "good"), of_class(svg, "rect", "bad")
    assert abs(number(saved[0], "width") / whole - 0.6) < 0.01
    assert abs(number(lost[0], "width") / whole - 0.1) < 0.01
    assert texts(svg) == ["baseline", "100 B", "distill", "40 B", "fp16", "50 B"]


def test_its_label_tells_the_numbers() -> None:
    """To those who cannot see it."""
    assert read(draw_steps(BYTES)).get("aria-label") == "Bytes: baseline 100 B; distill 40 B; fp16 50 B"


def test_where_more_is_better() -> None:
    """A fall of AUROC is bad."""
    rows = [Row("baseline", 0.95, "0.95"), Row("prune", 0.90, "0.90")]
    svg = draw_steps(Steps("AUROC", rows, "dots", bound=0.85, falls=False))
    assert of_class(svg, "circle", "bad") and not of_class(svg, "circle", "good")
    assert len(of_class(svg, "line", "limit")) == 2


def test_a_value_that_is_missing_is_passed_over() -> None:
    """The next one is compared with the last that is known."""
    rows = [Row("baseline", 100.0, "100"), Row("distill", None, "-"), Row("fp16", 50.0, "50")]
    svg = draw_steps(Steps("Bytes", rows))
    assert len(of_class(svg, "rect", "good")) == 1
    assert "distill" in texts(svg)


def test_what_may_be_noise_is_not_colored() -> None:
    """A change below what tells."""
    rows = [Row("baseline", 100.0, "100"), Row("fp16", 110.0, "110")]
    svg = draw_steps(Steps("Latency", rows, telling=0.15))
    assert not of_class(svg, "rect", "bad")


def test_nothing_known_is_no_chart() -> None:
    """Rather than an empty one."""
    assert draw_steps(Steps("Distance", [Row("baseline", None, "-")])) == ""
    assert draw_steps(Steps("Training loss", [])) == ""


def test_zeros_are_drawn() -> None:
    """A baseline is no nats away from itself."""
    assert draw_steps(Steps("KL", [Row("baseline", 0.0, "0"), Row("distill", 0.0, "0")], "bars")) != ""

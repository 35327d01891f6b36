"""A value beside its limit."""

from budgetc.report.charts.bullet import Bullet, draw_bullet
from tests.report.charts.reading import number, of_class

CEILING = Bullet(value=18.0, bound=25.0, floor=False, baseline=41.0, interval=(17.0, 19.0))


def bar_end(svg: str, style: str) -> float:
    found = of_class(svg, "rect", style)[0]
    return number(found, "x") + number(found, "width")


def test_a_value_below_its_ceiling_ends_before_the_line() -> None:
    """And the shaded side, which keeps the limit, ends at it."""
    svg = draw_bullet(CEILING, "latency")
    limit = number(of_class(svg, "line", "limit")[0], "x1")
    assert bar_end(svg, "good") < limit
    assert abs(bar_end(svg, "kept") - limit) < 0.2
    assert len(of_class(svg, "line", "whisker")) == 3


def test_a_value_above_its_ceiling_passes_the_line() -> None:
    """In the color of what fails."""
    svg = draw_bullet(Bullet(value=30.0, bound=25.0, floor=False, outcome="fail"), "latency")
    assert bar_end(svg, "bad") > number(of_class(svg, "line", "limit")[0], "x1")


def test_a_floor_is_kept_to_the_right() -> None:
    """AUROC counts from one half, which is guessing, or from what is worse."""
    svg = draw_bullet(Bullet(value=0.93, bound=0.9, floor=True), "auroc")
    limit = number(of_class(svg, "line", "limit")[0], "x1")
    assert abs(number(of_class(svg, "rect", "kept")[0], "x") - limit) < 0.2
    assert bar_end(svg, "good") > limit
    assert bar_end(draw_bullet(Bullet(value=0.3, bound=0.9, floor=True, outcome="fail"), "auroc"), "bad") < limit


def test_a_value_that_is_not_known() -> None:
    """The limit alone."""
    svg = draw_bullet(Bullet(value=None, bound=0.9, floor=True, outcome="not measured"), "aupro")
    assert of_class(svg, "line", "limit") and not of_class(svg, "rect", "good")


def test_a_baseline_far_away_does_not_squeeze_the_rest() -> None:
    """It is drawn at the edge."""
    near, far = (draw_bullet(Bullet(10.0, 25.0, False, baseline=value), "x") for value in (26.0, 26e6))
    assert bar_end(far, "good") > 0.8 * bar_end(near, "good")

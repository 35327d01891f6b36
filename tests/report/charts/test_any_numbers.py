"""Whatever the numbers are, a chart is well-formed and stays within its frame."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from budgetc.report.charts.bullet import Bullet, draw_bullet
from budgetc.report.charts.curves import Scores, draw_histogram
from budgetc.report.charts.pareto import Bounds, Dot, draw_pareto
from budgetc.report.charts.waterfall import Row, Steps, draw_steps
from tests.report.charts.reading import number, read

ANY = st.floats(min_value=-1e12, max_value=1e12) | st.sampled_from([0.0, 1e-300, 1.0])
SOME = st.lists(ANY, max_size=12)
COST = st.floats(min_value=0, max_value=1e12)
SHARE = st.floats(min_value=0, max_value=1)


def check(svg: str) -> None:
    if svg:
        chart = read(svg)
        width = float((chart.get("viewBox") or "").split()[2])
        assert not re.search(r"\b(nan|inf)\b", svg)
        for bar in chart.iter("rect"):
            assert number(bar, "x") >= -1 and number(bar, "x") + number(bar, "width") <= width + 1
            assert number(bar, "height") >= 0


@settings(max_examples=60)
@given(good=SOME, bad=SOME, threshold=ANY)
def test_scores(good: list[float], bad: list[float], threshold: float) -> None:
    """Also none, and also all the same."""
    check(draw_histogram(Scores(good, bad, threshold), title="t"))


@settings(max_examples=60)
@given(
    values=st.lists(ANY | st.none(), max_size=6),
    bound=ANY | st.none(),
    shape=st.sampled_from(["waterfall", "bars", "dots"]),
)
def test_steps(values: list[float | None], bound: float | None, shape: str) -> None:
    """Also below zero."""
    rows = [Row("a step", value, "so much") for value in values]
    check(draw_steps(Steps("t", rows, shape, bound=bound)))  # type: ignore[arg-type]  # one of the three


@settings(max_examples=60)
@given(value=COST | st.none(), bound=COST, baseline=COST | st.none(), floor=st.booleans())
def test_limits(value: float | None, bound: float, baseline: float | None, floor: bool) -> None:
    """Also a limit of zero."""
    most = 1.0 if floor else 1e12
    value, baseline = (None if one is None else min(one, most) for one in (value, baseline))
    check(draw_bullet(Bullet(value, min(bound, most), floor, baseline=baseline), "t"))


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(COST, SHARE | st.none(), COST | st.none()), max_size=8),
    size=COST | st.none(),
    auroc=SHARE | st.none(),
)
def test_candidates(
    rows: list[tuple[float, float | None, float | None]], size: float | None, auroc: float | None
) -> None:
    """Also without a latency, and without bytes."""
    dots = [Dot(f"{at}", bytes_, value, time) for at, (bytes_, value, time) in enumerate(rows)]
    check(draw_pareto(dots, Bounds(size, auroc), latency="latency"))

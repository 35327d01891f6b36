"""What each step did to one quantity: a row a step, from the baseline down to the artifact."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from budgetc.report.charts.svg import Scale, bar, picture, shortened, stroke, words

_WIDTH, _ROW, _EDGE, _THICK = 330, 40, 2, 12
_CHARACTERS = 47
"""That fit beside each other in a row."""
Shape = Literal["waterfall", "bars", "dots"]


@dataclass(frozen=True, slots=True)
class Row:
    """The quantity after one step."""

    name: str
    value: float | None
    """None where it is not known."""
    shown: str
    """In words, with its unit."""


@dataclass(frozen=True, slots=True)
class Steps:
    """One quantity over all steps."""

    title: str
    rows: Sequence[Row]
    shape: Shape = "waterfall"
    """`waterfall`: from zero, each step a bar from the value before it. `bars`: each value from zero. `dots`: a zoomed
    axis, for what barely changes."""
    bound: float | None = None
    """The budget's limit, where it has one."""
    falls: bool = True
    """Whether less is better."""
    telling: float = 0.01
    """Share of a value that has to change before it is colored as better or worse: less may be noise."""


def draw_steps(steps: Steps) -> str:
    """As high as there are rows; empty without a known value."""
    known = [row.value for row in steps.rows if row.value is not None]
    if not known:
        return ""
    label = f"{steps.title}: " + "; ".join(f"{row.name} {row.shown}" for row in steps.rows)
    return picture(_WIDTH, _ROW * len(steps.rows) + 6, label, _drawn(steps, _scale(steps, known)))


def _scale(steps: Steps, known: Sequence[float]) -> Scale:
    if steps.shape == "dots":
        shown = [*known, *([steps.bound] if steps.bound is not None else [])]
        room = max((max(shown) - min(shown)) * 0.15, 0.005)
        return Scale(min(shown) - room, max(shown) + room, _EDGE, _WIDTH - _EDGE)
    # A limit far to the right would squeeze the bars: then it is left out.
    near = [steps.bound] if steps.bound is not None and steps.bound <= 1.6 * max(known) else []
    return Scale(min(0.0, *known), max(*known, *near, 0.0) * 1.02 or 1.0, _EDGE, _WIDTH - _EDGE)


def _drawn(steps: Steps, scale: Scale) -> Iterator[str]:
    before: float | None = None
    for number, row in enumerate(steps.rows):
        y = number * _ROW
        yield words(_EDGE, y + 15, shortened(row.name, _CHARACTERS - len(row.shown)), style="label")
        yield words(_WIDTH - _EDGE, y + 15, row.shown, "end", style="value")
        yield bar(scale.start, y + 20, scale.end - scale.start, _THICK, style="track")
        if row.value is not None:
            yield from _mark(steps, scale, y + 20, (before, row.value))
            before = row.value
        if steps.bound is not None and scale.low <= steps.bound <= scale.high:
            yield stroke(scale.at(steps.bound), y + 17, scale.at(steps.bound), y + 23 + _THICK, style="limit")


def _style(steps: Steps, before: float | None, value: float) -> str:
    if before is None or abs(value - before) <= steps.telling * abs(before):
        return "plain"
    return "good" if (value < before) == steps.falls else "bad"


def _mark(steps: Steps, scale: Scale, y: float, change: tuple[float | None, float]) -> Iterator[str]:
    before, value = change
    here = scale.at(value)
    style = _style(steps, before, value)
    if steps.shape == "dots":
        if before is not None:
            yield stroke(scale.at(before), y + _THICK / 2, here, y + _THICK / 2, style=f"{style} thick")
        yield f'<circle class="{style}" cx="{here:.1f}" cy="{y + _THICK / 2:.1f}" r="5.5"/>'
        return
    zero = scale.at(0.0)
    if steps.shape == "bars" or before is None:
        style = "plain" if steps.shape == "waterfall" else style
        yield bar(min(zero, here), y, abs(here - zero), _THICK, style=style)
        return
    then = scale.at(before)
    yield bar(min(zero, here), y, abs(here - zero), _THICK, style="rest")
    yield bar(min(then, here), y, abs(then - here), _THICK, style=style)

"""One limit: how far the value reaches towards it, where the baseline stood, how sure it is."""

from collections.abc import Iterator
from dataclasses import dataclass

from budgetc.report.charts.svg import Scale, bar, picture, stroke

_WIDTH, _HEIGHT, _EDGE = 260, 34, 6
_TOP, _THICK = 10, 14


@dataclass(frozen=True, slots=True)
class Bullet:
    """A value beside its limit, all in the limit's unit."""

    value: float | None
    bound: float
    floor: bool
    """Whether the value has to stay above the limit, not below."""
    baseline: float | None = None
    interval: tuple[float, float] | None = None
    outcome: str = "pass"


def draw_bullet(one: Bullet, label: str) -> str:
    """A bar of the value, a line at the limit, a diamond at the baseline, a whisker over the interval."""
    return picture(_WIDTH, _HEIGHT, label, _drawn(one))


def _drawn(one: Bullet) -> Iterator[str]:
    scale = _scale(one)
    middle = _TOP + _THICK / 2
    limit = scale.at(one.bound)
    kept = (limit, scale.end) if one.floor else (scale.start, limit)
    yield bar(scale.start, _TOP, scale.end - scale.start, _THICK, style="track")
    yield bar(kept[0], _TOP, kept[1] - kept[0], _THICK, style="kept")
    if one.value is not None:
        style = {"pass": "good", "fail": "bad"}.get(one.outcome, "open")
        yield bar(scale.start, _TOP + 3, scale.at(one.value) - scale.start, _THICK - 6, style=style)
    if one.interval is not None:
        low, high = (scale.at(end) for end in one.interval)
        yield stroke(low, middle, high, middle, style="whisker")
        for end in (low, high):
            yield stroke(end, middle - 4, end, middle + 4, style="whisker")
    if one.baseline is not None:
        x = scale.at(one.baseline)
        yield f'<path class="diamond" d="M{x:.1f} {middle - 5:.1f}l5 5l-5 5l-5 -5z"/>'
    yield stroke(limit, _TOP - 6, limit, _TOP + _THICK + 6, style="limit")


def _scale(one: Bullet) -> Scale:
    """From zero for costs; for a floor from a round share below what is shown, up to 1."""
    shown = [one.bound, *(value for value in (one.value, one.baseline) if value is not None)]
    if one.interval is not None:
        shown += one.interval
    if one.floor:
        lowest = min(shown)
        return Scale(min(0.5, lowest) if lowest < 0.6 else 0.5, 1.0, _EDGE, _WIDTH - _EDGE)
    # A baseline far over the limit would leave no room for the value: it is drawn at the edge.
    near = [value for value in shown if value <= 2.5 * one.bound]
    return Scale(0.0, max(near) * 1.12, _EDGE, _WIDTH - _EDGE)

"""ROC curves, and how the scores of normal and anomalous pictures lie beside the threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log10

from budgetc.report.charts.svg import Scale, bar, nice_step, picture, stroke, tick_words, words

_WIDTH, _LEFT, _RIGHT, _TOP = 350, 42, 326, 26
_ROC_BOTTOM, _HISTOGRAM_BOTTOM = 300, 150
_BINS = 28
_DECADES = 1.5
"""Scores over more decades than that are shown on a logarithmic axis."""
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """One detector's ROC: (false-positive rate, recall) from (0, 0) to (1, 1)."""

    name: str
    points: Sequence[Point]
    at: Point
    """Where its threshold lies."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What one detector says of normal and of anomalous pictures."""

    good: Sequence[float]
    bad: Sequence[float]
    threshold: float


def draw_roc(curves: Sequence[Curve], *, title: str) -> str:
    """At most two curves, the baseline first; a mark where each threshold lies."""
    said = "; ".join(f"{one.name}: {one.at[1]:.0%} found at {one.at[0]:.0%} false alarms" for one in curves)
    return picture(_WIDTH, _ROC_BOTTOM + 46, f"{title}: {said}", _roc(curves))


def draw_histogram(scores: Scores, *, title: str) -> str:
    """Shares of each kind by score, normals above the axis of the same scale as anomalies."""
    label = f"{title}: {len(scores.good)} normal and {len(scores.bad)} anomalous pictures, threshold at its line"
    return picture(_WIDTH, _HISTOGRAM_BOTTOM + 40, label, _histogram(scores))


def _roc(curves: Sequence[Curve]) -> Iterator[str]:
    x, y = Scale(0, 1, _LEFT, _RIGHT), Scale(0, 1, _ROC_BOTTOM, _TOP)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield stroke(x.at(value), _TOP, x.at(value), _ROC_BOTTOM, style="grid")
        yield stroke(_LEFT, y.at(value), _RIGHT, y.at(value), style="grid")
        yield words(x.at(value), _ROC_BOTTOM + 18, f"{value:.0%}", "middle", style="tick")
        yield words(_LEFT - 6, y.at(value) + 4, f"{value:.0%}", "end", style="tick")
    yield stroke(x.at(0), y.at(0), x.at(1), y.at(1), style="chance")
    for number, one in enumerate(curves):
        path = "L".join(f"{x.at(far):.1f} {y.at(near):.1f}" for far, near in one.points)
        yield f'<path class="curve c{number}" d="M{path}"/>'
        yield f'<circle class="point c{number}" cx="{x.at(one.at[0]):.1f}" cy="{y.at(one.at[1]):.1f}" r="5"/>'
        left, top = x.at(0.42), y.at(0.08) - 20 * (len(curves) - 1 - number)
        yield f'<path class="curve c{number}" d="M{left:.0f} {top - 4:.0f}h26"/>'
        yield words(left + 33, top, one.name, style="label")
    yield words(_RIGHT, _ROC_BOTTOM + 38, "false alarms among normals", "end", style="tick")
    yield words(4, _TOP - 10, "anomalies found", style="tick")


def _histogram(scores: Scores) -> Iterator[str]:
    x = _score_axis([*scores.good, *scores.bad, scores.threshold])
    counted = [_shares(values, x) for values in (scores.good, scores.bad)]
    highest = max(map(max, counted))
    y = Scale(0, highest, _HISTOGRAM_BOTTOM, _TOP + 12)
    wide = (_RIGHT - _LEFT) / _BINS
    for style, shares in zip(("normal", "anomalous"), counted, strict=True):
        for number, share in enumerate(shares):
            if share:
                top = y.at(share)
                yield bar(_LEFT + number * wide, top, wide - 1, _HISTOGRAM_BOTTOM - top, style=style)
    yield f'<path class="axis" d="M{_LEFT} {_HISTOGRAM_BOTTOM}H{_RIGHT}"/>'
    yield words(_LEFT - 6, y.at(highest) + 4, f"{highest:.0%}", "end", style="tick")
    yield words(_LEFT - 6, _HISTOGRAM_BOTTOM + 4, "0", "end", style="tick")
    step = nice_step((x.high - x.low) / 5)
    for value in x.ticks(4):
        shown = f"{value:.3g}" if x.logarithmic else tick_words(value, step)
        yield words(min(max(x.at(value), _LEFT), _RIGHT), _HISTOGRAM_BOTTOM + 17, shown, "middle", style="tick")
    at = x.at(scores.threshold)
    yield stroke(at, _TOP - 8, at, _HISTOGRAM_BOTTOM, style="limit")
    side, gap = ("end", -5) if at > (_LEFT + _RIGHT) / 2 else ("start", 5)
    yield words(at + gap, _TOP + 1, "threshold", side, style="note")
    axis = "score (logarithmic)" if x.logarithmic else "score"
    yield words(_RIGHT, _HISTOGRAM_BOTTOM + 34, axis, "end", style="tick")


def _score_axis(values: Sequence[float]) -> Scale:
    low, high = min(values), max(values)
    if low > 0 and log10(high / low) > _DECADES:
        return Scale(low / 1.1, high * 1.1, _LEFT, _RIGHT, logarithmic=True)
    room = (high - low) * 0.03 or abs(high) * 0.1 or 1.0
    return Scale(low - room, high + room, _LEFT, _RIGHT)


def _shares(values: Sequence[float], x: Scale) -> list[float]:
    """Share of the values in each of the bins."""
    counts = [0] * _BINS
    for value in values:
        share = (x.at(value) - _LEFT) / (_RIGHT - _LEFT)
        counts[min(int(share * _BINS), _BINS - 1)] += 1
    return [count / max(len(values), 1) for count in counts]

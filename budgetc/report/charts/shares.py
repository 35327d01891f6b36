"""Shares: how many of each kind were found, and what the time goes to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from budgetc.report.charts.svg import Scale, bar, picture, shortened, words

_WIDTH, _ROW, _EDGE = 330, 44, 2
_CHARACTERS = 47


@dataclass(frozen=True, slots=True)
class Found:
    """Of one kind of anomalies."""

    name: str
    of: int
    found: int
    by_baseline: int | None


def draw_found(rows: Sequence[Found], *, title: str) -> str:
    """Artifact over baseline, a row a kind, with counts; empty without rows."""
    if not rows:
        return ""
    label = f"{title}: " + "; ".join(f"{row.name} {row.found} of {row.of}" for row in rows)
    return picture(_WIDTH, _ROW * len(rows) + 4, label, _found(rows))


def _found(rows: Sequence[Found]) -> Iterator[str]:
    scale = Scale(0, 1, _EDGE, _WIDTH - _EDGE)
    for number, row in enumerate(rows):
        y = number * _ROW
        before = "" if row.by_baseline is None else f" (baseline {row.by_baseline})"
        counts = f"{row.found} of {row.of}{before}"
        yield words(_EDGE, y + 15, shortened(row.name, _CHARACTERS - len(counts)), style="label")
        yield words(_WIDTH - _EDGE, y + 15, counts, "end", style="value")
        yield bar(scale.start, y + 20, scale.end - scale.start, 16, style="track")
        if row.found:
            yield bar(scale.start, y + 20, scale.at(row.found / row.of) - scale.start, 9, style="artifact")
        if row.by_baseline:
            yield bar(scale.start, y + 30, scale.at(row.by_baseline / row.of) - scale.start, 6, style="baseline")


def draw_mix(parts: Sequence[tuple[str, float]], *, title: str) -> str:
    """One bar of named shares that sum to 1, the names below it; empty without parts."""
    if not parts:
        return ""
    label = f"{title}: " + ", ".join(f"{name} {share:.0%}" for name, share in parts)
    return picture(_WIDTH, 30 + 20 * len(parts), label, _mix(parts))


def _mix(parts: Sequence[tuple[str, float]]) -> Iterator[str]:
    scale, at = Scale(0, 1, _EDGE, _WIDTH - _EDGE), 0.0
    for number, (name, share) in enumerate(parts):
        x = scale.at(at)
        at += share
        yield bar(x, 4, scale.at(at) - x, 18, style=f"m{number % 6}")
        y = 42 + 20 * number
        yield bar(_EDGE, y - 10, 11, 11, style=f"m{number % 6}")
        yield words(_EDGE + 18, y, shortened(name, _CHARACTERS - 8), style="label")
        yield words(_WIDTH - _EDGE, y, f"{100 * share:.0f} %", "end", style="value")

"""Every candidate of a search: size against AUROC, colored by latency."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor

from budgetc.core.pareto import pareto_front
from budgetc.report.charts.svg import Scale, auroc_step, picture, size_ticks, size_words, stroke, words

_WIDTH, _HEIGHT = 480, 390
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 472, 34, 310
_COLORS = 5
"""Classes `q0` (fast) to `q4` (slow)."""
_HOVERED = 400
"""So many candidates say on hover what they are; of more, those on the front alone."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A candidate."""

    name: str
    size: float
    """Bytes."""
    auroc: float | None
    """None where it was not trained."""
    latency_ms: float | None = None
    chosen: bool = False
    baseline: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the budget."""

    size: float | None = None
    auroc: float | None = None


def draw_pareto(dots: Sequence[Dot], bounds: Bounds, *, latency: str) -> str:
    """Trained candidates as dots, the front as a staircase, untrained ones as ticks on the size axis.

    Args:
        dots: in any order.
        bounds: drawn as dashed lines where they lie within the picture.
        latency: name of the metric behind the colors.

    Returns:
        Empty where nothing was trained.
    """
    known = [dot for dot in dots if dot.auroc is not None]
    if not known:
        return ""
    x, y = _scales(dots, known, bounds)
    chosen = next((dot for dot in known if dot.chosen), None)
    label = f"{len(known)} of {len(dots)} candidates were trained" + (f"; chosen: {_about(chosen)}" if chosen else "")
    parts = [*_axes(x, y), *_untrained(dots, x), *_trained(known, x, y), *_limits(bounds, x, y)]
    return picture(_WIDTH, _HEIGHT, label, [*parts, *_legend(known, latency)])


def _scales(dots: Sequence[Dot], known: Sequence[Dot], bounds: Bounds) -> tuple[Scale, Scale]:
    sizes = [max(size, 1.0) for size in (*(dot.size for dot in dots), *([bounds.size] if bounds.size else []))]
    values = [dot.auroc for dot in known if dot.auroc is not None]
    if bounds.auroc is not None:
        values.append(bounds.auroc)
    step = auroc_step(min(values), max(values))
    low = max(0.0, floor(min(values) / step - 0.2) * step)
    high = min(1.0, max(ceil(max(values) / step + 0.2) * step, low + step))
    x = Scale(min(sizes) / 1.25, max(sizes) * 1.25, _LEFT, _RIGHT, logarithmic=True)
    return x, Scale(low if low < high else high - step, high, _BOTTOM, _TOP)


def _axes(x: Scale, y: Scale) -> Iterator[str]:
    for size in size_ticks(x.low, x.high):
        yield stroke(x.at(size), _TOP, x.at(size), _BOTTOM, style="grid")
        side = "end" if x.at(size) > _RIGHT - 24 else "middle"
        yield words(min(x.at(size), _RIGHT + 4), _BOTTOM + 17, size_words(size), side, style="tick")
    step = auroc_step(y.low, y.high)
    for number in range(round((y.high - y.low) / step) + 1):
        value = min(y.low + number * step, y.high)
        yield stroke(_LEFT, y.at(value), _RIGHT, y.at(value), style="grid")
        yield words(_LEFT - 8, y.at(value) + 4, f"{value:.{3 if step < 0.01 else 2}f}", "end", style="tick")
    yield f'<path class="axis" d="M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}"/>'
    yield words(_RIGHT, _BOTTOM + 36, "size of the deployed files (logarithmic)", "end", style="tick")
    yield words(4, _TOP - 16, "AUROC on the selection split", style="tick")


def _limits(bounds: Bounds, x: Scale, y: Scale) -> Iterator[str]:
    if bounds.size is not None:
        yield stroke(x.at(bounds.size), _TOP, x.at(bounds.size), _BOTTOM, style="limit")
        yield words(x.at(bounds.size) - 5, _TOP + 12, "size limit", "end", style="note")
    if bounds.auroc is not None:
        yield stroke(_LEFT, y.at(bounds.auroc), _RIGHT, y.at(bounds.auroc), style="limit")
        yield words(_RIGHT - 4, y.at(bounds.auroc) + 14, "AUROC floor", "end", style="note")


def _untrained(dots: Sequence[Dot], x: Scale) -> Iterator[str]:
    sizes = sorted({round(x.at(dot.size), 1) for dot in dots if dot.auroc is None})
    if sizes:
        yield f'<path class="rug" d="{"".join(f"M{at} {_BOTTOM}v-7" for at in sizes)}"/>'


def _trained(known: Sequence[Dot], x: Scale, y: Scale) -> Iterator[str]:
    points = [(dot.size, -(dot.auroc or 0.0)) for dot in known]
    different = sorted(set(points))  # thousands of equal ones would all be compared with each other
    front = [different[at] for at in pareto_front(different)]
    path = f"M{x.at(front[0][0]):.1f} {y.at(-front[0][1]):.1f}"
    path += "".join(f"H{x.at(size):.1f}V{y.at(-auroc):.1f}" for size, auroc in front[1:])
    yield f'<path class="front" d="{path}"/>'
    colors, on_front = _colored(known), set(front)
    small = 4.5 if len(known) <= _HOVERED else 2.5
    for dot, point in sorted(zip(known, points, strict=True), key=lambda pair: pair[1] in on_front):
        at = f'{x.at(dot.size):.1f}" cy="{y.at(dot.auroc or 0.0):.1f}'
        radius = 6.5 if point in on_front else small
        said = point in on_front or dot.chosen or len(known) <= _HOVERED
        title = f"<title>{escape(_about(dot))}</title>" if said else ""
        yield f'<circle class="dot {colors[dot.name]}" cx="{at}" r="{radius}">{title}</circle>'
        if dot.chosen or dot.baseline:
            yield f'<circle class="{"ring" if dot.chosen else "ring faint"}" cx="{at}" r="11"/>'


def _colored(known: Sequence[Dot]) -> dict[str, str]:
    """Name -> class, by equal shares of the logarithmic range of latencies."""
    times = [dot.latency_ms for dot in known if dot.latency_ms]
    if not times:
        return {dot.name: "q" for dot in known}
    scale = Scale(min(times), max(max(times), min(times) * 1.001), 0, _COLORS - 1e-6, logarithmic=True)
    return {dot.name: f"q{int(scale.at(dot.latency_ms))}" if dot.latency_ms else "q" for dot in known}


def _legend(known: Sequence[Dot], latency: str) -> Iterator[str]:
    times = [dot.latency_ms for dot in known if dot.latency_ms]
    y = _HEIGHT - 8
    yield f'<circle class="ring" cx="{_LEFT + 4}" cy="{y - 4}" r="7"/>' + words(_LEFT + 17, y, "chosen", style="tick")
    if any(dot.baseline for dot in known):
        yield f'<circle class="ring faint" cx="{_LEFT + 74}" cy="{y - 4}" r="7"/>'
        yield words(_LEFT + 86, y, "baseline", style="tick")
    if not times:
        return
    left = 300.0
    yield words(left - 6, y, f"{latency} {min(times):.3g}", "end", style="tick")
    for number in range(_COLORS):
        yield f'<rect class="dot q{number}" x="{left + 20 * number:.0f}" y="{y - 11}" width="20" height="12"/>'
    yield words(left + 20 * _COLORS + 6, y, f"{max(times):.3g} ms", style="tick")


def _about(dot: Dot) -> str:
    time = "" if dot.latency_ms is None else f", {dot.latency_ms:.3g} ms"
    return f"{dot.name}: {size_words(dot.size)}, AUROC {dot.auroc or 0.0:.4f}{time}"

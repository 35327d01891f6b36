"""Size against AUROC of several searches in one picture: a self-contained SVG for light and dark pages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from budgetc.core.pareto import pareto_front
from budgetc.core.quantities import format_bytes
from budgetc.report.charts.svg import DARK, LIGHT, auroc_step, size_ticks, size_words, words

_WIDTH, _HEIGHT = 900, 600
_LEFT, _TOP, _BOTTOM = 80, 56, 72
_LINE = 20
"""Pixels a line of the legend takes."""
_STYLE = "".join(
    [
        "svg{background:#fff;color:#1a1a1a;font:13px system-ui,sans-serif}",
        *(f".s{number}{{color:{color}}}" for number, color in enumerate(LIGHT)),
        "@media (prefers-color-scheme:dark){svg{background:#14161a;color:#e8e8e8}",
        *(f".s{number}{{color:{color}}}" for number, color in enumerate(DARK)),
        "}text{fill:currentColor}.grid{stroke:currentColor;stroke-opacity:.14}.axis{stroke:currentColor}"
        ".faint{fill:currentColor;fill-opacity:.28}.front{fill:none;stroke:currentColor}"
        ".on{fill:currentColor}.chosen{fill:none;stroke:currentColor;stroke-width:2}.title{font-weight:600}",
    ]
)
_DASHES = ("", "7 4", "2 4", "10 3 2 3", "4 2", "1 3")
Point = tuple[float, float]
"""Bytes of a candidate, and its AUROC."""


@dataclass(frozen=True, slots=True)
class Series:
    """The candidates of one search space on one target."""

    name: str
    points: tuple[Point, ...]
    chosen: tuple[Point, ...]
    """Those that a budget chose."""

    def front(self) -> list[Point]:
        """The points that no other beats, from small to large."""
        points = sorted(set(self.points))
        return [points[index] for index in pareto_front([(size, -auroc) for size, auroc in points])]


@dataclass(frozen=True, slots=True)
class _Frame:
    """From bytes (logarithmic) and AUROC to pixels."""

    sizes: tuple[float, float]
    aurocs: tuple[float, float]
    right: float

    def x(self, size: float) -> float:
        low, high = map(log10, self.sizes)
        return _LEFT + (log10(size) - low) / (high - low) * (self.right - _LEFT)

    def y(self, auroc: float) -> float:
        low, high = self.aurocs
        return _HEIGHT - _BOTTOM - (auroc - low) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)


def draw_fronts(series: Sequence[Series], *, title: str) -> str:
    """The Pareto fronts as lines, every other candidate as a faint dot, what was chosen in a ring.

    Args:
        series: one a target (and model); those without points stand in the legend only.
        title: above the picture.

    Returns:
        An SVG document of 900 x 600 px that needs nothing else.
    """
    points = [point for one in series for point in one.points]
    body = [words(_LEFT, 28, title, "start", style="title")]
    if not points:
        body.append(words(_WIDTH / 2, _HEIGHT / 2, "no candidate was scored", "middle"))
    else:
        frame = _frame(points, series)
        body += _axes(frame)
        for number, one in enumerate(series):
            # Where fronts coincide, the earlier ones show at the edges of the later ones.
            body += _drawn(number, one, frame, extra=len(series) - 1 - number)
        body += _legend(series, frame.right + 24)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    label = escape(title, quote=True)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">'
        f"<style>{_STYLE}</style>\n" + "\n".join(body) + "\n</svg>\n"
    )


def _frame(points: Sequence[Point], series: Sequence[Series]) -> _Frame:
    sizes, aurocs = [size for size, _ in points], [auroc for _, auroc in points]
    step = auroc_step(min(aurocs), max(aurocs))
    low = max(0.0, floor(min(aurocs) / step) * step)
    high = min(1.0, max(ceil(max(aurocs) / step) * step, low + step))
    longest = max(len(one.name) for one in series)
    right = _WIDTH - min(330, 90 + 7.2 * max(longest, 18))
    return _Frame((min(sizes) / 1.25, max(sizes) * 1.25), (low if low < high else high - step, high), right)


def _axes(frame: _Frame) -> Iterator[str]:
    bottom = _HEIGHT - _BOTTOM
    for size in size_ticks(*frame.sizes):
        x = frame.x(size)
        yield f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
        yield words(x, bottom + 20, size_words(size), "middle")
    low, high = frame.aurocs
    step = auroc_step(low, high)
    digits = 3 if step < 0.01 else 2
    for number in range(round((high - low) / step) + 1):
        y = frame.y(min(low + number * step, high))
        yield f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{frame.right:.1f}" y2="{y:.1f}"/>'
        yield words(_LEFT - 10, y + 4, f"{low + number * step:.{digits}f}", "end")
    yield f'<path class="axis" fill="none" d="M{_LEFT} {_TOP}V{bottom}H{frame.right:.1f}"/>'
    yield words((_LEFT + frame.right) / 2, _HEIGHT - 22, "size of the deployed files (logarithmic)", "middle")
    middle = (_TOP + bottom) / 2
    turned = f'transform="rotate(-90 24 {middle:.0f})"'
    yield f'<text x="24" y="{middle:.0f}" text-anchor="middle" {turned}>image AUROC on the selection split</text>'


def _drawn(number: int, series: Series, frame: _Frame, *, extra: int) -> Iterator[str]:
    front = series.front()
    yield f'<g class="s{number % len(LIGHT)}">'
    for size, auroc in sorted(set(series.points) - set(front)):
        yield f'<circle class="faint" cx="{frame.x(size):.1f}" cy="{frame.y(auroc):.1f}" r="4"/>'
    if front:
        # A staircase: between two points nothing better was found than the smaller one.
        first, *others = front
        path = f"M{frame.x(first[0]):.1f} {frame.y(first[1]):.1f}" + "".join(
            f"H{frame.x(size):.1f}V{frame.y(auroc):.1f}" for size, auroc in others
        )
        yield f'<path class="front" stroke-width="{2 + 2 * extra}" {_dashed(number)}d="{path}"/>'
    for size, auroc in front:
        what = escape(f"{series.name}: {format_bytes(size)}, AUROC {auroc:.4f}")
        dot = f'class="on" cx="{frame.x(size):.1f}" cy="{frame.y(auroc):.1f}" r="{4 + 1.5 * extra}"'
        yield f"<circle {dot}><title>{what}</title></circle>"
    for size, auroc in sorted(set(series.chosen)):
        radius = 8 + 3 * number + 1.5 * extra
        yield f'<circle class="chosen" cx="{frame.x(size):.1f}" cy="{frame.y(auroc):.1f}" r="{radius}"/>'
    yield "</g>"


def _dashed(number: int) -> str:
    dash = _DASHES[number % len(_DASHES)]
    return f'stroke-dasharray="{dash}" ' if dash else ""


def _legend(series: Sequence[Series], left: float) -> Iterator[str]:
    y = float(_TOP + 8)
    for number, one in enumerate(series):
        middle = y - 4
        yield f'<g class="s{number % len(LIGHT)}">'
        yield f'<path class="front" stroke-width="2" {_dashed(number)}d="M{left:.1f} {middle}h28"/>'
        yield f'<circle class="on" cx="{left + 14:.1f}" cy="{middle}" r="4"/></g>'
        yield words(left + 38, y, one.name if one.points else f"{one.name} (none scored)", "start")
        y += _LINE
    y += _LINE / 2
    for shape, meaning in (('class="faint" r="4"', "other candidates"), ('class="chosen" r="8"', "chosen by a budget")):
        yield f'<circle {shape} cx="{left + 14:.1f}" cy="{y - 4}"/>'
        yield words(left + 38, y, meaning, "start")
        y += _LINE

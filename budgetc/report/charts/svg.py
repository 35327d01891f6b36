"""What every chart is drawn with: words, scales from values to pixels, ticks."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from budgetc.core.quantities import format_bytes

# Distinguishable with the common color deficiencies (Okabe and Ito, Color Universal Design, 2008), light and dark.
LIGHT = ("#0072b2", "#d55e00", "#00795a", "#a8437f", "#8a6500", "#2d7fb0")
DARK = ("#56b4e9", "#ff9a4d", "#2fd6a8", "#ec9ac8", "#f0e442", "#9ad4ff")


@dataclass(frozen=True, slots=True)
class Scale:
    """From a value to a pixel, linear or logarithmic; values beyond an end are drawn at it."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel."""
        low, high, here = self.low, self.high, value
        if self.logarithmic:
            low, high, here = log10(low), log10(high), log10(max(value, low))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values between the ends."""
        if self.logarithmic:
            return _powers(self.low, self.high, wanted)
        step = nice_step((self.high - self.low) / wanted)
        first = ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, floor(self.high / step + 1e-9) + 1)]


def words(x: float, y: float, text: str, anchor: str = "start", *, style: str = "") -> str:
    """Text whose baseline starts, ends or has its middle at (x, y)."""
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def bar(x: float, y: float, width: float, height: float, *, style: str) -> str:
    """A rectangle; at least a hair wide, so that something small is seen."""
    return f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}"/>'


def stroke(x1: float, y1: float, x2: float, y2: float, *, style: str) -> str:
    """A line."""
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def picture(width: float, height: float, label: str, body: Iterable[str]) -> str:
    """A chart for a page that has the styles; `label` says to those who cannot see it what it shows."""
    return (
        f'<svg class="chart" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(label, quote=True)}">' + "".join(body) + "</svg>"
    )


def shortened(text: str, most: int) -> str:
    """At most so many characters."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not smaller than `rough`."""
    if rough <= 0:
        return 1.0
    power = 10.0 ** floor(log10(rough))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= rough * (1 - 1e-9)), 10 * power)


def tick_words(value: float, step: float) -> str:
    """As many decimals as tell ticks apart."""
    digits = max(0, -floor(log10(step) + 1e-9))
    return f"{value:.{digits}f}" if digits <= 4 else f"{value:.2g}"


def auroc_step(low: float, high: float) -> float:
    """About five steps."""
    return next((step for step in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1) if (high - low) / step <= 6), 0.2)


def size_ticks(low: float, high: float) -> list[float]:
    """Powers of two of a byte, at most seven of them."""
    every = [2.0**power for power in range(41) if low <= 2.0**power <= high]
    thinned = every[:: max(1, ceil(len(every) / 7))]
    return thinned if len(thinned) > 1 else [low * 1.25, high / 1.25]


def size_words(size: float) -> str:
    """`1 KiB` rather than `1.0 KiB`."""
    return format_bytes(size).replace(".0 ", " ")


def _powers(low: float, high: float, wanted: int) -> list[float]:
    every = [10.0**power for power in range(ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9) + 1)]
    if len(every) >= 2:
        return every[:: max(1, ceil(len(every) / wanted))]
    return [low, high]

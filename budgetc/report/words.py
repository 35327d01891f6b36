"""Numbers and measurements as a person reads them: with unit, interval, n and where they come from."""

import re
from collections.abc import Sequence
from math import floor, isclose, log10

from budgetc.core.measurement import Measurement
from budgetc.core.quantities import format_bytes

ABSENT = "-"


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """`18.2 ms`, `1.5 MiB`, `0.957`; `digits` are significant ones for times, decimals for pure numbers."""
    if unit == "B":
        return format_bytes(value) if digits <= 3 else f"{value:,.0f} B"
    if unit == "1":
        return f"{value:.{digits}f}"
    return f"{_significant(value, digits)} {unit}"


def limit_words(bound: float, unit: str) -> str:
    """A limit as a person wrote it: `25 ms`, `1.25 MiB`, but `0.900` for a pure number."""
    if unit == "1":
        return quantity(bound, unit)
    if unit != "B":
        return f"{bound:g} {unit}"
    power, name = next((p, n) for p, n in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")) if bound >= p)
    return f"{f'{bound / power:.2f}'.rstrip('0').rstrip('.')} {name}"


def apart(value: float, bound: float, unit: str) -> tuple[str, str]:
    """Value and limit with as many digits as it takes to see on which side of it the value lies."""
    for digits in range(3, 9):
        written = quantity(value, unit, digits), quantity(bound, unit, digits)
        if written[0] != written[1] or isclose(value, bound, rel_tol=1e-9):
            break
    return written[0], limit_words(bound, unit) if digits == 3 else written[1]


def percent(share: float, *, sign: bool = False) -> str:
    """0.273 -> `27 %`; small shares keep a digit."""
    digits = 0 if abs(share) >= 0.0995 else 1
    return f"{100 * share:{'+' if sign else ''}.{digits}f} %"


def interval(measurement: Measurement) -> str:
    """`17.9 to 18.6 ms`, or nothing where the value is exact."""
    lower, upper, unit = measurement.lower, measurement.upper, measurement.unit
    if lower is None and upper is None:
        return ""
    if lower is None or upper is None:
        return f"at least {quantity(lower, unit)}" if lower is not None else f"at most {quantity(upper or 0, unit)}"
    ends = quantity(lower, unit), quantity(upper, unit)
    suffix = "" if unit in ("1", "B") else f" {unit}"
    return f"{ends[0].removesuffix(suffix)} to {ends[1]}"


def described(measurement: Measurement) -> str:
    """`18.2 ms (95 % interval 17.9 to 18.6 ms; measured, n = 300)`."""
    return f"{quantity(measurement.value, measurement.unit)} ({backing(measurement, with_confidence=True)})"


def backing(measurement: Measurement, *, with_confidence: bool = False, with_note: bool = True) -> str:
    """What stands behind a value: `17.9 to 18.6 ms; measured, n = 300`, then how it was found."""
    span = interval(measurement)
    if span and with_confidence and measurement.confidence is not None:
        span = f"{_sure(measurement.confidence)} interval {span}"
    source = measurement.kind if measurement.n == 1 else f"{measurement.kind}, n = {measurement.n}"
    note = clean(measurement.note or "") if with_note else ""
    return "; ".join(part for part in (span, source, note) if part)


def ratio(measurement: Measurement, *, with_note: bool = True) -> str:
    """`0.44 x baseline (95 % interval 0.42 to 0.46; measured, n = 10)`."""
    support = backing(measurement, with_confidence=True, with_note=with_note)
    return f"{_significant(measurement.value, 2)} x baseline ({support})"


def clean(text: str) -> str:
    """One printable line: names come from files of others, and a terminal obeys control characters."""
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns of text, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; cells are text, not Markdown."""
    lines = [header, ["---"] * len(header), *([cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Text that stays one cell of a Markdown table, and stays text."""
    return re.sub(r"[\\|*`\[]|<(?=[A-Za-z/!?])", r"\\\g<0>", clean(text))


def code(text: str) -> str:
    """An inline code span."""
    return f"`{clean(text).replace('`', chr(39))}`"


def _sure(confidence: float) -> str:
    """A confidence in percent; never rounded up to certainty."""
    return ">99 %" if confidence > 0.99 else percent(confidence)


def _significant(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    if "e" in text:
        return f"{float(text):.0f}" if abs(value) >= 1 else text
    rounded = abs(float(text))
    if not rounded:
        return text
    # `%g` drops the zeros that say how exact the number is: 18 -> 18.0, 0.26 -> 0.260.
    return f"{value:.{max(0, digits - 1 - floor(log10(rounded)))}f}"

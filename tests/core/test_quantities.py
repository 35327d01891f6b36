"""Numbers with a unit: what is written, what is read, what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from budgetc.core.quantities import (
    Bytes,
    Millijoules,
    Milliseconds,
    Seconds,
    format_bytes,
    parse_bytes,
    parse_millijoules,
    parse_milliseconds,
    parse_seconds,
)

MILLISECONDS: TypeAdapter[float] = TypeAdapter(Milliseconds)
SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
MILLIJOULES: TypeAdapter[float] = TypeAdapter(Millijoules)
BYTES: TypeAdapter[int] = TypeAdapter(Bytes)
positive = st.floats(min_value=0, exclude_min=True, allow_infinity=False, allow_nan=False)


@pytest.mark.parametrize("adapter", [MILLISECONDS, SECONDS, MILLIJOULES])
@given(value=positive)
def test_floats_survive_writing_and_reading(adapter: TypeAdapter[float], value: float) -> None:
    """A budget read back from a report is the same budget, to the last bit."""
    written = adapter.dump_python(value)
    assert isinstance(written, str)
    assert adapter.validate_python(written) == value


@given(st.integers(1, 2**50))
def test_bytes_survive_writing_and_reading(value: int) -> None:
    """A size is exact, also beyond twelve digits."""
    assert BYTES.validate_python(BYTES.dump_python(value)) == value


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_milliseconds, "25 ms", 25.0), (parse_milliseconds, "1.5s", 1500.0),
        (parse_milliseconds, " 40 us ", 0.04),
        (parse_milliseconds, "1e2 ms", 100.0), (parse_seconds, "30 min", 1800.0), (parse_seconds, "2 h", 7200.0),
        (parse_millijoules, "0.05 J", 50.0), (parse_millijoules, "5 uJ", 0.005), (parse_bytes, "2 MiB", 2 * 2**20),
        (parse_bytes, "2 MB", 2_000_000), (parse_bytes, "1.5 KiB", 1536), (parse_bytes, "7 B", 7),
    ],
)  # fmt: skip
def test_units_are_understood(parse: Callable[[object], float], text: str, expected: float) -> None:
    """Every unit means what it says: MiB is 2^20, MB is 10^6; spaces are optional."""
    assert parse(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("value", [25, 25.0, True, None, ["25 ms"]])
def test_a_number_without_unit_is_refused(value: Any) -> None:
    """25 could be seconds; the message shows how to write it."""
    with pytest.raises(ValueError, match=r"expected a number with a unit such as '25 ms', found"):
        parse_milliseconds(value)


@pytest.mark.parametrize("text", ["25", "ms", "25 msec", "25 MS", "-5 ms", "25 ms per image", "nan ms", ""])
def test_an_unknown_unit_is_refused(text: str) -> None:
    """Units are case-sensitive and listed in the message; signs and words are not numbers."""
    with pytest.raises(ValueError, match=r"expected a number with one of the units us, ms, s, found"):
        parse_milliseconds(text)


def test_units_of_another_quantity_are_refused() -> None:
    """A memory limit in milliseconds is a slip."""
    with pytest.raises(ValueError, match=r"expected a number with one of the units B, kB, MB, GB, KiB, MiB, GiB"):
        parse_bytes("25 ms")


@pytest.mark.parametrize(("parse", "unit"), [(parse_bytes, "B"), (parse_milliseconds, "ms")])
def test_an_overflowing_number_is_refused(parse: Callable[[object], float], unit: str) -> None:
    """1e999 becomes infinite, which limits nothing."""
    with pytest.raises(ValueError, match=r"expected a finite number such as '.*', found '1e999 "):
        parse(f"1e999 {unit}")


@pytest.mark.parametrize(("adapter", "text"), [(MILLISECONDS, "0 ms"), (BYTES, "0 B"), (BYTES, "0.2 B")])
def test_zero_is_refused(adapter: TypeAdapter[Any], text: str) -> None:
    """Nothing can keep a limit of 0; less than half a byte is 0."""
    with pytest.raises(ValidationError, match="greater than 0"):
        adapter.validate_python(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2.5 * 2**20, "2.5 MiB"),
        (3 * 2**30, "3.00 GiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_bytes_for_people(size: float, text: str) -> None:
    """The largest binary unit that leaves a number of at least 1; savings may be negative."""
    assert format_bytes(size) == text

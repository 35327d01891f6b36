"""Numbers with a unit: written `25 ms` in YAML, a plain float or int inside."""

import re
from math import isinf
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_MILLIJOULES = {"uJ": 1e-3, "mJ": 1.0, "J": 1e3}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _parse(value: object, units: dict[str, float], example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str):
        raise ValueError(f"expected a number with a unit such as '{example}', found {value!r}")
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]+)\s*", value)
    if match is None or match[2] not in units:
        known = ", ".join(units)
        raise ValueError(f"expected a number with one of the units {known}, found {value!r}")
    found = float(match[1]) * units[match[2]]
    if isinf(found):
        raise ValueError(f"expected a finite number such as '{example}', found {value!r}")
    return found


def _written(value: float, unit: str) -> str:
    """Every digit, so that a budget read back from a report is the same budget."""
    return f"{repr(value).removesuffix('.0')} {unit}"


def parse_milliseconds(value: object) -> float:
    """`25 ms` -> 25.0."""
    return _parse(value, dict(_MILLISECONDS), "25 ms")


def parse_seconds(value: object) -> float:
    """`30 min` -> 1800.0."""
    return _parse(value, dict(_SECONDS), "30 min")


def parse_millijoules(value: object) -> float:
    """`50 mJ` -> 50.0."""
    return _parse(value, dict(_MILLIJOULES), "50 mJ")


def parse_bytes(value: object) -> int:
    """`2 MiB` -> 2097152."""
    return round(_parse(value, dict(_BYTES), "2 MiB"))


Milliseconds = Annotated[
    float,
    BeforeValidator(parse_milliseconds, json_schema_input_type=str),
    PlainSerializer(lambda value: _written(value, "ms"), return_type=str),
    Field(gt=0, allow_inf_nan=False),
]
Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds, json_schema_input_type=str),
    PlainSerializer(lambda value: _written(value, "s"), return_type=str),
    Field(gt=0, allow_inf_nan=False),
]
Millijoules = Annotated[
    float,
    BeforeValidator(parse_millijoules, json_schema_input_type=str),
    PlainSerializer(lambda value: _written(value, "mJ"), return_type=str),
    Field(gt=0, allow_inf_nan=False),
]
Bytes = Annotated[
    int,
    BeforeValidator(parse_bytes, json_schema_input_type=str),
    PlainSerializer(lambda value: _written(value, "B"), return_type=str),
    Field(gt=0),
]


def format_bytes(size: float) -> str:
    """1536 -> `1.5 KiB`: for people; files keep exact bytes."""
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"

"""Values that the command line writes as text."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from budgetc.errors import UsageError


def input_size_of(text: str) -> tuple[int, int]:
    """`64` -> (64, 64), `64x96` -> (64, 96): (height, width).

    Raises:
        UsageError: anything else.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})(?:x([1-9][0-9]{0,4}))?", text)
    if found is None:
        raise UsageError(f"--input-size {text}: expected SIDE or HEIGHTxWIDTH in pixels, such as 64 or 64x96")
    return int(found[1]), int(found[2] or found[1])


def widths_of(option: str, text: str) -> tuple[int, ...]:
    """`16,32,48` -> (16, 32, 48).

    Raises:
        UsageError: no list of positive numbers.
    """
    if re.fullmatch(r"[1-9][0-9]{0,5}(,[1-9][0-9]{0,5})*", text) is None:
        raise UsageError(f"{option} {text}: expected numbers with commas, such as 16,32,48,64")
    return tuple(int(part) for part in text.split(","))


def numbers_of(option: str, text: "str | None", default: tuple[float, ...]) -> tuple[float, ...]:
    """`.485,.456,.406` -> one number a channel, or one for all.

    Raises:
        UsageError: neither one finite number nor three.
    """
    if text is None:
        return default
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise UsageError(f"{option} {text}: expected one number or three with commas, such as .485,.456,.406")
    return found


def none_of(options: Mapping[str, object], whose: str) -> None:
    """Refuse options that belong elsewhere.

    Raises:
        UsageError: one was given.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)}: only {whose}")


def only_one(options: Mapping[str, object]) -> None:
    """Refuse options that exclude each other.

    Raises:
        UsageError: more than one was given.
    """
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other; give one of them")


def new_file(option: str, path: Path) -> Path:
    """A path that a file can be written to, known before work is spent on its content.

    Raises:
        UsageError: it is a folder or a device, its folder does not exist, or may not be written.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; expected the name of a file")
    if path.exists() and not path.is_file():
        raise UsageError(f"{option} {path}: is a device, FIFO or socket; expected the name of a file")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{option} {path}: may not be written; choose another place")
    return path

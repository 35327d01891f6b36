"""Values that the command line writes as text."""

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


def widths_of(option: str, text: "str | int | float | None", default: tuple[int, ...]) -> tuple[int, ...]:
    """`16,32,48` -> (16, 32, 48); the default where nothing was given.

    Raises:
        UsageError: no list of positive numbers.
    """
    if text is None or text == "same":
        return default
    if re.fullmatch(r"[1-9][0-9]{0,5}(,[1-9][0-9]{0,5})*", str(text)) is None:
        raise UsageError(f"{option} {text}: expected numbers with commas, such as 16,32,48,64")
    return tuple(int(part) for part in str(text).split(","))


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

"""Results on stdout: text for people, one JSON object for programs."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from budgetc.cli.progress import printable

if TYPE_CHECKING:
    from pydantic import BaseModel

    from budgetc.core.verdict import Overall

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Group = Annotated[
    str | None,
    typer.Option(help="Regular expression whose first group names the part or clip of a file (else groups.csv)."),
]
_BROKEN_PIPE = 128 + 13


def show(text: str) -> None:
    """Print a result."""
    _write(printable(text.rstrip("\n")) + "\n")


def show_json(content: "dict[str, Any] | BaseModel", *, lines: bool = False) -> None:
    """Print one JSON object, on one line where there are several; `schema_version` is 1 where it says nothing else."""
    plain = content if isinstance(content, dict) else content.model_dump(mode="json")
    indent = None if lines else 2
    _write(json.dumps({"schema_version": 1, **plain}, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def show_listed(kind: Literal["targets", "recipes"], found: dict[str, str], *, json: bool) -> None:
    """Print names with their descriptions."""
    from budgetc.report.words import aligned

    if json:
        show_json({kind: [{"name": name, "description": text} for name, text in found.items()]})
    elif found:
        show(aligned(list(found.items())))


def show_file(path: Path) -> None:
    """Print a text file as it is."""
    show(path.read_text(encoding="utf-8"))


def verdict_code(overall: "Overall") -> int:
    """0 keeps the budget, 3 does not, 5 cannot be told."""
    from budgetc.core.verdict import EXIT_CODES

    return EXIT_CODES[overall]


def leave(code: int) -> None:
    """End the command with an exit code."""
    if code:
        raise typer.Exit(code)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _pipe_closed()


def _pipe_closed() -> NoReturn:
    """Whoever read the results has seen enough: end like any tool that the signal SIGPIPE ends."""
    # What is still buffered must go somewhere, else the interpreter complains at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(_BROKEN_PIPE)

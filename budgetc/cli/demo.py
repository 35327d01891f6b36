"""`budgetc demo`: a data set, a detector and a budget to try everything on."""

from pathlib import Path
from typing import Annotated

import typer

from budgetc.cli.progress import Display


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("demo")(demo)


def demo(directory: Annotated[Path, typer.Argument(help="Folder to fill.")] = Path("demo")) -> None:
    """Make a data set of real surfaces and train a detector on it."""
    from budgetc.demo.build import build_demo

    display = Display()
    build_demo(directory, say=display.say, progress=display.progress)
    display.clear()

"""The command `budgetc`: all command groups, and how errors and signals become exit codes."""

import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
import typer.core

from budgetc.cli import (
    artifacts,
    compiling,
    data,
    demo,
    doctor,
    evidence,
    explaining,
    importing,
    listing,
    measuring,
    models,
    sweeping,
    targets,
    training,
)
from budgetc.cli.progress import printable
from budgetc.errors import BudgetcError

_INTERRUPTED, _TERMINATED = 130, 143
_ORDER = (
    "demo", "data", "train", "import", "inspect", "plan", "compile", "sweep", "measure", "explain", "evaluate", "run",
    "install", "verify", "check", "targets", "recipes", "schema", "doctor",
)  # fmt: skip


@dataclass
class Session:
    """What one call of the command knows beside its arguments."""

    debug: bool = False
    terminated: bool = False


class _InOrder(typer.core.TyperGroup):
    """Lists commands in the order in which a user meets them; typer would put groups of commands last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)


def new_app() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name="budgetc",
        cls=_InOrder,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_options)
    for group in (
        data,
        training,
        importing,
        models,
        compiling,
        sweeping,
        measuring,
        evidence,
        explaining,
        artifacts,
        targets,
        listing,
        demo,
        doctor,
    ):
        group.register(app)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        from budgetc import __version__

        print(f"budgetc {__version__}")
        raise typer.Exit


def _options(
    ctx: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compile a trained anomaly detector into the smallest artifact that keeps a device's budget, and prove it.

    Exit codes: 0 compliant, 1 internal error, 2 usage or configuration, 3 not compliant, 4 input rejected,
    5 inconclusive, 6 target unreachable, 7 locked by another run, 130 and 143 signals.
    """
    ctx.ensure_object(Session).debug = debug


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return execute(new_app(), sys.argv[1:] if args is None else args)


def execute(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run a command of an app; errors and signals become a sentence on stderr and an exit code."""
    session = Session()
    command = typer.main.get_command(app)
    with _termination(session):
        try:
            command.main(list(arguments), prog_name="budgetc", obj=session)
        except SystemExit as end:
            return _exit_code(end, session)
        except KeyboardInterrupt:
            return _stopped(session)
        except BudgetcError as error:
            _report(f"error: {error}", session)
            return error.exit_code
        except Exception as error:
            _report(_internal(error), session)
            return 1
    return 0


def _exit_code(end: SystemExit, session: Session) -> int:
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
    return _stopped(session) if code == _INTERRUPTED else code


def _stopped(session: Session) -> int:
    word = "terminated" if session.terminated else "interrupted"
    print(f"{word}: no half-written result was left behind", file=sys.stderr)
    return _TERMINATED if session.terminated else _INTERRUPTED


def _report(message: str, session: Session) -> None:
    if session.debug:
        traceback.print_exc()
    print(printable(message), file=sys.stderr)


def _internal(error: Exception) -> str:
    what = f"{type(error).__name__}: {error}"
    return (
        f"internal error: {what}\nThis is a bug in budgetc: please report it; `budgetc --debug ...` shows the traceback"
    )


@contextmanager
def _termination(session: Session) -> Iterator[None]:
    """SIGTERM unwinds the program like Ctrl-C does, so that locks and temporary files go away."""

    def unwind(number: int, frame: FrameType | None) -> NoReturn:
        session.terminated = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())

"""The command itself: help, version, and how errors and signals end it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import pytest
import typer

from budgetc.cli.main import execute
from budgetc.errors import Locked
from tests.cli.command import ROOT, Command

COMMANDS = (
    "demo", "data", "train", "import", "inspect", "plan", "compile", "sweep", "measure", "explain", "evaluate", "run",
    "install", "verify", "check", "targets", "recipes", "schema", "doctor",
)  # fmt: skip
"""In the order in which a user meets them."""
HEAVY = {"torch", "numpy", "pydantic", "scipy", "rich", "onnx", "onnxruntime", "PIL", "ruamel"}


def app_of(body: Callable[[], None]) -> typer.Typer:
    """An app with the one command `work`, beside another."""
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command("work")(body)
    app.command("rest")(lambda: None)
    return app


def test_help_names_every_command(budgetc: Command) -> None:
    """`--help` lists all commands, each with the whole of what it does, and the exit codes, on stdout."""
    ended = budgetc("--help")
    assert ended.code == 0
    assert ended.err == ""
    listed = ended.out.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.strip().splitlines()] == list(COMMANDS)
    assert "..." not in listed
    assert "2 usage or configuration" in " ".join(ended.out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(budgetc: Command, command: str) -> None:
    """`budgetc COMMAND --help` works."""
    ended = budgetc(command, "--help")
    assert ended.code == 0
    assert f"Usage: budgetc {command}" in ended.out


def test_help_loads_nothing_heavy() -> None:
    """`--help` is quick because it imports no library but typer."""
    code = (
        "import sys; sys.argv = ['budgetc', '--help']\n"
        "from budgetc.cli.main import main\nend = main()\n"
        "print('\\nloaded:', *{name.split('.')[0] for name in sys.modules})\nsys.exit(end)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.partition("loaded:")[2].split())
    assert "typer" in loaded
    assert loaded & HEAVY == set()


def test_version(budgetc: Command) -> None:
    """`--version` prints the version of the package."""
    assert budgetc("--version").out == f"budgetc {version('budgetc')}\n"


def test_misspelt_command(budgetc: Command) -> None:
    """An unknown command exits 2 and names the one that was meant."""
    ended = budgetc("compil")
    assert (ended.code, ended.out) == (2, "")
    assert "compile" in ended.err


def test_bug_says_how_to_report(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception exits 1 without a traceback and asks for a report."""

    def work() -> None:
        raise ZeroDivisionError("of layers")

    assert execute(app_of(work), ["work"]) == 1
    shown = capsys.readouterr()
    assert "internal error: ZeroDivisionError: of layers" in shown.err
    assert "please report" in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_debug_shows_the_traceback(budgetc: Command) -> None:
    """`--debug` before the command adds the traceback to the sentence."""
    ended = budgetc("--debug", "targets", "show", "nowhere")
    assert ended.code == 2
    assert "Traceback" in ended.err
    assert "error: unknown target 'nowhere'" in ended.err
    assert "Traceback" not in budgetc("targets", "show", "nowhere").err


def test_expected_error_has_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    """Each error of budgetc ends the command with its own code and one sentence."""

    def work() -> None:
        raise Locked("process 7 works here")

    assert execute(app_of(work), ["work"]) == 7
    assert capsys.readouterr().err == "error: process 7 works here\n"


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"),
                                                      (signal.SIGTERM, 143, "terminated")])  # fmt: skip
def test_signals_unwind(capsys: pytest.CaptureFixture[str], number: int, code: int, word: str) -> None:
    """Ctrl-C exits 130 and SIGTERM 143, both after cleaning up."""
    cleaned = []

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            cleaned.append(number)

    before = signal.getsignal(signal.SIGTERM)
    assert execute(app_of(work), ["work"]) == code
    assert cleaned == [number]
    assert word in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before


def test_reader_that_leaves_early() -> None:
    """A closed pipe ends the command quietly."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "budgetc.cli.main", "schema", "report"], stdout=write, stderr=subprocess.PIPE, cwd=ROOT,
        text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


def test_control_characters_do_not_reach_the_terminal(budgetc: Command) -> None:
    """Names of files come from others: escape sequences in them are not printed."""
    ended = budgetc("inspect", "evil\x1b[2Jname.pt")
    assert ended.code == 4
    assert "evil?[2Jname.pt" in ended.err
    assert "\x1b" not in ended.err

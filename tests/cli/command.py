"""Ways to run the command line in tests."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from budgetc.cli.main import main

ROOT = Path(__file__).parents[2]
_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing())
from budgetc.cli.main import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Ended:
    """What a run of the command left."""

    code: int
    out: str
    err: str


class Command:
    """Runs `budgetc` inside the test's process."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: object) -> Ended:
        self._capture.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ended(code, *self._capture.readouterr())


def run_without(blocked: tuple[str, ...], *arguments: object) -> Ended:
    """Runs `budgetc` in a fresh interpreter where some packages cannot be imported."""
    program = _WITHOUT.format(blocked=blocked)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)

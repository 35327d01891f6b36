"""Documentation that is followed: its files are written and its commands run, in order, as a reader would."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_vae
from budgetc.load.config import load_target
from budgetc.training.loop import Effort
from tests.cli.command import Command
from tests.load.drawing import draw_category

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def follow(page: Path, folder: Path, command: Command) -> list[str]:
    """Write every block that begins with the name of a file, run every line of `sh`; what was run."""
    done = list[str]()
    for kind, text in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "sh":
            for line in text.splitlines():
                program, *arguments = shlex.split(line)
                if program == "python3":  # on the board
                    subprocess.run([sys.executable, *arguments], check=True, cwd=folder, timeout=120)
                else:
                    result = command(*arguments)
                    assert program == "budgetc" and result.code == 0, f"{line}\n{result.out}\n{result.err}"
                done.append(line)
        elif text.startswith("# "):
            name, _, content = text.partition("\n")
            (folder / name.removeprefix("# ")).write_text(content, encoding="utf-8")
    return done


def test_a_board_is_added_as_the_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From facts and rows to a plan for the new board, and to what a kit measured on it."""
    monkeypatch.chdir(tmp_path)
    draw_category(tmp_path / "data", train=30, good=12, scratch=12)
    vae = new_vae((32, 32), widths=(4,), hidden=(), latents=2)
    train_bundle(vae, data=tmp_path / "data", out=tmp_path / "model.pt", effort=Effort(1, 1e-3, 0))
    done = follow(DOCS / "add-a-board.md", tmp_path, Command(capsys))
    assert len(done) == 9
    cost = load_target(tmp_path / "my-board.yaml").target.cost
    assert cost is not None and cost.runtime_doubt.upper == 1.1, "its rows are of the runtime that runs artifacts"
    never = next(one for one in cost.fit if one.use == "never fitted")
    assert never.n == 3 and never.median_ape < 0.1

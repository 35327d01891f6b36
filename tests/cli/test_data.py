"""`budgetc data check`: text for people, JSON for programs, exit codes."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.load.drawing import draw, draw_category
from tests.load.test_bad_data import BAD


def test_data_check_prints_every_section(budgetc: Command, data: Path) -> None:
    """What is there, what to look at, whether more helps, what to photograph."""
    ended = budgetc("data", "check", data)
    assert ended.code == 0, ended.err
    assert f"{data}: accepted" in ended.out
    for section in (
        "What to look at",
        "Enough normals?",
        "Without any detector",
        "can certify",
        "What to photograph next",
    ):
        assert section in ended.out


def test_data_check_json_is_one_object(budgetc: Command, data: Path) -> None:
    """With a schema version."""
    found = json.loads(budgetc("data", "check", data, "--json").out)
    assert (found["schema_version"], found["accepted"], found["refusal"]) == (1, True, None)
    assert {one["split"] for control in found["controls"] if (one := control["auroc"])} == {"selection"}


def test_refused_data_is_looked_over_and_exits_4(budgetc: Command, tmp_path: Path) -> None:
    """The result on stdout, the reason on stderr."""
    shutil.rmtree(draw_category(tmp_path, train=4) / "test")
    ended = budgetc("data", "check", tmp_path)
    assert ended.code == 4
    assert "not accepted" in ended.out
    assert "anomalies: without them an AUROC is of synthetic ones" in ended.out
    assert "budgetc would not compile with this data" in ended.err


def test_every_file_of_a_finding_is_named_when_asked(budgetc: Command, tmp_path: Path) -> None:
    """Three by default."""
    draw_category(tmp_path)
    for number in range(5):
        shutil.copy(tmp_path / "train" / "good" / "0001.png", tmp_path / "train" / "good" / f"copy{number}.png")
    assert "copy4.png" not in budgetc("data", "check", tmp_path).out
    assert "copy4.png" in budgetc("data", "check", tmp_path, "--files").out


@pytest.mark.parametrize("harm", [harm for harm, _ in BAD], ids=lambda harm: harm.__name__)
def test_bad_data_exits_4(budgetc: Command, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """Whatever is wrong, `data check` and `train` say the same of it; nothing is written."""
    root, model = draw_category(tmp_path / "data"), tmp_path / "model.pt"
    harm(root)
    said = []
    for line in (("data", "check", root), ("train", "vae", "--data", root, "--input-size", "32", "-o", model)):
        ended = budgetc(*line)
        assert ended.code == 4, ended.err
        said.append(ended.err.removeprefix("error: ").removeprefix("budgetc would not compile with this data: "))
    assert said[0] == said[1]
    assert not model.exists()


def test_a_name_that_is_no_text(budgetc: Command, tmp_path: Path) -> None:
    """Is refused and named like a damaged file; the others are looked over."""
    draw(draw_category(tmp_path) / "train" / "good" / os.fsdecode(b"caf\xe9.png"), 5)
    ended = budgetc("data", "check", tmp_path)
    assert ended.code == 4, ended.err
    assert "not accepted" in ended.out and r"caf\udce9.png" in ended.out
    assert "is not UTF-8; rename the file" in ended.err


def test_nothing_there_exits_2(budgetc: Command, tmp_path: Path) -> None:
    """A typo in the path."""
    assert budgetc("data", "check", tmp_path / "nowhere").code == 2


def test_help_documents_the_exit_codes(budgetc: Command) -> None:
    """Findings alone are no failure."""
    assert "0 budgetc compiles with this data" in budgetc("data", "check", "--help").out


def test_normals_alone_are_told_what_they_cannot_show(budgetc: Command, tmp_path: Path) -> None:
    """Accepted; the key that accepts synthetic anomalies is named, and how many normals it takes."""
    shutil.rmtree(draw_category(tmp_path, train=20) / "test")
    ended = budgetc("data", "check", tmp_path)
    assert ended.code == 0, ended.err
    assert "Without real anomalies" in ended.out
    assert "stays inconclusive (exit code 5) unless the budget says `auroc: {evidence: proxy}`" in ended.out
    assert "98 would tell it from 10 %: about 545 normals of other parts in all" in ended.out

"""The command line, and things to point it at."""

from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.load.drawing import draw_category
from tests.report.example import described, write_out


@pytest.fixture
def budgetc(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, its streams kept apart."""
    return Command(capsys)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An artifact whose report is compliant; its graph is no ONNX file."""
    out = tmp_path / "out"
    write_out(out, described)
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny data set of one category."""
    return draw_category(tmp_path_factory.mktemp("data") / "brick", train=30, good=12, scratch=12)

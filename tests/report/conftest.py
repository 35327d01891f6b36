"""The example report, and the directory it describes."""

from pathlib import Path

import pytest

from budgetc.report.schema import Report
from tests.report.example import described, make_report, write_out


@pytest.fixture
def report() -> Report:
    """Compliant."""
    return make_report()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A whole artifact on disk, in a place with a space and an umlaut in its name."""
    out = tmp_path / "Prüf out"
    write_out(out, described)
    return out

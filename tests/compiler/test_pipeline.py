"""What the steps of a compilation hand on."""

from pathlib import Path

import pytest

from budgetc.compiler import pipeline
from budgetc.compiler.inputs import Inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.core.budget import Budget
from budgetc.store.run_directory import RunDirectory
from tests.small import dataset, small_stfpm, target


def test_trainings_of_older_code_are_not_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key of every training holds the number that is raised when the same inputs give other numbers."""
    budget = Budget.model_validate({"target": "test-cpu", "limits": {"artifact_size": "1 MiB"}})
    inputs = Inputs(Path("m.pt"), small_stfpm(), budget, Path("b.yaml"), target(), (), dataset(), {})
    with RunDirectory.open(tmp_path / "run") as run:
        here = make_workshop(inputs, run).key
        assert make_workshop(inputs, run).key == here
        monkeypatch.setattr(pipeline, "RESULTS", -1)
        assert make_workshop(inputs, run).key != here

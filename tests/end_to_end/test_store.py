"""One store for several runs, and runs that are killed: nothing is done twice, nothing is lost, nothing changes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from budgetc.compiler.pipeline import compile_detector, run_path
from budgetc.errors import UsageError
from budgetc.report.schema import Report
from budgetc.store.events import LOG, Event, parse_log

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case with budgets for a board whose costs are predicted: nothing is timed."""
    folder = tmp_path_factory.mktemp("stored")
    for name in ("tiny.yaml", "data.npz", "stfpm.pt"):
        shutil.copy(case / name, folder / name)
    text = (case / "budget.yaml").read_text().replace("target: host-cpu", "target: jetson-nano-cpu")
    text = f"evidence: predicted\n{text}"
    (folder / "tight.yaml").write_text(text)
    (folder / "loose.yaml").write_text(text.replace("min: 0.6", "min: 0.58").replace("64 KiB", "60 KiB"))
    return folder


def compiled(folder: Path, budget: str, out: str) -> Report:
    return compile_detector(folder / "stfpm.pt", budget=folder / budget, out=folder / out, store=folder / "store")


def events(folder: Path, out: str) -> list[Event]:
    return list(parse_log((run_path(folder / out) / LOG).read_bytes()).events)


@pytest.fixture(scope="module")
def first(folder: Path) -> Report:
    """The first compilation of the store."""
    return compiled(folder, "tight.yaml", "first")


def test_another_budget_trains_nothing_that_is_known(folder: Path, first: Report) -> None:
    """Other limits, another output directory, the same store: every training, file and score is there already."""
    second = compiled(folder, "loose.yaml", "second")
    trainings = [event.data["anew"] for event in events(folder, "second") if event.event == "training"]
    assert first.search.trainings > 0
    assert trainings and not any(trainings)
    assert second.outputs["model.onnx"] == first.outputs["model.onnx"]
    assert second.confirmation_uses == first.confirmation_uses + 1


def test_the_same_again_is_the_same_again(folder: Path, first: Report) -> None:
    """Another place, the same inputs: the same bytes, and no second use of the confirmation split."""
    again = compiled(folder, "tight.yaml", "elsewhere")
    assert {name: digest for name, digest in again.outputs.items() if not name.startswith("report")} == {
        name: digest for name, digest in first.outputs.items() if not name.startswith("report")
    }
    assert again.artifact == first.artifact
    assert [record.model_copy(update={"trail": ()}) for record in again.candidates] == [
        record.model_copy(update={"trail": ()}) for record in first.candidates
    ]


def test_resume_needs_a_run(folder: Path) -> None:
    """There is nothing to go on with, and the sentence says what to leave out."""
    with pytest.raises(UsageError, match=r"--resume: there is no run directory .*nothing\.run; leave --resume out"):
        compile_detector(folder / "stfpm.pt", budget=folder / "tight.yaml", out=folder / "nothing", resume=True)
    assert not run_path(folder / "nothing").exists()


def test_resume_refuses_other_inputs(folder: Path, first: Report) -> None:
    """Every input that differs is named, the store among them; the artifact that is there stays."""
    before = (folder / "first" / "report.json").read_bytes()
    said = r"started with other inputs: budget was [0-9a-f]{12}, is [0-9a-f]{12}; store was .*/store, is in the run"
    with pytest.raises(UsageError, match=said):
        compile_detector(folder / "stfpm.pt", budget=folder / "loose.yaml", out=folder / "first", resume=True)
    assert (folder / "first" / "report.json").read_bytes() == before


def test_resume_goes_on_with_the_same_inputs(folder: Path, first: Report) -> None:
    """A run that was complete ends as it did."""
    again = compile_detector(
        folder / "stfpm.pt", budget=folder / "tight.yaml", out=folder / "first", store=folder / "store", resume=True
    )
    assert again.outputs["model.onnx"] == first.outputs["model.onnx"]


def test_a_store_in_the_artifact_is_refused(folder: Path) -> None:
    """OUT holds the artifact and nothing else."""
    with pytest.raises(UsageError, match=r"lies in .*, which holds the artifact only"):
        compile_detector(
            folder / "stfpm.pt", budget=folder / "tight.yaml", out=folder / "new", store=folder / "new" / "store"
        )


def test_garbage_in_every_entry_heals(folder: Path, first: Report) -> None:
    """A store whose entries were all destroyed costs time, and gives the same artifact."""
    shutil.copytree(folder / "store", folder / "ruined")
    for entry in (folder / "ruined" / "results").glob("*/*"):
        entry.write_bytes(b"garbage")
    again = compile_detector(
        folder / "stfpm.pt", budget=folder / "tight.yaml", out=folder / "healed", store=folder / "ruined"
    )
    assert again.outputs["model.onnx"] == first.outputs["model.onnx"]
    assert any(event.event == "result damaged" for event in events(folder, "healed"))


def test_kills_do_not_change_the_artifact() -> None:
    """Killed five times at random moments and resumed: the digest of an undisturbed run."""
    line = [sys.executable, "benchmarks/resume.py", "--quick", "--predicted"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(row) for row in done.stdout.splitlines()]
    assert [row["bar"].startswith("resume: ") for row in figures] == [True] * 3
    assert all(row["ok"] for row in figures), figures

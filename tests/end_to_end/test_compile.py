"""The user's command on a small, real case: what it writes, what it prints, how it ends."""

import csv
import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from budgetc.core.dataset import SPLITS
from budgetc.core.layout import DEVICE_ENGINE, DEVICE_FLOW, OUT_FILES
from budgetc.detectors.detector import score_images
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.runtime.artifact import load_artifact
from budgetc.store.run_directory import RunDirectory
from tests.end_to_end.command import COMMAND, budgetc


@pytest.fixture(scope="module")
def compiled(case: Path) -> subprocess.CompletedProcess[str]:
    """One compilation of the STFPM detector to `case/out`."""
    return budgetc("compile", "stfpm.pt", "--budget", "budget.yaml", "-o", "out", cwd=case)


def test_compiles_to_an_artifact_that_keeps_the_budget(case: Path, compiled: subprocess.CompletedProcess[str]) -> None:
    """FP32 and plain PTQ are too large; something smaller complies, and OUT holds the artifact and nothing else."""
    assert compiled.returncode == 0, compiled.stderr
    found = {path.relative_to(case / "out").as_posix() for path in (case / "out").rglob("*") if path.is_file()}
    assert found == OUT_FILES - {DEVICE_ENGINE, DEVICE_FLOW}
    report = json.loads((case / "out" / "report.json").read_text())
    sizes = {row["id"]: row["artifact_size"] for row in report["candidates"]}
    assert (
        sizes[report["chosen"]]
        <= 64 * 1024
        < min(row["artifact_size"] for row in report["candidates"] if row["plan"]["recipe"] == "none")
    )
    assert all(row["reason"] for row in report["candidates"])


def test_the_page_shows_every_step_of_the_choice(case: Path, compiled: subprocess.CompletedProcess[str]) -> None:
    """With its numbers in report.json; pictures come from arrays as well as from files."""
    report = json.loads((case / "out" / "report.json").read_text())
    shown = report["exhibits"]
    chosen = next(row for row in report["candidates"] if row["id"] == report["chosen"])
    assert shown["missing"] == []
    assert len(shown["stages"]) == 1 + len(chosen["plan"]["steps"])
    assert shown["stages"][-1]["artifact_size"] == sum(report["artifact"]["files"].values())
    assert len(shown["pictures"]) == report["splits"]["confirmation"]["good"] + report["splits"]["confirmation"]["bad"]
    page = (case / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") >= 3
    assert f"page: {Path('out') / 'report.html'}" in compiled.stdout


def test_price_was_exact(case: Path, compiled: subprocess.CompletedProcess[str]) -> None:
    """The bytes of the untrained structure are those of the artifact."""
    chosen = json.loads((case / "out" / "report.json").read_text())["chosen"]
    untrained = case / "out.run" / "candidates" / chosen / "untrained"
    for name in ("model.onnx", "artifact.json"):
        assert (untrained / name).stat().st_size == (case / "out" / name).stat().st_size


def test_verify_and_check_hold(case: Path, compiled: subprocess.CompletedProcess[str]) -> None:
    """Somebody who trusts nobody can check the artifact again."""
    assert budgetc("verify", "out", cwd=case).returncode == 0
    assert budgetc("check", "out", "--budget", "budget.yaml", cwd=case).returncode == 0


def test_an_artifact_scores_like_torch(case: Path, compiled: subprocess.CompletedProcess[str]) -> None:
    """The baseline's file gives PyTorch's scores on 140 images."""
    detector = load_model(case / "stfpm.pt").detector
    dataset = load_dataset(case / "data.npz")
    images = np.concatenate([dataset.images(split, (32, 32)) for split in SPLITS])
    assert len(images) == 140
    unchanged = next(
        row["id"]
        for row in json.loads((case / "out" / "report.json").read_text())["candidates"]
        if row["plan"]["recipe"] == "none"
    )
    artifact = load_artifact(case / "out.run" / "candidates" / unchanged / "trained")
    exported = np.array([artifact.score_pixels(pixels).score for pixels in images])
    reference = score_images(detector.deployed(), images)
    assert np.abs(exported - reference).max() <= 1e-4 * np.ptp(reference)


@pytest.mark.slow
def test_a_second_run_takes_its_trainings_from_the_store(
    case: Path, compiled: subprocess.CompletedProcess[str]
) -> None:
    """Same inputs, same store: the same choice and the same bytes."""
    before = json.loads((case / "out" / "report.json").read_text())
    again = budgetc("compile", "stfpm.pt", "--budget", "budget.yaml", "-o", "out", cwd=case)
    assert again.returncode == 0, again.stderr
    after = json.loads((case / "out" / "report.json").read_text())
    assert after["chosen"] == before["chosen"]
    assert after["outputs"]["model.onnx"] == before["outputs"]["model.onnx"]
    assert after["confirmation_uses"] == 1


def test_controls_stand_beside_the_auroc(case: Path, compiled: subprocess.CompletedProcess[str]) -> None:
    """In the log, in the report, on the terminal; a detector that does not beat them is called so."""
    assert "controls: image size not applicable" in compiled.stderr
    assert "control: image statistics" in compiled.stdout
    report = json.loads((case / "out" / "report.json").read_text())
    statistics = report["controls"][1]
    assert statistics["auroc"]["split"] == "confirmation"
    gaps = {name: gap["value"] for name, gap in statistics["gaps"].items()}
    worthless = [name for name, gap in gaps.items() if gap < 0.05]
    assert [name for name in gaps if any(f"of the {name} on" in one for one in report["warnings"])] == worthless


def test_evaluate_writes_scores(case: Path, compiled: subprocess.CompletedProcess[str]) -> None:
    """The CSV names file, group, label and score of every test image, and the JSON is one object."""
    done = budgetc("evaluate", "out", "--data", "data.npz", "--scores", "scores.csv", "--json", cwd=case)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert 0.5 < result["quality"]["auroc_mean"]["value"] <= 1
    size, statistics = result["controls"]
    assert size["reason"] == "not applicable: all pictures have one size"
    assert statistics["gaps"]["detector"]["value"] == pytest.approx(
        result["quality"]["auroc_mean"]["value"] - statistics["auroc"]["value"]
    )
    with (case / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == {"file", "group", "label", "score"}
    assert len(rows) == 80


def test_plan_trains_nothing(case: Path) -> None:
    """The dry run says what fits, and how many images a certificate needs."""
    done = budgetc("plan", "stfpm.pt", "--budget", "budget.yaml", "--json", cwd=case)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["keep_size"] >= 1
    assert result["smallest_feasible"]
    assert not any(row["auroc"] for row in result["candidates"])


def changed(case: Path, folder: Path, **replace: str) -> Path:
    """A copy of the case's budget with words replaced."""
    for name in ("tiny.yaml", "data.npz", "stfpm.pt"):
        shutil.copy(case / name, folder / name)
    text = (case / "budget.yaml").read_text()
    for old, new in replace.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "budget.yaml").write_text(text)
    return folder


def test_an_impossible_budget_is_exit_3(case: Path, tmp_path: Path) -> None:
    """Nothing can be that small: said before any training, with the report kept and no artifact."""
    folder = changed(case, tmp_path, **{"64 KiB": "1 KiB"})
    done = budgetc("compile", "stfpm.pt", "--budget", "budget.yaml", "-o", "out", cwd=folder)
    assert done.returncode == 3
    assert "No candidate keeps budget" in done.stderr
    assert "Traceback" not in done.stderr
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["search"]["trainings"] == 0
    assert not (folder / "out" / "model.onnx").exists()


def test_only_anomalies_is_exit_4(case: Path, tmp_path: Path) -> None:
    """A test part without normals cannot judge anything."""
    folder = changed(case, tmp_path)
    arrays = dict(np.load(folder / "data.npz"))
    arrays["test_label"] = np.ones(80, np.int64)
    np.savez(folder / "data.npz", **arrays)
    done = budgetc("compile", "stfpm.pt", "--budget", "budget.yaml", "-o", "out", cwd=folder)
    assert done.returncode == 4, done.stderr
    assert not (folder / "out").exists()
    assert not (folder / "out.run").exists()


def test_a_group_in_two_splits_is_exit_4(case: Path, tmp_path: Path) -> None:
    """One part in train and in test would be tested on what was learned."""
    folder = changed(case, tmp_path)
    arrays = dict(np.load(folder / "data.npz"))
    arrays["test_group"][0] = arrays["train_group"][0]
    np.savez(folder / "data.npz", **arrays)
    done = budgetc("compile", "stfpm.pt", "--budget", "budget.yaml", "-o", "out", cwd=folder)
    assert done.returncode == 4, done.stderr
    assert "n0" in done.stderr


def test_a_second_process_on_the_run_is_exit_7(case: Path, tmp_path: Path) -> None:
    """Two processes never write one run."""
    folder = changed(case, tmp_path)
    with RunDirectory.open(folder / "out.run"):
        done = budgetc("compile", "stfpm.pt", "--budget", "budget.yaml", "-o", "out", cwd=folder)
    assert done.returncode == 7, done.stderr
    assert "works in this run directory" in done.stderr


def test_ctrl_c_is_exit_130_and_leaves_a_partial_report(case: Path, tmp_path: Path) -> None:
    """A stopped run writes no artifact, and its report says that nothing is compliant."""
    folder = changed(case, tmp_path, **{"time: 5 min": "time: 5 min, seed: 7"})
    line = [*COMMAND, "compile", "stfpm.pt", "--budget", "budget.yaml", "-o", "out"]
    with subprocess.Popen(line, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for sentence in process.stderr:
            if "structures" in sentence:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130, rest
    assert "Traceback" not in rest
    assert not (folder / "out").exists()
    report = json.loads((folder / "out.run" / "report.json").read_text())
    assert report["complete"] is False
    assert report["verdict"] is None
    page = (folder / "out.run" / "report.html").read_text(encoding="utf-8")
    assert "stopped before the end, so nothing is compliant" in page


@pytest.mark.slow
def test_a_vae_compiles_to_its_encoder(case: Path, tmp_path: Path) -> None:
    """The other family takes the same road; its artifact holds no decoder."""
    folder = changed(case, tmp_path, **{"min: 0.6": "max_drop: 0.2", "64 KiB": "48 KiB"})
    shutil.copy(case / "vae.pt", folder / "vae.pt")
    done = budgetc("compile", "vae.pt", "--budget", "budget.yaml", "-o", "out", cwd=folder)
    assert done.returncode in (0, 3), done.stderr
    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["artifact"] is not None
    whole = sum(weight.numel() for weight in torch.load(folder / "vae.pt", weights_only=True)["state_dict"].values())
    assert report["baseline"]["parameters"] < 0.7 * whole
    assert report["exhibits"]["missing"] == []
    assert all(stage["divergence"] is not None for stage in report["exhibits"]["stages"])

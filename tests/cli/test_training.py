"""`train`, `import`, `evaluate`, `inspect`, `compile`, `plan` on a detector of seconds."""

import csv
import json
from pathlib import Path

import pytest
import torch

from budgetc.cli.compiling import report_code, verdict_words
from budgetc.compiler.untrained import new_stfpm
from budgetc.core.session import SessionOptions
from budgetc.detectors.stfpm import Stfpm
from tests.cli.command import Command
from tests.report.example import make_report

TINY_VAE = ("--widths", "4,4", "--hidden", "none", "--latents", "2", "--input-size", "32x48", "--epochs", "2")
IMPOSSIBLE = "target: host-cpu\nlimits: {artifact_size: 1 KiB}\nsearch: {recipes: [quantize], trainings: 1}\n"


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained VAE."""
    from budgetc.cli.main import main

    path = tmp_path_factory.mktemp("model") / "model.pt"
    assert main(["train", "vae", "--data", str(data), "-o", str(path), *TINY_VAE]) == 0
    return path


def test_train_says_what_it_did(budgetc: Command, data: Path, tmp_path: Path) -> None:
    """`train --json` gives losses, epochs, threshold and bytes; the same seed gives the same threshold."""
    found = []
    for name in ("one.pt", "two.pt"):
        ended = budgetc("train", "vae", "--data", data, "-o", tmp_path / name, *TINY_VAE, "--json")
        assert (ended.code, ended.err) == (0, "")
        found.append(json.loads(ended.out))
    assert found[0]["size_bytes"] == (tmp_path / "one.pt").stat().st_size
    assert found[0]["epochs"] == 2
    assert found[0]["held_out_loss"] > 0
    assert found[0]["training_images"] + found[0]["calibration_images"] == 30
    assert found[0]["threshold"] == found[1]["threshold"]


def test_a_vae_can_be_scored_by_clusters(budgetc: Command, data: Path, tmp_path: Path) -> None:
    """`--prototypes`, `--beta` and `--variants` reach the detector and its training."""
    given = ("--prototypes", "3", "--beta", "0.5", "--variants", "2")
    assert budgetc("train", "vae", "--data", data, "-o", tmp_path / "m.pt", *TINY_VAE, *given).code == 0
    config = json.loads(budgetc("inspect", tmp_path / "m.pt", "--json").out)["config"]
    assert (config["prototypes"], config["beta"]) == (3, 0.5)


def test_train_never_reads_test_labels(budgetc: Command, data: Path, tmp_path: Path) -> None:
    """The figures that `train` prints are of normals: there is no AUROC among them."""
    ended = budgetc("train", "stfpm", "--data", data, "-o", tmp_path / "m.pt", "--teacher", "plain",
                    "--teacher-widths", "4,4,8,8", "--student-widths", "4,4,4,4", "--input-size", "32",
                    "--epochs", "1")  # fmt: skip
    assert ended.code == 0, ended.err
    assert "held-out loss" in ended.out and "threshold" in ended.out
    assert "AUROC" not in ended.out


def test_reverse_distillation_takes_its_options(budgetc: Command, data: Path, tmp_path: Path) -> None:
    """They reach its configuration; a form that does not exist is refused."""
    model = tmp_path / "m.pt"
    tiny = ("--teacher", "plain", "--teacher-widths", "4,4,8,8", "--input-size", "32", "--epochs", "1")
    given = ("--student-widths", "8,8,8", "--upsampling", "transposed", "--smoothing", "0.5")
    ended = budgetc("train", "reverse_distillation", "--data", data, "-o", model, *tiny, *given)
    assert ended.code == 0, ended.err
    config = json.loads(budgetc("inspect", model, "--json").out)["config"]
    assert (config["widths"], config["upsampling"], config["smoothing"]) == ([8, 8, 8], "transposed", 0.5)
    refused = budgetc("train", "reverse_distillation", "--data", data, "-o", model, "--upsampling", "nearest")
    assert refused.code == 2 and "'transposed', 'subpixel'" in refused.err


def test_a_gaussian_of_a_plain_backbone(budgetc: Command, data: Path, tmp_path: Path) -> None:
    """Its widths are an option; what is fitted in one pass is not said to have run epochs."""
    model = tmp_path / "m.pt"
    line = ("train", "gaussian", "--data", data, "-o", model, "--input-size", "32", "--teacher", "plain")
    ended = budgetc(*line, "--teacher-widths", "4,4,8,8")
    assert ended.code == 0, ended.err
    assert "fitted to" in ended.out and "epoch" not in ended.out
    assert json.loads(budgetc("inspect", model, "--json").out)["config"]["backbone"]["widths"] == [4, 4, 8, 8]


def test_efficientad_takes_its_options(budgetc: Command, data: Path, tmp_path: Path) -> None:
    """Widths reach its configuration; a teacher that knows nothing, and widths beside a finished one, are refused."""
    model, weights = tmp_path / "m.pt", tmp_path / "pdn.pth"
    given = ("--input-size", "32", "--epochs", "1", "--student-widths", "4,8,8", "--variants", "1")
    ended = budgetc("train", "efficientad", "--data", data, "-o", model, "--teacher-weights", "none",
                    "--teacher-widths", "4,4,8,8", *given)  # fmt: skip
    assert ended.code == 0, ended.err
    config = json.loads(budgetc("inspect", model, "--json").out)["config"]
    assert (config["teacher"], config["student"], config["padding"]) == ([4, 4, 8, 8], [4, 8, 8], True)
    refused = budgetc("train", "efficientad", "--data", data, "-o", model, "--teacher", "plain")
    assert refused.code == 2 and "'plain' is not one of" in refused.err
    shapes = {"conv1": (4, 3, 4, 4), "conv2": (6, 4, 4, 4), "conv3": (6, 6, 3, 3), "conv4": (10, 6, 4, 4)}
    finished = {f"{name}.weight": torch.rand(shape) for name, shape in shapes.items()}
    torch.save(finished | {f"{name}.bias": torch.rand(shape[0]) for name, shape in shapes.items()}, weights)
    ended = budgetc("train", "efficientad", "--data", data, "-o", model, "--teacher-weights", weights, *given)
    assert ended.code == 0, ended.err
    assert json.loads(budgetc("inspect", model, "--json").out)["config"]["teacher"] == [4, 6, 6, 10]
    refused = budgetc("train", "efficientad", "--data", data, "-o", model, "--teacher-weights", weights,
                      "--teacher-widths", "4,4,8,8")  # fmt: skip
    assert refused.code == 2 and "holds a finished teacher" in refused.err


def test_inspect_of_a_bundle(budgetc: Command, model: Path) -> None:
    """`inspect` of a bundle lists family, configuration, parameters and layers."""
    found = json.loads(budgetc("inspect", model, "--json").out)
    assert (found["detector"], found["config"]["input_size"]) == ("vae", [32, 48])
    assert [one["shape"] for one in found["layers"] if one["name"] == "encoder.mu"] == [[2, 4 * 8 * 12]]
    assert "family" not in found and found["threshold"] is not None
    assert "32x48" in budgetc("inspect", model).out


def test_evaluate_writes_scores(budgetc: Command, model: Path, data: Path, tmp_path: Path) -> None:
    """`evaluate --scores` writes a row a test picture; AUROC and false alarms go to stdout."""
    path = tmp_path / "scores.csv"
    ended = budgetc("evaluate", model, "--data", data, "--scores", path)
    assert ended.code == 0, ended.err
    assert "AUROC, pooled" in ended.out and "false-positive rate" in ended.out
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert set(rows[0]) == {"file", "group", "label", "score"}


def test_evaluate_as_json(budgetc: Command, model: Path, data: Path) -> None:
    """`evaluate --json` is one object with the threshold of the bundle."""
    found = json.loads(budgetc("evaluate", model, "--data", data, "--json").out)
    trained = json.loads(budgetc("inspect", model, "--json").out)
    assert found["quality"]["threshold"] == trained["threshold"]
    assert found["schema_version"] == 1


def test_import_makes_a_bundle(budgetc: Command, model: Path, tmp_path: Path) -> None:
    """`import` of a plain state_dict gives a bundle that `inspect` reads."""
    weights, bundle = tmp_path / "weights.pt", tmp_path / "imported.pt"
    torch.save(torch.load(model, weights_only=True)["state_dict"], weights)
    ended = budgetc("import", weights, "--detector", "vae", "--input-size", "32x48", "-o", bundle)
    assert ended.code == 0, ended.err
    assert "note: " in ended.err
    assert json.loads(budgetc("inspect", bundle, "--json").out)["detector"] == "vae"


def test_teacher_weights_are_the_file_s(tmp_path: Path) -> None:
    """A plain teacher takes the weights of a file of its own names."""
    widths = {"teacher": "plain", "teacher_widths": (4, 4, 8, 8), "student_widths": (4, 4, 4, 4)}
    first = new_stfpm((32, 32), **widths, seed=1).module  # type: ignore[arg-type]
    assert isinstance(first, Stfpm)
    path = tmp_path / "teacher.pt"
    torch.save(first.teacher.state_dict(), path)
    second = new_stfpm((32, 32), **widths, seed=2, teacher_weights=path).module  # type: ignore[arg-type]
    assert isinstance(second, Stfpm)
    ours, theirs = (dict(module.teacher.named_parameters()) for module in (second, first))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not torch.equal(next(second.student.parameters()), next(first.student.parameters()))


def test_exit_code_of_a_report() -> None:
    """0 when compliant; 3 when nothing was built, it is not compliant, or the run was stopped; 5 when unsure."""
    report = make_report()
    assert report.verdict is not None
    codes = {"compliant": 0, "compliant (predicted)": 0, "not compliant": 3, "inconclusive": 5}
    for overall, code in codes.items():
        verdict = report.verdict.model_copy(update={"overall": overall})
        assert report_code(report.model_copy(update={"verdict": verdict})) == code
    assert report_code(report.model_copy(update={"verdict": None})) == 3
    assert report_code(report.model_copy(update={"complete": False})) == 3


def test_an_install_step_is_printed() -> None:
    """After a search, with the directory that was written; nothing where the artifact needs none."""
    artifact = make_report().artifact
    assert artifact is not None
    session = SessionOptions(preoptimized=True)
    words = verdict_words(make_report(artifact=artifact.model_copy(update={"session": session})), Path("out"))
    assert words.splitlines()[-1].startswith("first: budgetc install out ")
    assert "install" not in verdict_words(make_report(), Path("out"))


@pytest.mark.slow
def test_impossible_budget(budgetc: Command, model: Path, data: Path, tmp_path: Path) -> None:
    """`compile` against an impossible budget exits 3: table on stdout, the nearest miss on stderr, a report on disk."""
    budget, out = tmp_path / "impossible.yaml", tmp_path / "out"
    budget.write_text(IMPOSSIBLE)
    ended = budgetc("compile", model, "--budget", budget, "--data", data, "-o", out)
    assert ended.code == 3
    assert "No candidate keeps impossible" in ended.err and "Try" in ended.err
    assert "No candidate" not in ended.out
    assert ended.out.rstrip().endswith(f"report: {out / 'report.md'}")
    assert (out / "report.md").is_file()
    assert f"page: {out / 'report.html'}" in ended.out
    assert budgetc("verify", out).code == 3


@pytest.mark.slow
def test_plan_of_an_impossible_budget(budgetc: Command, model: Path, data: Path, tmp_path: Path) -> None:
    """`plan` exits 3 where no structure fits, and `-o` writes what `--json` prints."""
    budget, plan = tmp_path / "impossible.yaml", tmp_path / "plan.json"
    budget.write_text(IMPOSSIBLE)
    ended = budgetc("plan", model, "--budget", budget, "--data", data, "-o", plan, "--json")
    assert ended.code == 3
    found = json.loads(ended.out)
    assert found == json.loads(plan.read_text())
    assert found["smallest_feasible"] is None and found["schema_version"] == 1
    assert "No structure keeps" in ended.err

"""Inputs that cannot be meant: the exit code, and a sentence that says what to do."""

import pickle
from pathlib import Path

import pytest
import torch

from budgetc.cli.trainable import TRAINABLE
from tests.cli.command import Command

BUDGET = "target: host-cpu\nlimits:\n  artifact_size: 1 MiB\n"


@pytest.fixture
def budget(tmp_path: Path) -> Path:
    """A valid budget that names no data."""
    path = tmp_path / "budget.yaml"
    path.write_text(BUDGET)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a tiny untrained detector."""
    from budgetc.compiler.training import save_bundle
    from budgetc.compiler.untrained import new_vae

    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_bundle(new_vae((32, 32), widths=(4,), hidden=(), latents=2), path)
    return path


def test_unknown_budget(budgetc: Command) -> None:
    """An unknown budget exits 2 and lists the known ones."""
    ended = budgetc("compile", "model.pt", "--budget", "hots-cpu")
    assert (ended.code, ended.out) == (2, "")
    assert "error: unknown budget 'hots-cpu'" in ended.err
    assert "did you mean 'host-cpu'" in ended.err


def test_misspelt_key(budgetc: Command, tmp_path: Path) -> None:
    """A key that no budget has exits 2 and names the file, the key and the right one."""
    path = tmp_path / "typo.yaml"
    path.write_text(BUDGET.replace("artifact_size", "artefact_size"))
    ended = budgetc("compile", "model.pt", "--budget", path)
    assert ended.code == 2
    assert "typo.yaml" in ended.err
    assert "artefact_size" in ended.err
    assert "'artifact_size'" in ended.err


def test_no_data(budgetc: Command, model: Path, budget: Path) -> None:
    """A budget without data, and no --data, exits 2 and says how to name it; nothing is written."""
    ended = budgetc("compile", model, "--budget", budget)
    assert ended.code == 2
    assert "--data" in ended.err
    assert [path.name for path in model.parent.iterdir()] == ["model.pt"]


def test_missing_data_folder(budgetc: Command, model: Path, budget: Path) -> None:
    """A data set that is not there exits 2."""
    ended = budgetc("compile", model, "--budget", budget, "--data", "nowhere")
    assert ended.code == 2
    assert "nowhere does not exist" in ended.err


def test_pickled_model(budgetc: Command, tmp_path: Path, budget: Path, data: Path) -> None:
    """A model file that holds Python objects is refused with exit 4 and never run."""
    path = tmp_path / "model.pt"
    torch.save({"format": "budgetc/1", "detector": Path("x")}, path)
    ended = budgetc("compile", path, "--budget", budget, "--data", data)
    assert ended.code == 4
    assert "contains Python objects or code" in ended.err
    path.write_bytes(pickle.dumps({"a": Path("x")}))
    assert budgetc("inspect", path).code == 4


def test_truncated_model(budgetc: Command, model: Path, tmp_path: Path, budget: Path, data: Path) -> None:
    """Half a bundle exits 4 and says that it is damaged."""
    path = tmp_path / "half.pt"
    path.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    ended = budgetc("compile", path, "--budget", budget, "--data", data)
    assert ended.code == 4
    assert "truncated or damaged" in ended.err


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\x89HDF\r\n\x1a\n", "expected a model.pt bundle or an .onnx file, or for budgetc import a state_dict"),
     ((2).to_bytes(8, "little") + b"{}" + b"x", "truncated or damaged, or not saved by safetensors")],
)  # fmt: skip
def test_files_of_other_kinds(
    budgetc: Command, tmp_path: Path, budget: Path, data: Path, content: bytes, said: str
) -> None:
    """What can be given instead is in the sentence."""
    (tmp_path / "model.bin").write_bytes(content)
    ended = budgetc("compile", tmp_path / "model.bin", "--budget", budget, "--data", data)
    assert ended.code == 4
    assert said in ended.err


def test_plain_state_dict_names_the_import_line(budgetc: Command, tmp_path: Path, budget: Path, data: Path) -> None:
    """A state_dict exits 4 and prints the line that makes a bundle of it."""
    path = tmp_path / "weights.pt"
    torch.save({"fc_logvar.weight": torch.zeros(2, 2)}, path)
    ended = budgetc("compile", path, "--budget", budget, "--data", data)
    assert ended.code == 4
    assert f"budgetc import {path} --detector vae -o model.pt" in ended.err


def test_unknown_target(budgetc: Command, model: Path) -> None:
    """`measure` on an unknown target exits 2 and lists the known ones."""
    ended = budgetc("measure", model, "--target", "host-gpu")
    assert ended.code == 2
    assert "unknown target 'host-gpu'" in ended.err
    assert "host-cpu" in ended.err


@pytest.mark.parametrize("value", ["0", "64x", "6.4", "64x96x3", "-64"])
def test_input_size(budgetc: Command, value: str) -> None:
    """An input size that is none exits 2 and shows how one is written."""
    ended = budgetc("train", "vae", "--data", "nowhere", f"--input-size={value}")
    assert ended.code == 2
    assert "such as 64 or 64x96" in ended.err


@pytest.mark.parametrize(
    ("detector", "option"),
    [("stfpm", "--latents"), ("vae", "--teacher"), ("uninformed_students", "--teacher"), ("flow_vae", "--beta"),
     ("stfpm", "--smoothing"), ("gaussian", "--epochs")],
)  # fmt: skip
def test_options_of_another_detector(budgetc: Command, detector: str, option: str) -> None:
    """An option that would be ignored exits 2, and the detector's own help does not name it."""
    ended = budgetc("train", detector, "--data", "nowhere", option, "4")
    assert (ended.code, f"No such option: {option}" in ended.err) == (2, True)
    assert f"budgetc train {detector} --help" in ended.err
    assert f"{option} " not in budgetc("train", detector, "--help").out


def test_unknown_detector(budgetc: Command) -> None:
    """It exits 2 and names the one that was meant; all are listed, each with the whole of what it is."""
    ended = budgetc("train", "gausian", "--data", "nowhere")
    assert ended.code == 2 and "gaussian" in ended.err
    listed = budgetc("train", "--help").out
    assert all(f"\n  {name} " in listed for name in TRAINABLE) and "..." not in listed.partition("Commands:")[2]


def test_weights_that_fit_into_no_memory(budgetc: Command) -> None:
    """A size with digits too many exits 2."""
    ended = budgetc("train", "vae", "--data", "x", "--latents", "100000000000")
    assert ended.code == 2 and "no such vae" in ended.err and "memory" in ended.err


def test_widths_of_a_published_teacher(budgetc: Command) -> None:
    """Widths for a teacher whose widths are fixed exit 2."""
    ended = budgetc("train", "stfpm", "--data", "nowhere", "--teacher", "resnet18", "--teacher-widths", "8,8,8,8")
    assert ended.code == 2
    assert "--teacher-widths is for --teacher plain" in ended.err


def test_resnet_without_weights(budgetc: Command) -> None:
    """A ResNet teacher without weights exits 2 and says where they are and how to do without."""
    ended = budgetc("train", "stfpm", "--data", "nowhere", "--teacher", "resnet18")
    assert ended.code == 2
    assert "download.pytorch.org" in ended.err
    assert "--teacher-weights none" in ended.err


def test_weights_of_another_network(budgetc: Command, tmp_path: Path) -> None:
    """Weights that are not the teacher's exit 4 and name the keys."""
    path = tmp_path / "weights.pt"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "head.bias": torch.zeros(2)}, path)
    ended = budgetc("train", "stfpm", "--data", "nowhere", "--teacher", "resnet18", "--teacher-weights", path)
    assert ended.code == 4
    assert "missing: bn1.bias" in ended.err
    assert "1 unknown: head.bias" in ended.err


def test_too_few_widths(budgetc: Command) -> None:
    """A student with fewer stages than are compared exits 2."""
    ended = budgetc("train", "stfpm", "--data", "x", "--teacher", "plain", "--student-widths", "8,8")
    assert ended.code == 2
    assert "no such stfpm: taps" in ended.err


@pytest.mark.parametrize(
    ("option", "said"),
    [("--teacher-widths", "teacher_widths: 2 given, a patch network has 4"),
     ("--student-widths", "student_widths: 2 given, a patch network has 3")],
)  # fmt: skip
def test_widths_of_a_patch_network(budgetc: Command, option: str, said: str) -> None:
    """As many as it has layers, or exit 2 with how many that is."""
    ended = budgetc("train", "efficientad", "--data", "x", "--teacher-weights", "none", option, "8,8")
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize("option", ["--teacher-widths", "--descriptor"])
def test_a_finished_patch_network_has_its_own_shape(budgetc: Command, tmp_path: Path, option: str) -> None:
    """What would be ignored is refused."""
    shapes = {"layers.0": (4, 3, 5, 5), "layers.1": (4, 4, 5, 5), "out": (4, 4, 1, 1)}
    torch.save({f"{name}.conv.weight": torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "teacher.pt")
    line = ("train", "uninformed_students", "--data", "x", "--teacher-weights", tmp_path / "teacher.pt")
    ended = budgetc(*line, option, "4")
    assert (ended.code, f"{option}: --teacher-weights holds a finished teacher" in ended.err) == (2, True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_device_that_is_not_there(budgetc: Command, data: Path, tmp_path: Path) -> None:
    """--train-device cuda without CUDA exits 2; so does a device of another name."""
    line = ("train", "vae", "--data", data, "--widths", "4", "--hidden", "none", "-o", tmp_path / "m.pt")
    ended = budgetc(*line, "--train-device", "cuda")
    assert (ended.code, "sees no CUDA device" in ended.err) == (2, True)
    assert budgetc(*line, "--train-device", "tpu").code == 2
    assert not (tmp_path / "m.pt").exists()


@pytest.mark.parametrize("line", [
    ("train", "vae", "--data", "nowhere", "-o", "no/folder/model.pt"),
    ("evaluate", "out", "--data", "nowhere", "--scores", "no/folder/scores.csv"),
    ("plan", "model.pt", "--budget", "host-cpu", "-o", "no/folder/plan.json"),
])  # fmt: skip
def test_output_without_a_folder(budgetc: Command, line: tuple[str, ...]) -> None:
    """A result that could not be written exits 2 before anything is computed."""
    ended = budgetc(*line)
    assert ended.code == 2
    assert "the folder no/folder does not exist" in ended.err


@pytest.mark.parametrize("line", [
    ("evaluate", "out", "--data", "nowhere", "--scores", "/dev/null"),
    ("plan", "model.pt", "--budget", "host-cpu", "-o", "/dev/null"),
])  # fmt: skip
def test_output_that_is_a_device(budgetc: Command, line: tuple[str, ...]) -> None:
    """Results replace the file of that name: a device must not be replaced."""
    ended = budgetc(*line)
    assert ended.code == 2
    assert "/dev/null: is a device, FIFO or socket" in ended.err


def test_import_with_foreign_options(budgetc: Command, model: Path) -> None:
    """`import` refuses options that do not belong to the detector."""
    ended = budgetc("import", model, "--detector", "vae", "--backbone", "resnet18")
    assert ended.code == 2
    assert "this option is for reverse_distillation and stfpm" in ended.err


def test_import_of_a_bundle(budgetc: Command, model: Path, tmp_path: Path) -> None:
    """`import` of a bundle exits 4: it needs no import."""
    ended = budgetc("import", model, "--detector", "vae", "-o", tmp_path / "again.pt")
    assert ended.code == 4
    assert "is a budgetc bundle already" in ended.err
    assert not (tmp_path / "again.pt").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--import", "results.json", "--soak", "3", "--with-load", "4"), "--with-load and --soak"),
     (("--kit", "kit.zip", "--json"), "--kit measures nothing yet")],
)  # fmt: skip
def test_options_that_would_do_nothing(budgetc: Command, options: tuple[str, ...], message: str) -> None:
    """Refused, not ignored."""
    ended = budgetc("measure", "model.pt", *options)
    assert ended.code == 2
    assert message in ended.err

"""`targets`, `recipes`, `schema`, `doctor`."""

import json
from pathlib import Path

import pytest

from budgetc.cli import doctor
from tests.cli.command import Command, run_without
from tests.report.example import make_report


def test_targets_are_listed(budgetc: Command) -> None:
    """`targets list` names what ships, with a description."""
    assert "host-cpu  " in budgetc("targets", "list").out
    found = json.loads(budgetc("targets", "list", "--json").out)
    assert "host-cpu" in [one["name"] for one in found["targets"]]


def test_recipes_are_listed(budgetc: Command) -> None:
    """`recipes list` names what ships, with a description."""
    found = json.loads(budgetc("recipes", "list", "--json").out)
    assert {"quantize", "distill-quantize", "quantize-distill-prune"} <= {one["name"] for one in found["recipes"]}


def test_what_is_shown_can_be_checked(budgetc: Command, tmp_path: Path) -> None:
    """`show` prints a file that `check` accepts once it is saved."""
    for kind, name in (("targets", "host-cpu"), ("recipes", "quantize")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(budgetc(kind, "show", name).out)
        ended = budgetc(kind, "check", path)
        assert (ended.code, ended.err) == (0, "")
        assert f"{path}: a valid" in ended.out


def test_invalid_recipe(budgetc: Command, tmp_path: Path) -> None:
    """`recipes check` of a misspelt setting exits 2 and names it."""
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndescription: d\nsteps:\n  - step: quantize\n    settings: {smaples: 3}\n")
    ended = budgetc("recipes", "check", path)
    assert ended.code == 2
    assert "smaples" in ended.err


def test_schema_is_that_of_the_report(budgetc: Command) -> None:
    """`schema report` prints a JSON Schema that the example report fits."""
    import jsonschema

    found = json.loads(budgetc("schema", "report").out)
    jsonschema.validate(make_report().model_dump(mode="json"), found)
    assert budgetc("schema", "budget").code == 2


def test_doctor_where_something_is_missing() -> None:
    """`doctor` works where torch cannot be imported, and lists what is installed."""
    ended = run_without(("torch", "torch_pruning", "onnx", "scipy"), "doctor", "--quick", "--json")
    assert ended.code in (0, 6), ended.err
    found = json.loads(ended.out)
    assert found["packages"]["typer"] and found["cpu"]["weight_levels"] in (63, 127)
    assert found["integer_kernels"] is None


def test_doctor_sees_integer_kernels(budgetc: Command) -> None:
    """`doctor` quantizes a tiny network and counts the integer kernels that the runtime makes of it."""
    found = json.loads(budgetc("doctor", "--json").out)
    assert found["integer_kernels"] >= 6


def test_doctor_names_what_is_needed() -> None:
    """Each problem says what is wrong and which commands suffer."""
    found = doctor._problems(["torch", "pydantic"], {"memory_measurable": False, "integer_kernels": "none fused"})
    assert [text.split(":")[0] for text in found] == [
        "torch is not installed", "pydantic is not installed", "/proc/self/clear_refs cannot be written",
        "INT8 would not run in integer kernels",
    ]  # fmt: skip


def test_doctor_finds_opencv_by_any_of_its_names(budgetc: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it all but detectors of motion works, and that is said, with what to install."""
    known, others = "budgetc.cli.doctor._version", doctor._version
    monkeypatch.setattr(known, lambda package: "4.9" if package == "opencv-python" else others(package))
    assert json.loads(budgetc("doctor", "--quick", "--json").out)["packages"]["opencv-python-headless"]
    monkeypatch.setattr(known, lambda package: None if package.startswith("opencv") else others(package))
    ended = budgetc("doctor", "--quick")
    assert ended.code == 0 and "only flow_vae needs it: pip install 'budgetc[flow]'" in ended.out

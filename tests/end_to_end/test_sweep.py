"""Many compilations on one store: the table, the picture, what is re-used, and how it ends."""

import csv
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import budgetc
from budgetc.cli.main import main
from budgetc.report.verify import verify_artifact
from budgetc.sweeps.table import SweepRow, SweepTable

TARGETS = ("jetson-nano-cpu", "x86-avx2")


@pytest.fixture(scope="module")
def folder(case: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The case with two budgets whose costs are predicted, one of them impossible, and a model that is none."""
    folder = tmp_path_factory.mktemp("swept")
    for name in ("tiny.yaml", "data.npz", "stfpm.pt"):
        shutil.copy(case / name, folder / name)
    text = "evidence: predicted\n" + (case / "budget.yaml").read_text()
    (folder / "good.yaml").write_text(text)
    (folder / "impossible.yaml").write_text(text.replace("64 KiB", "1 KiB"))
    (folder / "broken.pt").write_bytes(b"no model")
    (folder / "sweep.yaml").write_text(
        f"models: [stfpm.pt, broken.pt]\nbudgets: [good.yaml, impossible.yaml]\ntargets: [{', '.join(TARGETS)}]\n"
    )
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> SweepTable:
    """One sweep through the library."""
    return budgetc.sweep(
        [folder / "stfpm.pt", folder / "broken.pt"], TARGETS, [folder / "good.yaml", folder / "impossible.yaml"], [],
        out=folder / "out",
    )  # fmt: skip


def rows(table: SweepTable, model: str, budget: str) -> list[SweepRow]:
    return [row for row in table.rows if Path(row.model).stem == model and f".{budget}." in row.name]


def test_a_failing_member_does_not_stop_the_others(table: SweepTable) -> None:
    """Everything is in the table with its verdict; the worst one is the exit code."""
    assert len(table.rows) == 8
    assert {row.verdict for row in rows(table, "stfpm", "good")} == {"compliant (predicted)"}
    assert {row.exit_code for row in rows(table, "stfpm", "impossible")} == {3}
    assert {(row.done, row.exit_code) for row in table.rows if "broken" in row.model} == {("failed", 4)}
    assert table.exit_code == 4


def test_trainings_are_shared_between_targets(table: SweepTable) -> None:
    """The same plans on another device: not one training of the first is repeated."""
    first, second = rows(table, "stfpm", "good")
    assert first.trainings_anew > 0
    assert first.trainings_reused == 0
    assert second.trainings_reused > 0
    assert second.trainings_anew + second.trainings_reused <= 12
    if second.choice == first.choice:
        assert second.trainings_anew == 0


def test_every_member_is_an_artifact_of_its_own(folder: Path, table: SweepTable) -> None:
    """It holds by itself; its report's command names a budget that is there."""
    for row in rows(table, "stfpm", "good"):
        assert verify_artifact(folder / "out" / row.name).holds
        report = json.loads((folder / "out" / row.name / "report.json").read_text())
        assert report["target"]["name"] == row.target
        assert row.artifact_size == sum(report["artifact"]["files"].values())
        assert row.latency is not None and row.latency.kind == "predicted"
        assert str(folder / "out" / "budgets" / f"{row.name}.yaml") in report["command"]


def test_the_table_and_the_picture_are_written(folder: Path, table: SweepTable) -> None:
    """JSON reads back as the table, the CSV has its rows, the SVG a line for every target that scored something."""
    assert SweepTable.model_validate_json((folder / "out" / "sweep.json").read_bytes()) == table
    with (folder / "out" / "sweep.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == [row.name for row in table.rows]
    assert [float(line["auroc"]) for line in lines if line["auroc"]] == [
        row.auroc.value for row in table.rows if row.auroc
    ]
    words = [one.text or "" for one in ET.parse(folder / "out" / "pareto.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert all(any(target in word for word in words) for target in TARGETS)


def test_the_same_command_keeps_what_is_complete(
    folder: Path, table: SweepTable, capsys: pytest.CaptureFixture[str]
) -> None:
    """Complete artifacts are not compiled again, one that was damaged is; nothing is trained."""
    good = rows(table, "stfpm", "good")
    (folder / "out" / good[0].name / "model.onnx").write_bytes(b"damaged")
    untouched = (folder / "out" / good[1].name / "report.json").stat().st_mtime_ns
    code = main(["sweep", str(folder / "sweep.yaml"), "-o", str(folder / "out"), "--json"])
    again = json.loads(capsys.readouterr().out)
    found = {row["name"]: row for row in again["rows"]}
    assert (code, again["exit_code"], again["schema_version"]) == (4, 4, 1)
    assert found[good[0].name]["done"] == "compiled"
    assert found[good[1].name]["done"] == "kept"
    assert (folder / "out" / good[1].name / "report.json").stat().st_mtime_ns == untouched
    assert sum(row["trainings_anew"] for row in again["rows"]) == 0
    assert [row["artifact_size"] for row in again["rows"]] == [row.artifact_size for row in table.rows]


def test_a_table_for_people(folder: Path, table: SweepTable, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a combination, and where the files are."""
    code = main(["sweep", str(folder / "sweep.yaml"), "-o", str(folder / "out")])
    out = capsys.readouterr().out
    assert code == 4
    assert all(row.name in out for row in table.rows)
    assert "pareto.svg" in out

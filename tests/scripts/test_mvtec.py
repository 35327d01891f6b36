"""benchmarks/mvtec.py: the paper's figures beside ours, fewer categories, and the table."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from budgetc.core.recipe import Recipe
from budgetc.load.config import load_recipe
from tests.report.example import make_report


@pytest.fixture
def mvtec(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, which finds what lies beside it."""
    monkeypatch.syspath_prepend("benchmarks")
    yield importlib.import_module("mvtec")


def test_figures_of_the_paper_belong_to_stages(mvtec: ModuleType) -> None:
    """Each stands beside a stage of ours and says whose it is; bytes and times are shares of the paper's FP32."""
    stages = importlib.import_module("papers").paper_a(quick=True)
    for name, rows in mvtec.PUBLISHED.items():
        assert name in mvtec.RECIPES and set(rows) <= set(stages)
        assert all(one.kind == "published" for stage in stages for one in mvtec.published_lines(name, stage))
    found = {one.bar: one.value for one in mvtec.published_lines("stfpm", "PTQ, calibration")}
    assert found == {
        "stfpm, PTQ, calibration: the paper's pixel AUROC": 0.75,
        "stfpm, PTQ, calibration: the paper's bytes over FP32": 0.625,
        "stfpm, PTQ, calibration: the paper's time over FP32": 0.854,
    }
    assert list(mvtec.published_lines("gaussian", "FP32")) == []


def test_a_published_figure_is_of_no_machine_here(mvtec: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Its line does not say that it was measured on this one."""
    next(mvtec.published_lines("stfpm", "FP32")).show()
    assert json.loads(capsys.readouterr().out)["machine"] == "the publication's"


def test_every_detector_has_recipes_for_it(mvtec: ModuleType) -> None:
    """Of its own family, or of all."""
    for name, recipes in mvtec.RECIPES.items():
        known: list[Recipe] = [load_recipe(recipe).recipe for recipe in (*recipes, *mvtec.QUICK_RECIPES)]
        assert all(not one.detectors or name in one.detectors for one in known)


def test_fewer_categories_keep_their_groups(mvtec: ModuleType, tmp_path: Path) -> None:
    """The first two, whole; MVTec AD's own files beside the categories are no categories."""
    data = tmp_path / "data"
    for name in ("carpet", "bottle", "grid"):
        (data / name / "train").mkdir(parents=True)
        (data / name / "train" / "0.png").write_bytes(b"")
    (data / "license.txt").write_text("")
    (data / "groups.csv").write_text("file,group\nbottle/train/0.png,b\ncarpet/train/0.png,c\ngrid/train/0.png,g\n")
    kept = mvtec.fewer(data, tmp_path / "kept")
    assert sorted(path.name for path in kept.iterdir()) == ["bottle", "carpet", "groups.csv"]
    assert (kept / "groups.csv").read_text() == "file,group\nbottle/train/0.png,b\ncarpet/train/0.png,c\n"


def test_the_table(mvtec: ModuleType) -> None:
    """A row a stage, of the lines as they are printed; what a stage has no line for is a dash."""
    lines = [*mvtec.winner_lines("stfpm, budgetc compile", make_report()),
             *mvtec.published_lines("stfpm", "PTQ, noise")]  # fmt: skip
    head, _, *rows = mvtec.table({"bar": one.bar, "value": one.value} for one in lines).splitlines()
    assert head.startswith("| detector | stage | bytes | over FP32 | mean |")
    assert [row.split(" | ")[1] for row in rows] == ["budgetc compile", "PTQ, noise"]
    assert rows[0].startswith("| `stfpm` | budgetc compile | ") and rows[0].endswith("| - |")
    assert rows[1] == "| `stfpm` | PTQ, noise | - | - | - | - | - | - | - | 0.830 |"


def test_nothing_built(mvtec: ModuleType) -> None:
    """A verdict, and no figures."""
    lines = list(mvtec.winner_lines("x", make_report(artifact=None, comparison=None, verdict=None, chosen=None)))
    assert [(one.bar, one.ok, one.spread.partition(";")[0]) for one in lines] == [
        ("x: verdict", False, "nothing built")
    ]

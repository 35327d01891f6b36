"""What a report says of a run: how often the sealed data was opened, and what a stopped run leaves behind."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from budgetc.candidate import Written, build, finish
from budgetc.compiler.costing import Costing
from budgetc.compiler.emitting import (
    _copy_artifact,
    category_warnings,
    count_use,
    partial,
    seed_warnings,
    split_digest,
)
from budgetc.compiler.inputs import Inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.compiler.screening import Screener
from budgetc.compiler.searching import Search
from budgetc.core.budget import Budget
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Plan
from budgetc.core.session import SessionOptions, Sessions
from budgetc.report.schema import CategoryLoss, Comparison, Report
from budgetc.report.verify import read_report
from budgetc.store.run_directory import RunDirectory
from tests.runtime.tiny import write_artifact
from tests.small import dataset, small_stfpm, target

LEAN = SessionOptions(arena="as-requested", trim=True)
UNCHANGED = Plan(recipe="none", steps=(), seed=0)
BUDGET = Budget.model_validate({"target": "test-cpu", "limits": {"latency_p95": "10 ms"}})
DIGESTS = {name: "1" * 64 for name in ("model", "budget", "target", "data")}


@dataclass(frozen=True, slots=True)
class Busy(Costing):
    """A device that must not be asked."""

    def quick(self, written: Written, *, every: bool = False) -> dict[str, Measurement]:
        raise AssertionError("something is measured after Ctrl-C")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "out.run") as opened:
        yield opened


def inputs() -> Inputs:
    return Inputs(Path("m.pt"), small_stfpm(), BUDGET, Path("b.yaml"), target(), (), dataset(), DIGESTS)


def stopped(run: RunDirectory) -> Report:
    """The report of a run that was stopped after its baseline was known."""
    shop = replace(make_workshop(inputs(), run), sessions=Sessions(fp32=LEAN))
    baseline = finish(build(UNCHANGED, shop, 1.0), shop, run.path / "baseline")
    search = Search(shop, BUDGET, 0.9, Screener(Busy(shop.target, BUDGET.limits, (), run.store)), lambda sentence: None)
    partial(inputs(), search, baseline, run=run.path, out=run.path.with_name("out"), seconds=1.0)
    return read_report(run.path)


def test_a_board_with_tensorrt_gets_what_builds_its_engine(tmp_path: Path) -> None:
    """Its configuration says so, and the script is there; others have the artifact's own configuration."""
    written = write_artifact(tmp_path / "written")
    own = json.loads((written / "artifact.json").read_text())
    for folder, changes in (("cpu", {}), ("gpu", {"runtime": "tensorrt", "compute_dtype": "fp16"})):
        (tmp_path / folder).mkdir()
        _copy_artifact(written, tmp_path / folder, target(**changes))
    assert json.loads((tmp_path / "cpu" / "device" / "config.json").read_text()) == own
    assert not (tmp_path / "cpu" / "device" / "engine.py").exists()
    found = json.loads((tmp_path / "gpu" / "device" / "config.json").read_text())
    assert found == {**own, "runtime": "tensorrt", "fp16": True}
    assert (tmp_path / "gpu" / "device" / "engine.py").exists()


def test_a_stopped_run_measures_nothing_more(run: RunDirectory) -> None:
    """Who pressed Ctrl-C waits for no process: the baseline has its size and its AUROC."""
    report = stopped(run)
    assert report.baseline is not None
    assert {found.metric for found in report.baseline.measurements} == {"artifact_size"}
    assert report.baseline.quality.auroc_mean.value > 0
    assert report.baseline.session == LEAN


def test_a_stopped_run_did_not_open_what_it_never_reached(run: RunDirectory) -> None:
    """The confirmation split is still sealed."""
    assert stopped(run).confirmation_uses == 0


def test_a_stopped_run_says_that_it_opened_the_confirmation_split(run: RunDirectory) -> None:
    """Stopped while finalists were confirmed: the data was looked at."""
    count_use(inputs(), make_workshop(inputs(), run))
    assert stopped(run).confirmation_uses == 1


def test_a_second_use_of_confirmation_data_is_a_warning_in_the_report(run: RunDirectory) -> None:
    """Who reads no log reads it there."""
    shop = make_workshop(inputs(), run)
    run.count_use(split_digest(dataset()), "2" * 64)
    count_use(inputs(), shop)
    said = "2 different inputs were judged by this confirmation split; its figures grow optimistic"
    assert said in stopped(run).warnings


@pytest.mark.parametrize(("trained", "asked", "warned"), [(2, 3, True), (3, 3, False), (0, 3, False), (0, 1, False)])
def test_missing_seeds_are_a_warning_in_the_report(trained: int, asked: int, warned: bool) -> None:
    """Only where some were trained: a plan that trains nothing has none to miss."""
    assert any(f"{trained} of {asked} seeds" in said for said in seed_warnings(trained, asked)) == warned


@pytest.mark.parametrize(
    ("auroc", "warned"),
    [
        ({"max_drop": 0.02}, True),
        ({"max_drop": 0.05}, False),
        ({"max_drop": 0.005}, False),  # the mean fails as well, which the verdict says
        ({"min": 0.9}, False),
    ],
)
def test_a_category_that_breaks_unseen_is_a_warning(auroc: dict[str, float], warned: bool) -> None:
    """The mean holds, and one category lost more than the budget allows."""

    def lost(value: float, **bounds: float) -> Measurement:
        return Measurement.model_validate({"metric": "auroc_loss", "value": value, "unit": "1", "n": 80,
                                           "kind": "measured", "device": "host", **bounds})  # fmt: skip

    losses = (
        CategoryLoss(category="grass", auroc_loss=lost(0.04, lower=0.01, upper=0.07, confidence=0.95)),
        CategoryLoss(category="brick", auroc_loss=lost(-0.02)),
    )
    comparison = Comparison(size_ratio=lost(0.1), latency_p50_ratio=lost(0.1), model_memory_ratio=lost(0.1),
                            auroc_loss=lost(0.01), category_losses=losses)  # fmt: skip
    budget = BUDGET.model_copy(update={"limits": type(BUDGET.limits).model_validate({"auroc": auroc})})
    found = category_warnings(budget, comparison)
    assert len(found) == int(warned)
    assert all(
        re.match(r"category grass lost 0\.040 \(95 % interval 0\.010 to 0\.070; .*max_drop 0\.02", one) for one in found
    )
    assert category_warnings(budget, None) == ()

"""Targets against rows: with a made-up board, and with the published rows where they are at hand."""

import os
import re
import shutil
import statistics
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from budgetc.compiler.targets import baselines, fit_targets, validate_target
from budgetc.errors import UsageError
from budgetc.load.config import list_budgets, list_targets, load_budget, load_target, shipped_dir
from budgetc.load.rows import read_rows
from budgetc.measurement.validating import priced
from tests.load.test_cost_block import ABOVE
from tests.rows import NETWORKS, write_networks, write_rows

FITTED = tuple(name for name in list_targets() if load_target(name).target.fit is not None)


def board(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Target file without a cost model, rows and networks of a made-up board."""
    (tmp_path / "board.yaml").write_text(ABOVE)
    times = (0.9, 2.1, 6.5, 22, 80)
    lines = [f"board,cpu,{name},32x32,1,fp32,ncnn,1,{ms},README," for name, ms in zip(NETWORKS, times, strict=True)]
    lines += [
        f"other,cpu,{name},32x32,1,fp32,ncnn,1,{2 * ms},README," for name, ms in zip(NETWORKS, times, strict=True)
    ]
    return (
        tmp_path / "board.yaml", write_rows(tmp_path / "rows.csv", lines), write_networks(tmp_path / "networks.json")
    )  # fmt: skip


def test_a_newcomer_fits_a_board_and_validates_it(tmp_path: Path) -> None:
    """A file with facts and `fit:`, a file of rows: the block is written, and errors are small on the same rows."""
    target, rows, networks = board(tmp_path)
    with pytest.raises(UsageError, match="target board has no cost model"):
        validate_target(target, rows, networks=networks)
    (fitted,) = fit_targets([target], rows, networks=networks, write=True)
    assert fitted.target == "board" and target.read_text().startswith(ABOVE)
    found = validate_target(target, [rows], networks=networks)
    assert found.left_out == {"another device or unit": 5}
    (group,) = found.groups
    assert group.n == 5 and group.spearman == pytest.approx(1) and group.mape < 0.3
    (simple,) = baselines(target, rows, networks=networks)
    assert simple.macs is not None and simple.board is not None and simple.board.mape == pytest.approx(0)


def test_nothing_is_written_unless_asked_for(tmp_path: Path) -> None:
    """A fit that only shows what it would do."""
    target, rows, networks = board(tmp_path)
    fit_targets([target], rows, networks=networks)
    assert target.read_text() == ABOVE


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    """Fitted again on top of its own block."""
    target, rows, networks = board(tmp_path)
    fit_targets([target], rows, networks=networks, write=True)
    before = target.read_bytes()
    fit_targets([target], rows, networks=networks, write=True)
    assert target.read_bytes() == before


def test_another_clock_follows_the_fit_of_its_base(tmp_path: Path) -> None:
    """In one run the base's new model counts, alone its file's; without a model there is nothing to derive from."""
    target, rows, networks = board(tmp_path)
    slow = tmp_path / "slow.yaml"
    slow.write_text(
        ABOVE.replace("name: board", "name: slow").partition("fit:")[0]
        + "fit: {derived: {target: board.yaml, compute: 0.5, traffic: 1, doubt: {lower: 0.9, upper: 1.1}}}\n"
    )
    with pytest.raises(UsageError, match=r"slow\.yaml: derived from board\.yaml, which has no cost model; fit that"):
        fit_targets([slow], rows, networks=networks)
    fit_targets([target], rows, networks=networks, write=True)
    (fitted,) = fit_targets([slow], rows, networks=networks, write=True)
    assert "arithmetic x 0.5" in fitted.cost.describes
    assert validate_target(slow, rows, networks=networks).left_out == {"no published rows are of this target": 10}


def test_targets_that_measure_are_not_fitted(tmp_path: Path) -> None:
    """host-cpu has no `fit:`."""
    _, rows, networks = board(tmp_path)
    with pytest.raises(UsageError, match="has no `fit:`, which says whose rows make its cost model"):
        fit_targets(["host-cpu"], rows, networks=networks)


@pytest.mark.parametrize("name", FITTED)
def test_shipped_targets_say_where_everything_is_from(name: str) -> None:
    """Facts and coefficients with sources, a confidence, and statistics where they were fitted to rows."""
    target = load_target(name).target
    assert target.cost is not None and target.fit is not None
    assert all(fact.source for fact in target.facts) and target.cost.sources
    assert bool(target.cost.fit) is (target.fit.derived is None)


def test_every_target_has_a_ready_made_budget() -> None:
    """Under its own name or a shorter one; one thread is a variant."""
    budgeted = {load_budget(name).budget.target for name in list_budgets()}
    assert budgeted == set(list_targets()) - {"jetson-nano-cpu-1-thread"}


def test_errors_on_rows_that_were_never_fitted() -> None:
    """What the shipped files say: the accuracy that is promised of the Nano."""
    fits = {name: load_target(name).target.cost for name in FITTED}
    never = [(name, one) for name, cost in fits.items() if cost for one in cost.fit if one.use == "never fitted"]
    gpu = [one for name, one in never if name == "jetson-nano-gpu" and one.group.startswith("FP16")]
    cpu = [one for name, one in never if "nano-cpu" in name and one.group.startswith("FP32")]
    assert len(gpu) == 1 and len(cpu) == 3
    assert all(one.median_ape <= 0.10 and one.mape <= 0.15 and one.half_width <= 0.20 for one in gpu)
    assert all(one.median_ape <= 0.10 and one.mape <= 0.14 and one.half_width <= 0.30 for one in cpu)
    assert all(one.coverage >= 0.85 for one in (*gpu, *cpu))
    nano = fits["jetson-nano-gpu"]
    assert nano is not None
    series = [one for one in nano.fit if one.use == "held out" and not one.group.startswith(("each", "every"))]
    assert len(series) == 5 and all(one.mape <= 0.08 for one in series)
    assert 0.85 <= sum(one.n * one.coverage for one in series) / sum(one.n for one in series) <= 0.95


def published() -> Path:
    """The folder of published rows."""
    data = os.environ.get("BUDGETC_TEST_DATA")
    if data is None or not (Path(data) / "devices" / "networks.json").exists():
        pytest.skip("BUDGETC_TEST_DATA is not set, or has no devices/")
    return Path(data) / "devices"


def test_published_rows_are_predicted_as_promised() -> None:
    """The commands of the README on the rows themselves, one and four threads apart; counts add up."""
    rows = published()
    networks = rows / "networks.json"
    cpu = validate_target("jetson-nano-cpu", rows / "jetson_validate.csv", networks=networks)
    gpu = validate_target("jetson-nano-gpu", rows / "jetson_validate.csv", networks=networks)
    assert {one.threads for one in cpu.groups} == {"1", "4"}
    assert all(one.mape <= 0.14 and one.median_ape <= 0.10 for one in cpu.groups)
    assert all(one.mape <= 0.15 for one in gpu.groups if one.precision == "fp16")
    for found in (cpu, gpu):
        assert sum(one.n for one in found.groups) + sum(found.left_out.values()) == 234


@pytest.mark.slow
@pytest.mark.parametrize("what", ["F", "L", "W"])  # width (filters), depth (layers), resolution
def test_ratios_of_related_networks_are_met(what: str) -> None:
    """What pruning or shrinking gains: neighbors that differ in one of the three, median error 10 % at most."""
    rows, _ = read_rows(published() / "nano_gpu_tensorrt_fp32_cnns.csv")
    ms, found = priced(load_target("jetson-nano-gpu").target, rows)
    families = defaultdict[str, list[tuple[int, int]]](list)
    for place, row in enumerate(rows):
        size = re.search(rf"_{what}(\d+)", row.model)
        if size is not None:
            families[row.model.replace(size[0], "")].append((int(size[1]), place))
    errors = [
        abs(found[one, 0] / found[other, 0] / (ms[one] / ms[other]) - 1)
        for members in families.values()
        for (_, one), (_, other) in pairwise(sorted(members))
    ]
    assert len(errors) > 1000 and statistics.median(errors) <= 0.10


@pytest.mark.slow
def test_the_shipped_coefficients_are_those_of_the_fit(tmp_path: Path) -> None:
    """Fitted again to the same rows, no byte of the target files changes."""
    rows = published()
    folder = tmp_path / "devices"
    shutil.copytree(shipped_dir("target"), folder)
    order = sorted(FITTED, key=lambda name: getattr(load_target(name).target.fit, "derived", None) is not None)
    fit_targets(
        [folder / f"{name}.yaml" for name in order],
        [rows / "nano_gpu_tensorrt_fp32_cnns.csv", rows / "published_latencies.csv"],
        networks=rows / "networks.json", never_fitted=rows / "jetson_validate.csv", write=True,
    )  # fmt: skip
    for name in FITTED:
        assert (folder / f"{name}.yaml").read_bytes() == (shipped_dir("target") / f"{name}.yaml").read_bytes(), name

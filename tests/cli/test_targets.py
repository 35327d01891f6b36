"""`targets validate`, `targets fit`: cost models against published rows."""

import json
from pathlib import Path

from tests.cli.command import Command
from tests.compiler.test_targets import board
from tests.rows import HEADER, write_rows

GROUP = {
    "precision", "threads", "runtime", "n", "mape", "median_ape", "p90_ape", "within_10", "within_20", "rmspe",
    "spearman", "interval_coverage", "interval_half_width_median", "by_latency_band", "worst",
}  # fmt: skip


def test_fit_then_validate(budgetc: Command, tmp_path: Path) -> None:
    """One line a statistic; then exactly the object that was promised, in fractions."""
    target, rows, networks = board(tmp_path)
    fitted = budgetc("targets", "fit", target, "--rows", rows, "--networks", networks, "--write", "--json")
    assert fitted.code == 0, fitted.err
    lines = [json.loads(line) for line in fitted.out.splitlines()]
    assert {line["use"] for line in lines} == {"fitted", "held out"} and {line["target"] for line in lines} == {"board"}
    ended = budgetc("targets", "validate", target, "--rows", rows, "--networks", networks, "--json")
    found = json.loads(ended.out)
    assert set(found) == {"schema_version", "target", "groups", "left_out"}
    assert (found["target"], found["left_out"]) == ("board", {"another device or unit": 5})
    (group,) = found["groups"]
    assert set(group) == GROUP and group["n"] == 5 and 0 <= group["mape"] < 1
    assert {"model", "latency_ms", "predicted_ms", "error"} <= set(group["worst"][0])


def test_tables_for_people(budgetc: Command, tmp_path: Path) -> None:
    """Errors beside multiply-accumulates alone and the nearest board; what was left out and why."""
    target, rows, networks = board(tmp_path)
    plain = budgetc("targets", "fit", target, "--rows", rows, "--networks", networks)
    assert "not written; --write replaces the `cost:` block" in plain.out and "held out" in plain.out
    budgetc("targets", "fit", target, "--rows", rows, "--networks", networks, "--write")
    shown = budgetc("targets", "validate", target, "--rows", rows, "--networks", networks).out
    assert "MACs only" in shown and "other, ncnn README, 1 threads, n 5" in shown
    assert "5  another device or unit" in shown


def test_bad_rows_end_with_their_place(budgetc: Command, tmp_path: Path) -> None:
    """What is fitted must be right: exit 4; a file that is not there 2; without rows the option is asked for."""
    rows = write_rows(tmp_path / "bad.csv", ["board,cpu,a,1x1,1,fp32,ncnn,1,soon,,"], HEADER)
    _, _, networks = board(tmp_path)
    ended = budgetc("targets", "fit", "raspberry-pi-4", "--rows", rows, "--networks", networks)
    assert (ended.code, ended.out) == (4, "")
    assert "bad.csv: line 2, column latency_ms: 'soon'; expected a positive number" in ended.err
    assert budgetc("targets", "validate", "raspberry-pi-4", "--rows", tmp_path / "no.csv").code == 2
    assert "--rows" in budgetc("targets", "validate", "raspberry-pi-4").err


def test_no_row_of_the_target_is_no_evidence(budgetc: Command, tmp_path: Path) -> None:
    """Exit 5, with what was left out; a target that predicts nothing is a usage error."""
    rows = write_rows(tmp_path / "bad.csv", ["board,cpu,a,1x1,1,fp32,ncnn,1,soon,,"], HEADER)
    _, _, networks = board(tmp_path)
    ended = budgetc("targets", "validate", "raspberry-pi-4", "--rows", rows, "--networks", networks, "--json")
    assert ended.code == 5 and json.loads(ended.out)["left_out"] == {"column latency_ms cannot be read": 1}
    ended = budgetc("targets", "validate", "host-cpu", "--rows", rows, "--networks", networks)
    assert ended.code == 2 and "target host-cpu has no cost model" in ended.err

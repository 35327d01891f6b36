"""The fit of the cost models, against the rows where they are at hand."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from budgetc.load.config import load_target

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "fit_targets.py"
FITTED = ("jetson-nano-gpu", "jetson-nano-cpu", "jetson-nano-cpu-1-thread")


def run(script: Path, *arguments: str, data: str | None) -> subprocess.CompletedProcess[str]:
    """The script in its own process."""
    environment = {key: value for key, value in os.environ.items() if key != "BUDGETC_TEST_DATA"}
    if data is not None:
        environment["BUDGETC_TEST_DATA"] = data
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, env=environment)


def test_without_rows_it_says_where_they_are_looked_for() -> None:
    """Neither an argument nor the variable."""
    ended = run(SCRIPT, data=None)
    assert ended.returncode == 2 and "set BUDGETC_TEST_DATA" in ended.stderr


def groups(name: str, use: str) -> list[Any]:
    """Fit statistics in a shipped target."""
    cost = load_target(name).target.cost
    assert cost is not None
    return [group for group in cost.fit if group.use == use]


def test_shipped_targets_tell_how_well_they_did() -> None:
    """Rows that were never fitted are among the statistics of each, with errors and the interval's coverage."""
    for name in FITTED:
        assert groups(name, "fitted") and groups(name, "never fitted")
        assert all(group.coverage is not None and group.n > 0 for group in groups(name, "never fitted"))


def test_errors_on_rows_that_were_never_fitted() -> None:
    """FP32 CNNs of a stage held out: 10 % at most; named networks: median of 10 % at FP16 and on the CPU."""
    assert max(group.mape for group in groups("jetson-nano-gpu", "held out")) < 0.10
    halves = [group for group in groups("jetson-nano-gpu", "never fitted") if "FP16" in group.group]
    cpus = [g for name in FITTED[1:] for g in groups(name, "never fitted") if "FP32" in g.group]
    assert halves and len(cpus) == 3
    assert max(group.median_ape for group in (*halves, *cpus)) <= 0.10


@pytest.mark.slow
def test_the_shipped_coefficients_are_those_of_the_fit(tmp_path: Path) -> None:
    """Run again on the same rows, `--write` changes no byte of the target files."""
    data = os.environ.get("BUDGETC_TEST_DATA")
    if data is None or not (Path(data) / "devices" / "networks.json").exists():
        pytest.skip("BUDGETC_TEST_DATA is not set, or has no devices/")
    for part in ("scripts", "targets/devices"):
        shutil.copytree(ROOT / part, tmp_path / part)
    ended = run(tmp_path / "scripts" / "fit_targets.py", "--write", data=data)
    assert ended.returncode == 0, ended.stderr
    assert {json.loads(line).get("target") for line in ended.stdout.splitlines()} == {None, *FITTED}
    for name in FITTED:
        path = f"targets/devices/{name}.yaml"
        assert (tmp_path / path).read_bytes() == (ROOT / path).read_bytes()

"""The user's command in a folder, and what a compilation by one recipe came to."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "budgetc"]
_BUDGET = """
target: host-cpu
data: data.npz
limits:
  latency_p95: 1 s
  peak_memory: 1 GiB
  artifact_size: {size}
  auroc: {{min: {auroc}}}
search: {{recipes: [{name}.yaml], trainings: 2, time: 5 min}}
"""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a compilation wrote."""

    out: Path
    report: dict[str, Any]
    share: float
    """Bytes of the artifact over the baseline's."""


def budgetc(*arguments: str | Path, cwd: Path, timeout: float = 380) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    line = [*COMMAND, *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False)


def plan_and_compile(folder: Path, name: str, steps: str, *, size: str, auroc: float) -> Compiled:
    """`plan` and `compile` of NAME.pt by a recipe of these steps for its family; every candidate was built."""
    (folder / f"{name}.yaml").write_text(f"name: {name}\ndescription: all of these\nsteps:{steps}")
    (folder / f"{name}-budget.yaml").write_text(_BUDGET.format(name=name, size=size, auroc=auroc))
    planned = budgetc("plan", f"{name}.pt", "--budget", f"{name}-budget.yaml", cwd=folder)
    assert planned.returncode == 0, planned.stderr
    line = ("compile", f"{name}.pt", "--budget", f"{name}-budget.yaml", "-o", f"{name}-out")
    ended = budgetc(*line, cwd=folder, timeout=500)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((folder / f"{name}-out" / "report.json").read_text())
    assert not [row for row in report["candidates"] if row["fate"] == "failed"]
    sizes = {row["id"]: row["artifact_size"] for row in report["candidates"]}
    baseline = next(row for row in report["candidates"] if row["plan"]["recipe"] == "none")
    return Compiled(folder / f"{name}-out", report, sizes[report["chosen"]] / baseline["artifact_size"])

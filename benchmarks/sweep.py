"""Six budgets over three targets on one store, against the most expensive alone; and a second budget afterwards.

    BUDGETC_TEST_DATA=DIR python benchmarks/sweep.py [--case magnetic-tile|driving] -o DIR [--quick]

DIR/model.pt is the baseline of the case in `real.py`, and trained where it is missing. Every part starts from
a store of its own; the single compilation is the strictest budget for this machine, the only target where anything
has to be timed. `--quick` uses pictures of 128 px and fewer structures.
"""

import argparse
import os
import shutil
import time
from pathlib import Path

import driving_case  # beside this script, as the next ones
import tile_case
from line import Line
from ruamel.yaml import YAML

import budgetc
from budgetc.compiler.measuring import measure_file
from budgetc.report.schema import Report
from budgetc.store.events import LOG, parse_log

CASES = {"magnetic-tile": tile_case, "driving": driving_case}
TARGETS = {"host-cpu": "measured", "jetson-nano-cpu": "predicted", "jetson-nano-gpu": "predicted"}
DROPS = (0.02, 0.04)
"""AUROC that may be lost: a strict and a loose budget a target."""


def write_budgets(case: str, folder: Path, data: Path, *, quick: bool) -> list[Path]:
    """Two budgets a target; the strict one for this machine first."""
    module = CASES[case]
    recipes = {target: module.GPU_RECIPES if target.endswith("gpu") else module.RECIPES for target in TARGETS}
    size = next(one.value for one in measure_file(folder / "model.pt").measurements if one.metric == "artifact_size")
    paths = []
    for target, evidence in TARGETS.items():
        for drop in DROPS:
            path = folder / f"{target}-{drop:g}.yaml"
            limits = {"artifact_size": f"{int(size / 2)} B", "latency_p95": "1 s", "auroc": {"max_drop": drop}}
            search = {"recipes": list(recipes[target][: 1 if quick else 2]), "time": "50 min"}
            raw = {"target": target, "evidence": evidence, "data": str(data), "limits": limits, "search": search}
            YAML().dump(raw, path)
            paths.append(path)
    return paths


def compiled(folder: Path, name: str, budget: Path, store: Path) -> tuple[Report, float]:
    """One compilation into DIR/name, and its seconds."""
    shutil.rmtree(folder / name, ignore_errors=True)
    started = time.monotonic()
    report = budgetc.compile(folder / "model.pt", budget=budget, out=folder / name, store=store)
    return report, time.monotonic() - started


def anew(run: Path) -> int:
    """Networks that a run had to train or fit because the store did not have them."""
    events = parse_log((run / LOG).read_bytes()).events
    return sum(event.event == "training" and event.data["anew"] is True for event in events)


def another(head: str, folder: Path, budget: Path, *, before: Report, first: float) -> None:
    """Another budget on the store of the single compilation: only a winner that was never timed costs anything."""
    name = budget.stem
    report, seconds = compiled(folder, name, budget, folder / "single-store")
    share, made = seconds / first, anew(folder / f"{name}.run")
    same = report.chosen == before.chosen
    what = "the same winner" if same else "another winner, which has to be timed"
    words = f"{seconds:.1f} s instead of {first:.1f} s"
    bar, ok = ("< 0.05", share < 0.05) if same else ("reported", True)
    Line(f"{head}: a second budget on the same store, {what}", round(share, 4), bar, ok, "1", 1, words).show()
    Line(f"{head}: networks made for a second budget, {what}", made, "= 0", made == 0, "networks", 1, "").show()


def main() -> None:
    """Single, second budget, sweep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, default="magnetic-tile")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    root = os.environ.get("BUDGETC_TEST_DATA")
    if root is None:
        parser.error("set BUDGETC_TEST_DATA to the folder that holds magnetic-tile/ and driving/")
    folder = options.o.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    data = CASES[options.case].make_data(Path(root) / options.case, folder)
    if not (folder / "model.pt").exists():
        CASES[options.case].train(data, folder / "model.pt", quick=options.quick)
    budgets = write_budgets(options.case, folder, data, quick=options.quick)
    for old in (*folder.glob("*.run"), folder / "single-store", folder / "sweep"):
        shutil.rmtree(old, ignore_errors=True)
    head = f"sweep of {options.case}"
    report, first = compiled(folder, "single", budgets[0], folder / "single-store")
    Line(f"{head}: the most expensive compile alone", round(first, 1), "reported", True, "s", 1, budgets[0].stem).show()
    same = folder / "same.yaml"
    same.write_text(budgets[0].read_text().replace("latency_p95: 1 s", "latency_p95: 2 s"))
    for budget in (same, budgets[1]):
        another(head, folder, budget, before=report, first=first)
    started = time.monotonic()
    table = budgetc.sweep([folder / "model.pt"], [], budgets, [], out=folder / "sweep")
    seconds = time.monotonic() - started
    ratio = seconds / first
    words = "; ".join(f"{row.name}: {row.verdict}, {row.seconds:.0f} s" for row in table.rows)
    Line(
        f"{head}: six budgets over the most expensive alone", round(ratio, 3), "<= 1.5", ratio <= 1.5, "1", 1, words
    ).show()


if __name__ == "__main__":
    main()

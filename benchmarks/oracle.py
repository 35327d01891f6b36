"""The search against an oracle that trained every structure, on two small real spaces.

    python benchmarks/oracle.py [--quick] [-o DIR]

Each space has at most 40 structures of networks that train in seconds, on pictures cut from the
scikit-image textures. Ten budgets a space let size, latency, memory and AUROC bind in turn.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from line import Line  # beside this script

from budgetc.candidate import QUICK_SHARE, Workshop, Written, training_key
from budgetc.compiler.confirming import sample_images
from budgetc.compiler.costing import Costing
from budgetc.compiler.inputs import Inputs, all_plans, load_inputs
from budgetc.compiler.pipeline import make_workshop, measure_baseline
from budgetc.compiler.screening import MARGIN, Screener
from budgetc.compiler.searching import Search
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_stfpm, new_vae
from budgetc.core.budget import Budget, Limits
from budgetc.demo.dataset import write_demo_data
from budgetc.search.space import FULL, QUICK, Row, Train, compliant, incumbent, order
from budgetc.store.run_directory import RunDirectory
from budgetc.training.loop import Effort

RECIPES = {
    "stfpm": """
name: space
description: teacher and student widths, INT8
steps:
  - step: distill
    settings: {epochs: 10, learning_rate: 0.005}
    choices: {teacher: [null, 0.75, 0.5, 0.25, 0.125], student: [1.0, 0.75, 0.5, 0.25, 0.125]}
  - step: quantize
""",
    "vae": """
name: space
description: encoder widths, pruning, INT8
steps:
  - step: distill
    settings: {epochs: 10, learning_rate: 0.003}
    choices: {student: [1.0, 0.75, 0.5, 0.25, 0.125]}
  - step: prune
    optional: true
    settings: {epochs: 4}
    choices: {keep: [0.75, 0.5, 0.25]}
  - step: quantize
""",
}
BUDGET = """
target: host-cpu
data: data
limits:
  auroc: {min: 0.5}
search: {recipes: [space.yaml], trainings: 1000, time: 10 h}
"""


@dataclass(frozen=True)
class Space:
    """One small search space with everything that training can tell about it."""

    name: str
    inputs: Inputs
    shop: Workshop
    baseline_auroc: float
    images: list[Path]
    rows: list[Row]
    """Every structure, fully trained."""
    written: dict[str, Written]
    latency: dict[str, float]
    """Id -> screened median, ms."""
    memory: dict[str, float]


def prepare(name: str, folder: Path) -> Inputs:
    """Data, a trained detector, a recipe and a budget."""
    folder.mkdir(parents=True)
    write_demo_data(folder / "data", contrast=2.0)
    (folder / "space.yaml").write_text(RECIPES[name])
    (folder / "budget.yaml").write_text(BUDGET)
    if name == "stfpm":
        detector = new_stfpm(
            (32, 32), teacher="plain", teacher_widths=(16, 32, 48, 64), student_widths=(16, 32, 32, 32)
        )
        effort = Effort(20, 3e-3, 0)
    else:
        detector = new_vae((32, 32), widths=(32, 32, 16), hidden=(64,), latents=12, beta=4.0)
        effort = Effort(20, 1e-3, 0)
    train_bundle(detector, data=folder / "data", out=folder / "model.pt", effort=effort)
    return load_inputs(folder / "model.pt", folder / "budget.yaml")


def exhaust(name: str, inputs: Inputs, run: RunDirectory, *, quick: bool) -> Space:
    """Train every structure at both rungs."""
    shop = make_workshop(inputs, run)
    reference = measure_baseline(inputs, shop, lambda sentence: None)
    images = sample_images(inputs.dataset, run.path / "pictures")
    generous = limits_of(latency=1e6, memory=2**40, floor=0.5)
    budget = inputs.budget.model_copy(update={"limits": generous})
    costing = Costing(inputs.target, generous, images, run.store)
    search = Search(shop, budget, reference.auroc.value, Screener(costing), lambda sentence: None)
    plans, dropped = all_plans(inputs)
    search.add(plans[::3] if quick else plans, dropped)
    search.price_all()
    for row_id in list(search.rows):
        search.screen(row_id)
        for rung in (QUICK, FULL) if search.rows[row_id].trains else (FULL,):
            search.act(Train(row_id, rung, "exhaustive"))
    found = {one: {m.metric: m.value for m in record.screened} for one, record in search.records.items()}
    return Space(
        name, inputs, shop, reference.auroc.value, images, list(search.rows.values()), dict(search.written),
        {one: values["latency_p50"] for one, values in found.items() if values},
        {one: values["peak_memory"] for one, values in found.items() if values},
    )  # fmt: skip


def limits_of(
    *, floor: float, latency: float | None = None, memory: float | None = None, size: float | None = None
) -> Limits:
    """Limits from plain numbers: AUROC, ms, bytes, bytes."""
    raw: dict[str, object] = {"auroc": {"min": floor}}
    if latency is not None:
        raw["latency_p50"] = f"{latency:.6f} ms"
    if memory is not None:
        raw["peak_memory"] = f"{memory:.0f} B"
    if size is not None:
        raw["artifact_size"] = f"{size:.0f} B"
    return Limits.model_validate(raw)


def budgets(space: Space) -> Iterator[tuple[str, Limits]]:
    """Ten budgets; the name says what binds."""
    aurocs = [row.auroc[FULL] for row in space.rows if FULL in row.auroc]
    floors = {share: float(np.quantile(aurocs, share)) for share in (0.25, 0.5, 0.6, 0.7, 0.8, 0.9)}
    for share, floor in floors.items():
        yield f"auroc at the {share:.0%} quantile", limits_of(floor=floor)
    low = floors[0.5]

    def quantile(table: dict[str, float], share: float) -> float:
        return float(np.quantile(list(table.values()), share))

    size = float(np.quantile([row.size or 0 for row in space.rows], 0.3))
    yield "latency", limits_of(latency=quantile(space.latency, 0.4), floor=low)
    yield "memory", limits_of(memory=quantile(space.memory, 0.4), floor=low)
    yield "size", limits_of(size=size, floor=floors[0.25])
    yield (
        "all",
        limits_of(latency=quantile(space.latency, 0.6), memory=quantile(space.memory, 0.6), size=2 * size, floor=low),
    )


class Recorded(Screener):
    """Answers with what was measured once, so that search and oracle judge the same numbers."""

    def __init__(self, space: Space, limits: Limits) -> None:
        shop = space.shop
        super().__init__(Costing(shop.target, limits, space.images, shop.run.store))
        self.space = space

    def fits(self, one: str) -> bool:
        """Whether a structure keeps latency and memory, with the screening's margin."""
        limits = self.costing.limits
        fast = limits.latency_p50 is None or self.space.latency[one] <= limits.latency_p50 * (1 + MARGIN)
        small = limits.peak_memory is None or self.space.memory[one] <= limits.peak_memory * (1 + MARGIN)
        return fast and small


def solve(space: Space, limits: Limits) -> tuple[str | None, float]:
    """The search's winner and its training effort: quick ones count by their share of the epochs."""
    budget: Budget = space.inputs.budget.model_copy(update={"limits": limits})
    recorded = Recorded(space, limits)
    search = Search(space.shop, budget, space.baseline_auroc, recorded, lambda sentence: None)
    kept = {row.id for row in space.rows}
    search.add([plan for plan in all_plans(space.inputs)[0] if plan.id in kept], [])
    for row in space.rows:
        search.rows[row.id] = replace(row, auroc={}, fits=recorded.fits(row.id))
    search.written |= space.written
    search.run(time.monotonic() + 1e6)
    winner = incumbent(list(search.rows.values()), search.limits)
    quick = {training_key(plan, space.shop, QUICK_SHARE) for plan in search.plans.values()}
    effort = sum(QUICK_SHARE if key in quick else 1.0 for key in search.trained)
    return (winner.id if winner else None), effort


def oracle(space: Space, limits: Limits) -> str | None:
    """The smallest compliant structure of the exhaustive table."""
    recorded = Recorded(space, limits)
    budget: Budget = space.inputs.budget.model_copy(update={"limits": limits})
    rules = Search(space.shop, budget, space.baseline_auroc, recorded, lambda sentence: None).limits
    known = [replace(row, fits=recorded.fits(row.id)) for row in space.rows if not row.failed]
    best = min((row for row in known if compliant(row, rules)), key=order, default=None)
    return best.id if best else None


def judge(space: Space) -> None:
    """Print the space's lines."""
    plans = [plan for plan in all_plans(space.inputs)[0] if plan.id in {row.id for row in space.rows}]
    whole = len({training_key(plan, space.shop, 1.0) for plan in plans} - {None})
    hits, shares, by_floor = [], [], []
    for name, limits in budgets(space):
        found, effort = solve(space, limits)
        best = oracle(space, limits)
        hits.append(found == best)
        shares.append(effort / whole)
        if name.startswith("auroc"):
            by_floor.append(next((row.size or 0 for row in space.rows if row.id == found), 2**62))
        print(f"# {space.name} {name}: search {found}, oracle {best}, effort {effort:.1f} of {whole}", flush=True)
    count = sum(hits)
    Line(f"oracle {space.name}: same winner", count, ">= 9 of 10", count >= 9, "budgets", 10, "").show()
    most = f"{min(shares):.2f} to {max(shares):.2f}"
    middle = float(np.median(shares))
    name = f"oracle {space.name}: training effort over the oracle's {whole} full trainings, median of budgets"
    Line(name, round(middle, 3), "<= 0.5", middle <= 0.5, "1", 10, most).show()
    grows = by_floor == sorted(by_floor)
    name = f"oracle {space.name}: loosening AUROC never enlarges"
    Line(name, float(grows), "= 1", grows, "1", len(by_floor), "").show()


def main() -> None:
    """Both spaces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the structures")
    parser.add_argument("-o", type=Path, help="folder that keeps the trainings for another run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.o or Path(scratch)
        for name in RECIPES:
            folder = root / name
            inputs = (
                load_inputs(folder / "model.pt", folder / "budget.yaml") if folder.exists() else prepare(name, folder)
            )
            with RunDirectory.open(folder / "run") as run:
                started = time.monotonic()
                space = exhaust(name, inputs, run, quick=options.quick)
                print(f"# {name}: {len(space.rows)} structures in {time.monotonic() - started:.0f} s", flush=True)
                judge(space)


if __name__ == "__main__":
    main()

"""A finalist of a small search on a steady simulated device, ready to be shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from budgetc.candidate import Workshop, Written, build, finish
from budgetc.compiler.confirming import Confirmation, Confirmed
from budgetc.compiler.costing import Costing, Costs
from budgetc.compiler.screening import Screener
from budgetc.compiler.searching import Search
from budgetc.core.budget import Budget
from budgetc.core.dataset import Dataset, Sample, SplitName
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Plan, Step
from budgetc.store.run_directory import RunDirectory
from tests.small import SIZE, dataset, small, target

UNCHANGED = Plan(recipe="none", steps=(), seed=0)


@dataclass(frozen=True, slots=True)
class Steady(Costing):
    """Latency and memory follow from the bytes of the graph."""

    def quick(self, written: Written, *, every: bool = False) -> dict[str, Measurement]:
        def found(name: str, unit: Literal["ms", "B"]) -> Measurement:
            value = written.size / 1000
            return Measurement(metric=name, value=value, unit=unit, n=60, kind="measured", device="simulated")

        times = {"latency_p50": found("latency_p50", "ms")}
        return times | {name: found(name, "B") for name in ("peak_memory", "model_memory")}


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a report is made from."""

    search: Search
    confirmed: Confirmed
    baseline: Written


def case(run: RunDirectory, family: str, *steps: Step, data: Dataset | None = None) -> Case:
    """A plan that is trained, confirmed and not the only one of its search."""
    plan = Plan(recipe="r", steps=steps, seed=0)
    budget = Budget.model_validate({"target": "host-cpu", "limits": {"auroc": {"min": 0.1}}})
    shop = Workshop(small(family), data or dataset(), target(), run, seed=0, key="k")
    costing = Steady(shop.target, budget.limits, (), run.store)
    search = Search(shop, budget, 0.9, Screener(costing), lambda sentence: None)
    search.add([UNCHANGED, plan], [])
    baseline = finish(build(UNCHANGED, shop, 1.0), shop, run.path / "baseline")
    written = finish(build(plan, shop, 1.0), shop, run.path / "finalist")
    costs = costing.quick(written)
    ratio = costs["latency_p50"].model_copy(update={"unit": "1"})
    confirmed = Confirmation(shop, budget, baseline, costing).confirm(plan.id, written, Costs(costs, costs, ratio))
    return Case(search, confirmed, baseline)


def masked(folder: Path) -> Dataset:
    """The small data set with a mask for each of the four anomalies that are confirmed, larger and larger."""
    plain = dataset()
    rows, masks = [], dict[str, NDArray[np.bool_]]()
    for number, sample in enumerate(plain.samples["confirmation"]):
        if sample.label:
            masks[sample.file] = np.zeros(SIZE, bool)
            masks[sample.file][: 4 + number, :16] = True
            sample = type(sample)(sample.file, sample.group, sample.category, sample.defect, f"{number}.png")
        rows.append(sample)
    samples: dict[SplitName, tuple[Sample, ...]] = {**plain.samples, "confirmation": tuple(rows)}
    return Dataset(str(folder), plain.digest, samples, plain.read, read_mask=lambda sample: masks[sample.file])

"""A cost model from another target's, by the ratio of clocks: for devices and power modes without rows."""

import math

from budgetc.core.cost import CostModel, Factor, Span
from budgetc.core.fit_plan import Derived
from budgetc.core.target import Target
from budgetc.measurement.fitting import rounded, scaled

_KEPT = ("describes", "sources", "preprocess_ms", "preprocess_ms_per_megapixel", "memory", "power_w")
"""Of a model that is derived again: what people may have corrected."""


def derive(base: CostModel, plan: Derived, target: Target) -> CostModel:
    """A cost model from another target's, by the ratio of clocks."""
    peak = target.fit.memory_gbyte_per_s if target.fit is not None else None
    made = _bounded(scaled(base, compute=plan.compute, traffic=plan.traffic), peak)
    launch = Span(**{edge: rounded(value * plan.launch) for edge, value in base.launch_us.model_dump().items()})
    wider = {
        part: Factor(
            lower=round(max(1 - math.hypot(1 - known.lower, 1 - plan.doubt.lower), 0.05), 3),
            upper=round(1 + math.hypot(known.upper - 1, plan.doubt.upper - 1), 3),
        )
        for part, known in base.spread.items()
    }
    artifact = _bounded(scaled(base.in_artifact(), compute=plan.compute, traffic=plan.traffic), peak).rates
    kept = {} if target.cost is None else {name: getattr(target.cost, name) for name in _KEPT}
    return made.model_copy(update={
        "describes": f"{plan.target} with arithmetic x {plan.compute:g} and traffic x {plan.traffic:g}",
        "confidence": "low", "launch_us": launch, "spread": wider, "fit": (), "power_w": None,
        "artifact_rates": {name: artifact[name] for name in base.artifact_rates}, **kept,
    })  # fmt: skip


def _bounded(cost: CostModel, peak: float | None) -> CostModel:
    """No weights are read faster than the memory delivers them."""
    if peak is None:
        return cost
    rates = {
        name: known.model_copy(
            update={"gweight_byte_per_s": known.gweight_byte_per_s and min(known.gweight_byte_per_s, peak)}
        )
        for name, known in cost.rates.items()
    }
    return cost.model_copy(update={"rates": rates})

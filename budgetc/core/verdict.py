"""Limits against measurements: the judgement, pure and in one place."""

from collections.abc import Mapping
from typing import Literal

from budgetc.core.budget import AurocLimit, Budget, Evidence, QualityEvidence
from budgetc.core.frozen import Frozen
from budgetc.core.measurement import Kind, Measurement

Outcome = Literal["pass", "fail", "inconclusive", "not measured"]
Overall = Literal[
    "compliant", "compliant (predicted)", "compliant (proxy)", "compliant (predicted, proxy)", "not compliant",
    "inconclusive",
]  # fmt: skip
EXIT_CODES: Mapping[Overall, int] = {
    "compliant": 0, "compliant (predicted)": 0, "compliant (proxy)": 0, "compliant (predicted, proxy)": 0,
    "not compliant": 3, "inconclusive": 5,
}  # fmt: skip
"""Of the command line."""
_STRENGTH: dict[Kind, int] = {"measured": 3, "emulated": 2, "proxy": 2, "predicted": 1, "declared": 0}
_NEEDED: dict[Evidence, int] = {"measured": 3, "predicted": 1}


class LimitVerdict(Frozen):
    """One limit against one measurement."""

    limit: str
    """Name of the limit in the budget."""
    bound: float
    """The budget's number, in the unit of the measurement; a floor for AUROC, a ceiling else."""
    unit: str
    measurement: Measurement | None
    margin: float | None
    """Share of the bound that is left: positive keeps the limit, negative breaks it."""
    outcome: Outcome
    certified: bool
    """Whether the interval, not just the value, lies on the good side."""
    reason: str


class Verdict(Frozen):
    """All limits of a budget together."""

    overall: Overall
    limits: tuple[LimitVerdict, ...]


def auroc_floor(limit: AurocLimit, baseline_auroc: float | None) -> float:
    """The AUROC that must be reached: the stricter of `min` and baseline - `max_drop`."""
    floors = [] if limit.min is None else [limit.min]
    if limit.max_drop is not None and baseline_auroc is not None:
        floors.append(baseline_auroc - limit.max_drop)
    return max(floors, default=0.0)


def judge_ceiling(
    limit: str, bound: float, unit: str, found: Measurement | None, *, evidence: Evidence
) -> LimitVerdict:
    """A value that must not exceed `bound`; with an interval, pass and fail need the whole interval."""
    if found is None:
        return _unmeasured(limit, bound, unit, "nothing measured it")
    if limit != "artifact_size" and found.kind != "proxy" and _STRENGTH[found.kind] < _NEEDED[evidence]:
        return _unmeasured(limit, bound, unit, f"{found.kind}, but the budget accepts only {evidence} evidence")
    upper = found.value if found.upper is None else found.upper
    lower = found.value if found.lower is None else found.lower
    outcome: Outcome
    if upper <= bound:
        outcome, reason = "pass", "the upper bound keeps the limit"
    elif lower > bound:
        outcome, reason = "fail", "the lower bound breaks the limit"
    else:
        outcome, reason = "inconclusive", "the interval contains the limit"
    return LimitVerdict(
        limit=limit, bound=bound, unit=unit, measurement=found, margin=1 - found.value / bound,
        outcome=outcome, certified=outcome == "pass", reason=reason,
    )  # fmt: skip


def judge_floor(limit: str, bound: float, found: Measurement | None, certify: bool) -> LimitVerdict:
    """A value that must reach `bound`; `certify` asks its lower bound to reach it too."""
    if found is None:
        return _unmeasured(limit, bound, "1", "nothing measured it")
    if _STRENGTH[found.kind] < _STRENGTH["emulated"]:
        return _unmeasured(limit, bound, "1", f"{found.kind}, but quality counts only where images were scored")
    outcome: Outcome
    certified = found.lower is not None and found.lower >= bound
    broken = found.upper is not None and found.upper < bound
    if certify and not certified and not broken:
        outcome, reason = "inconclusive", "the lower bound does not reach the floor; more test images would tell"
    elif broken or found.value < bound:
        outcome, reason = "fail", "below the floor"
    else:
        outcome, reason = "pass", "certified by its lower bound" if certified else "the estimate reaches the floor"
    margin = found.value / bound - 1 if bound > 0 else None
    return LimitVerdict(
        limit=limit, bound=bound, unit="1", measurement=found, margin=margin,
        outcome=outcome, certified=certified, reason=reason,
    )  # fmt: skip


def judge_proxy(verdict: LimitVerdict, accepted: QualityEvidence) -> LimitVerdict:
    """The same; where its figure is of synthetic anomalies it certifies nothing, and counts only if that is accepted.

    What is not accepted is neither a pass nor a fail: real anomalies may be easier or harder to tell.
    """
    if verdict.measurement is None or verdict.measurement.kind != "proxy":
        return verdict
    if accepted == "proxy":
        return verdict.model_copy(update={"certified": False, "reason": f"{verdict.reason}, of synthetic anomalies"})
    reason = "rests on synthetic anomalies, which only `evidence: proxy` of the limit accepts"
    return verdict.model_copy(update={"outcome": "inconclusive", "certified": False, "reason": reason})


def undecided_by_proxy(verdict: LimitVerdict) -> bool:
    """Whether a figure of synthetic anomalies keeps its limit, and is not accepted: no other candidate does more."""
    found = verdict.measurement
    kept = verdict.margin is None or verdict.margin >= 0
    return verdict.outcome == "inconclusive" and found is not None and found.kind == "proxy" and kept


def judge(budget: Budget, found: Mapping[str, Measurement], baseline_auroc: float | None) -> Verdict:
    """Every limit of the budget against what was found.

    `found` maps names of limits to measurements. For policy `noninferior` it also holds
    `auroc_loss`: the paired loss against the baseline with its interval.
    """
    limits, verdicts = budget.limits, list[LimitVerdict]()
    ceilings = ("latency_p50", "latency_p95", "latency_p99", "peak_memory", "artifact_size", "energy_per_image")
    units = dict.fromkeys(ceilings[:3], "ms") | {"peak_memory": "B", "artifact_size": "B", "energy_per_image": "mJ"}
    for name in ceilings:
        bound = getattr(limits, name)
        if bound is not None:
            verdicts.append(judge_ceiling(name, bound, units[name], found.get(name), evidence=budget.evidence))
    if limits.auroc is not None:
        accepted = limits.auroc.evidence
        verdicts.append(judge_proxy(_judge_auroc(limits.auroc, found.get("auroc"), baseline_auroc), accepted))
        if limits.auroc.policy == "noninferior" and limits.auroc.max_drop is not None:
            drop = limits.auroc.max_drop
            loss = judge_ceiling("auroc_loss", drop, "1", found.get("auroc_loss"), evidence="measured")
            verdicts.append(judge_proxy(loss, accepted))
    if limits.aupro is not None:
        aupro = judge_floor("aupro", limits.aupro.min, found.get("aupro"), certify=False)
        verdicts.append(judge_proxy(aupro, limits.aupro.evidence))
    return Verdict(overall=_overall(verdicts), limits=tuple(verdicts))


def _judge_auroc(limit: AurocLimit, found: Measurement | None, baseline_auroc: float | None) -> LimitVerdict:
    floor = auroc_floor(limit, baseline_auroc)
    if limit.max_drop is not None and baseline_auroc is None:
        return _unmeasured("auroc", floor, "1", "max_drop compares with the baseline, whose AUROC is not known")
    return judge_floor("auroc", floor, found, limit.policy == "bound")


def _overall(verdicts: list[LimitVerdict]) -> Overall:
    outcomes = {verdict.outcome for verdict in verdicts}
    if "fail" in outcomes:
        return "not compliant"
    if outcomes - {"pass"}:
        return "inconclusive"
    kinds = {verdict.measurement.kind for verdict in verdicts if verdict.measurement is not None}
    if "proxy" in kinds:
        return "compliant (predicted, proxy)" if "predicted" in kinds else "compliant (proxy)"
    return "compliant (predicted)" if "predicted" in kinds else "compliant"


def _unmeasured(limit: str, bound: float, unit: str, reason: str) -> LimitVerdict:
    return LimitVerdict(
        limit=limit, bound=bound, unit=unit, measurement=None, margin=None,
        outcome="not measured", certified=False, reason=reason,
    )  # fmt: skip

"""How far every candidate of a report is from the budget, and what relaxing which limit would buy: pure numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from budgetc.core.budget import AurocLimit
from budgetc.core.measurement import Kind, Measurement
from budgetc.core.verdict import LimitVerdict, Verdict, judge
from budgetc.report.evidence import auroc_kind, auroc_over, judge_report
from budgetc.report.schema import CandidateRecord, Report

_QUALITY = frozenset({"auroc", "auroc_loss", "aupro"})


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and what is known about it, limit by limit."""

    candidate: CandidateRecord
    verdict: Verdict

    @property
    def broken(self) -> tuple[LimitVerdict, ...]:
        """Limits that it is known to break."""
        return tuple(limit for limit in self.verdict.limits if limit.outcome == "fail")

    @property
    def worst(self) -> float:
        """Largest relative excess over a limit; 0 where none is known to be broken."""
        return max((-(limit.margin or 0.0) for limit in self.broken), default=0.0)


@dataclass(frozen=True, slots=True)
class Relaxation:
    """Limits, as they would stand in the budget file, with which `by` complies or may comply."""

    limits: tuple[str, ...]
    by: CandidateRecord
    certain: bool
    """False where the AUROC of `by` is not known yet."""


def judged_candidates(report: Report) -> list[Judged]:
    """Every candidate that can be built, against the report's budget, in the order of the report."""
    return [Judged(candidate, _verdict(report, candidate)) for candidate in report.candidates if _buildable(candidate)]


def nearest(judged: Sequence[Judged]) -> Judged | None:
    """The candidate with the smallest worst relative excess; among equals the most thoroughly known, then the smaller.

    Candidates that break nothing known (they were left untrained) come after those that miss.
    """
    missed = [one for one in judged if one.broken] or list(judged)
    return min(missed, key=lambda one: (one.worst, _unknown(one), one.candidate.id), default=None)


def untried(judged: Sequence[Judged]) -> list[Judged]:
    """Candidates that break no limit as far as known and were never trained."""
    return [one for one in judged if not one.broken and not one.candidate.auroc and _unknown(one)]


def relaxations(report: Report, judged: Sequence[Judged]) -> list[Relaxation]:
    """For each limit the least change that lets a candidate comply; where one change is not enough, all of the nearest.

    A candidate whose AUROC is unknown counts only where no known one would do.
    """
    names = dict.fromkeys(limit.limit for one in judged for limit in one.verdict.limits)
    alone = [relaxation for name in names if (relaxation := _relaxing_one(report, name, judged)) is not None]
    closest = nearest(judged)
    if any(relaxation.certain for relaxation in alone) or closest is None or len(closest.broken) < 2:
        return alone
    together = tuple(_relaxed(report, limit) for limit in closest.broken)
    return [*alone, Relaxation(limits=together, by=closest.candidate, certain=not _unknown(closest))]


def _relaxing_one(report: Report, name: str, judged: Sequence[Judged]) -> Relaxation | None:
    options = [
        (bool(_unknown(one)), -(limit.margin or 0.0), one, limit)
        for one in judged
        for limit in one.broken
        if limit.limit == name and len(one.broken) == 1
    ]
    if not options:
        return None
    uncertain, _, one, limit = min(options, key=lambda option: (option[0], option[1], option[2].candidate.id))
    return Relaxation(limits=(_relaxed(report, limit),), by=one.candidate, certain=not uncertain)


def _buildable(candidate: CandidateRecord) -> bool:
    """False where building failed, and where the plan does not apply: discarded before it was even priced."""
    return candidate.fate != "failed" and not (candidate.fate == "discarded" and candidate.artifact_size is None)


def _unknown(one: Judged) -> int:
    return sum(limit.outcome in ("not measured", "inconclusive") for limit in one.verdict.limits)


def _verdict(report: Report, candidate: CandidateRecord) -> Verdict:
    full = judge_report(report) if candidate.id == report.chosen else None
    if full is not None:
        return full
    found = {measurement.metric: measurement for measurement in candidate.screened}
    if candidate.artifact_size is not None:
        found["artifact_size"] = Measurement(
            metric="artifact_size", value=candidate.artifact_size, unit="B", n=1, kind="measured", device="file"
        )
    if candidate.auroc:
        images = report.splits.get("selection", {})
        found["auroc"] = Measurement(
            metric="auroc", value=list(candidate.auroc.values())[-1], unit="1", kind=_auroc_kind(report),
            n=images.get("good", 0) + images.get("bad", 0), device=report.target.name, split="selection",
            note="selection split",
        )  # fmt: skip
    over = auroc_kind(report.budget)
    reference = None if report.baseline is None else auroc_over(report.baseline.quality, over).value
    return judge(report.budget, found, reference)


def _auroc_kind(report: Report) -> Kind:
    """Of the selection split's figures: they are of synthetic anomalies where the baseline's are."""
    measured = report.baseline is None or report.baseline.quality.auroc_pooled.kind != "proxy"
    return "measured" if measured else "proxy"


def _relaxed(report: Report, limit: LimitVerdict) -> str:
    """The line of the budget file that this candidate would keep."""
    found = limit.measurement
    assert found is not None, "a limit is broken only by a measurement"
    if limit.limit in _QUALITY:
        return _relaxed_quality(report, limit.limit, found)
    return f"{limit.limit}: {_rounded_up(found.value if found.upper is None else found.upper, found.unit)}"


def _relaxed_quality(report: Report, name: str, found: Measurement) -> str:
    if name == "aupro":
        return f"aupro: {{min: {_down(found.value):g}}}"
    limit = report.budget.limits.auroc
    assert limit is not None, "only a limited AUROC can be broken"
    if name == "auroc_loss":
        return f"auroc: {{max_drop: {_up(found.value if found.upper is None else found.upper):g}}}"
    return f"auroc: {{{', '.join(_floors(report, limit, found.value))}}}"


def _floors(report: Report, limit: AurocLimit, value: float) -> list[str]:
    """`min` and `max_drop` as far as `value` breaks them."""
    changes = []
    if limit.min is not None and value < limit.min:
        changes.append(f"min: {_down(value):g}")
    if limit.max_drop is not None and report.baseline is not None:
        loss = auroc_over(report.baseline.quality, limit.over).value - value
        if loss > limit.max_drop:
            changes.append(f"max_drop: {_up(loss):g}")
    return changes


def _rounded_up(value: float, unit: str) -> str:
    if unit == "B":
        return _bytes_up(ceil(value))
    step = 10.0 ** (floor(log10(value)) - 1)
    return f"{float(f'{ceil(value / step - 1e-9) * step:.6g}'):g} {unit}"


def _bytes_up(size: int) -> str:
    power, unit = (2**20, "MiB") if size >= 2**20 else (2**10, "KiB") if size >= 2**10 else (1, "B")
    # One decimal, in integers: the text never reads back as less than `size`.
    tenths = -(-size * 10 // power)
    return f"{tenths / 10:.1f}".removesuffix(".0") + f" {unit}"


def _down(value: float) -> float:
    return floor(value * 1000 + 1e-9) / 1000


def _up(value: float) -> float:
    return ceil(value * 1000 - 1e-9) / 1000

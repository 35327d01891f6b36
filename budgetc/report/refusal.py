"""The error a user meets most: nothing complies. Who came nearest, which limit binds, what to relax."""

from collections.abc import Sequence

from budgetc.core.verdict import LimitVerdict
from budgetc.report.nearest import Judged, Relaxation, judged_candidates, nearest, relaxations, untried
from budgetc.report.schema import CandidateRecord, Report
from budgetc.report.words import aligned, apart, backing, clean, limit_words, percent

_FLOORS = frozenset({"auroc", "aupro"})
_MEASURE_AGAIN = (
    "Try: the same command while the machine is quiet (trainings are taken from the run directory, "
    "measurements are not), or more room in the limit"
)


def refusal(report: Report) -> str:
    """Why no artifact of this report may be deployed, and what to change; several lines.

    For a report that is not compliant, inconclusive or stopped.
    """
    if not report.complete:
        return "The run was stopped before the end, so nothing is compliant. The same command continues it."
    if report.verdict is not None and report.verdict.overall == "inconclusive":
        return _undecided(report, report.verdict.limits)
    judged = judged_candidates(report)
    closest = nearest(judged)
    if closest is None:
        return "\n".join([_nothing_built(report), *_advice([], report)])
    head = f"No candidate keeps {clean(report.budget_name)} ({_tried(report)}). Nearest: {_named(closest.candidate)}"
    rows = [_row(limit, closest, report) for limit in closest.verdict.limits]
    return "\n".join([head, _indented(aligned(rows)), *_advice(_attempts(report, judged), report)])


def _undecided(report: Report, limits: Sequence[LimitVerdict]) -> str:
    head = f"Whether {clean(report.budget_name)} is kept cannot be told for sure:"
    rows = [
        (limit.limit, *_value_and_limit(limit), limit.reason, _support(limit))
        for limit in limits
        if limit.outcome != "pass"
    ]
    again = [_MEASURE_AGAIN] if any(one.outcome == "inconclusive" and one.unit == "ms" for one in limits) else []
    return "\n".join([head, _indented(aligned(rows)), *again, *_advice([], report)])


def _nothing_built(report: Report) -> str:
    head = f"No candidate of {clean(report.budget_name)} could be built ({len(report.candidates)} tried)."
    reasons = [f"  {_named(candidate)}: {clean(candidate.reason)}" for candidate in report.candidates[:3]]
    return "\n".join([head, *reasons])


def _tried(report: Report) -> str:
    failed = sum(candidate.fate == "failed" for candidate in report.candidates)
    return f"{len(report.candidates)} tried" + (f", {failed} could not be built" if failed else "")


def _named(candidate: CandidateRecord) -> str:
    return f"{candidate.plan.title()} [{candidate.id}]"


def _row(limit: LimitVerdict, closest: Judged, report: Report) -> tuple[str, ...]:
    return (limit.limit, *_value_and_limit(limit), _distance(limit, closest, report), _support(limit))


def _value_and_limit(limit: LimitVerdict) -> tuple[str, str]:
    if limit.measurement is None:
        return "-", f"limit {limit_words(limit.bound, limit.unit)}"
    value, bound = apart(limit.measurement.value, limit.bound, limit.unit)
    return value, f"limit {bound}"


def _distance(limit: LimitVerdict, closest: Judged, report: Report) -> str:
    if limit.measurement is None:
        return _why_unknown(limit, closest, report)
    if limit.outcome == "fail" and limit.margin is not None:
        side = "below" if limit.limit in _FLOORS else "over"
        return f"{side} by {percent(-limit.margin)}"
    return "kept" if limit.outcome == "pass" else limit.reason


def _why_unknown(limit: LimitVerdict, closest: Judged, report: Report) -> str:
    if limit.limit not in _FLOORS or closest.candidate.auroc:
        return f"not measured ({limit.reason})"
    if closest.broken:
        return f"not trained (its {closest.broken[0].limit} already fails)"
    return f"not trained ({clean(report.search.stopped_because)})"


def _support(limit: LimitVerdict) -> str:
    return "" if limit.measurement is None else f"({backing(limit.measurement)})"


def _attempts(report: Report, judged: Sequence[Judged]) -> list[str]:
    rows = [_attempt(relaxation, report) for relaxation in relaxations(report, judged)]
    texts = aligned(rows).splitlines() if rows else []
    left = untried(judged)
    if left:
        texts.append(f"search: more trainings or time ({len(left)} that may comply were not trained)")
    return texts


def _attempt(relaxation: Relaxation, report: Report) -> tuple[str, str]:
    if relaxation.by.id == report.chosen and report.artifact is not None and relaxation.certain:
        follows = "complies"
    elif relaxation.certain:
        follows = "should comply (screened only: leave some room)"
    else:
        follows = "may comply (not everything about it is known yet)"
    return " and ".join(relaxation.limits), f"then {_named(relaxation.by)} {follows}"


def _advice(attempts: Sequence[str], report: Report) -> list[str]:
    lines = [*attempts, *(clean(line) for line in report.advice)]
    if not lines:
        return []
    return ["Try:" if len(lines) == 1 else "Try one of:", *(f"  {line}" for line in lines)]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())

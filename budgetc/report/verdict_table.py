"""What the command line prints at the end of a run: the verdict at a glance."""

from budgetc.core.verdict import LimitVerdict, Verdict
from budgetc.report.controls import control_rows
from budgetc.report.evidence import auroc_kind, auroc_over, evidence, judge_report, judge_subject
from budgetc.report.glossary import AFTER_INSTALL
from budgetc.report.schema import CandidateRecord, Comparison, Report, Subject
from budgetc.report.words import ABSENT, aligned, apart, backing, clean, limit_words, percent, quantity, ratio

HEADER = ("limit", "baseline", "artifact", "bound", "margin", "outcome", "evidence")
_FLOORS = frozenset({"auroc", "aupro"})


def verdict_table(report: Report) -> str:
    """Limits as aligned columns with the baseline beside them, then the choice and what it gained.

    Without the notes on how each number was found: they would make lines that no terminal holds.
    """
    overall = overall_words(report)
    parts = [
        f"{clean(report.budget_name)}: {overall}",
        aligned([HEADER, *limit_rows(report, with_notes=False)]),
        _summary(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def overall_words(report: Report) -> str:
    """The verdict in one phrase, with what is missing where there is none."""
    if not report.complete:
        return "stopped before the end, so nothing is compliant"
    return "not compliant (nothing was trained to the end)" if report.verdict is None else report.verdict.overall


def limit_rows(report: Report, *, with_notes: bool = True) -> list[tuple[str, ...]]:
    """A row a limit, in the columns of `HEADER`; `with_notes`: also how each number was found."""
    verdict = judge_report(report) if report.verdict is None else report.verdict
    baseline = _judged_baseline(report)
    if verdict is None:
        return [_baseline_row(limit) for limit in baseline.limits] if baseline else []
    beside = {limit.limit: limit for limit in baseline.limits} if baseline else {}
    rows = [_row(limit, beside.get(limit.limit), with_notes) for limit in verdict.limits]
    return [(*row[:-1], support_words(report, row[0], row[-1])) for row in rows]


def support_words(report: Report, limit: str, support: str) -> str:
    """What stands behind the value of a limit, and what must be done for it to hold."""
    after = AFTER_INSTALL if report.needs_install and limit == "peak_memory" else ""
    return "; ".join(filter(None, (support, after)))


def plan_of(report: Report) -> CandidateRecord | None:
    """The record of the candidate that the artifact is."""
    return next((candidate for candidate in report.candidates if candidate.id == report.chosen), None)


def gains(report: Report, *, with_notes: bool = True) -> list[tuple[str, str]]:
    """What the artifact costs and loses against the baseline: (name, words); `with_notes` as in `limit_rows`."""
    comparison, baseline, artifact = report.comparison, report.baseline, report.artifact
    if comparison is None or baseline is None or artifact is None:
        return []
    rows = [
        ("size", _size(comparison, baseline, artifact)),
        ("latency (p50)", ratio(comparison.latency_p50_ratio, with_note=with_notes)),
        ("memory above runtime", ratio(comparison.model_memory_ratio, with_note=with_notes)),
        ("AUROC", _auroc(report, baseline, artifact, with_notes)),
    ]
    if comparison.rank_agreement is not None:
        found = {"rank agreement": comparison.rank_agreement,
                 "false alarms on held-out normals": artifact.quality.false_positive_rate}  # fmt: skip
        rows += [(name, f"{one.value:.3f} ({backing(one, with_confidence=True, with_note=with_notes)})")
                 for name, one in found.items()]  # fmt: skip
    return rows


def _judged_baseline(report: Report) -> Verdict | None:
    if report.baseline is None:
        return None
    return judge_subject(report.budget, report.baseline, baseline=report.baseline)


def _row(limit: LimitVerdict, baseline: LimitVerdict | None, with_notes: bool) -> tuple[str, ...]:
    sign = ">=" if limit.limit in _FLOORS else "<="
    bound = limit_words(limit.bound, limit.unit)
    value, support = ABSENT, limit.reason
    if limit.measurement is not None:
        value, bound = apart(limit.measurement.value, limit.bound, limit.unit)
        support = backing(limit.measurement, with_note=with_notes)
    margin = ABSENT if limit.margin is None else percent(limit.margin, sign=True)
    return limit.limit, _baseline_cell(baseline), value, f"{sign} {bound}", margin, outcome_words(limit), support


def _baseline_row(limit: LimitVerdict) -> tuple[str, ...]:
    name, before, _, bound, *_ = _row(limit, limit, False)
    return name, before, ABSENT, bound, ABSENT, "not measured", "nothing was trained to the end"


def outcome_words(limit: LimitVerdict) -> str:
    """The outcome; a floor that only the estimate, or only synthetic anomalies reach says so."""
    if limit.outcome == "pass" and limit.measurement is not None and limit.measurement.kind == "proxy":
        return "pass (proxy)"
    return "pass (estimate)" if limit.outcome == "pass" and not limit.certified else limit.outcome


def _baseline_cell(limit: LimitVerdict | None) -> str:
    if limit is None or limit.measurement is None:
        return ABSENT
    value = apart(limit.measurement.value, limit.bound, limit.unit)[0]
    return value if limit.outcome == "pass" else f"{value} ({limit.outcome})"


def _summary(report: Report) -> str:
    rows, candidate = [], plan_of(report)
    if candidate is not None:
        best = "chosen" if report.verdict is not None and report.verdict.overall.startswith("compl") else "best effort"
        rows.append((best, f"{candidate.plan.title()}  [{candidate.id}]"))
        rows.append(("why", clean(report.why)))
    rows += gains(report, with_notes=False)
    rows += [(f"control: {name}", words) for name, words in control_rows(report.controls)]
    rows += [("near tie", f"{_titled(report, other)}: a slightly other measurement would have chosen it")
             for other in report.search.near_ties]  # fmt: skip
    rows += [("warning", clean(warning)) for warning in report.warnings]
    return aligned(rows) if rows else ""


def _titled(report: Report, candidate_id: str) -> str:
    titles = {candidate.id: candidate.plan.title() for candidate in report.candidates}
    return f"{titles.get(candidate_id, 'unknown plan')}  [{candidate_id}]"


def _size(comparison: Comparison, baseline: Subject, artifact: Subject) -> str:
    before, after = (quantity(sum(subject.files.values()), "B") for subject in (baseline, artifact))
    return f"{comparison.size_ratio.value:.2g} x baseline ({after} instead of {before}, exact)"


def _auroc(report: Report, baseline: Subject, artifact: Subject, with_notes: bool) -> str:
    over = auroc_kind(report.budget)
    before, after = (auroc_over(subject.quality, over).value for subject in (baseline, artifact))
    loss = evidence(artifact, over, report.comparison)["auroc_loss"]
    change = "loses" if loss.value >= 0 else "gains"
    words = f"{after:.3f} instead of {before:.3f}: {change} {abs(loss.value):.3f}"
    return f"{words} (loss: {backing(loss, with_confidence=True, with_note=with_notes)})"

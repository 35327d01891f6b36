"""What counts as evidence for a verdict: the one place that joins a report's measurements to the limits."""

from collections.abc import Mapping

from budgetc.core.budget import Budget, Over
from budgetc.core.measurement import Measurement
from budgetc.core.verdict import Verdict, judge
from budgetc.report.schema import Comparison, Quality, Report, Subject


def auroc_over(quality: Quality, over: Over) -> Measurement:
    """The AUROC that a limit with this `over` is about."""
    by_name: Mapping[Over, Measurement] = {
        "mean": quality.auroc_mean,
        "worst-category": quality.auroc_worst,
        "pooled": quality.auroc_pooled,
    }
    return by_name[over]


def auroc_kind(budget: Budget) -> Over:
    """The kind of AUROC that this budget limits; the mean where it limits none."""
    return budget.limits.auroc.over if budget.limits.auroc is not None else "mean"


def evidence(subject: Subject, over: Over, comparison: Comparison | None = None) -> dict[str, Measurement]:
    """Name of a limit -> the measurement that answers it."""
    found = {measurement.metric: measurement for measurement in subject.measurements}
    found["auroc"] = auroc_over(subject.quality, over)
    if subject.quality.aupro is not None:
        found["aupro"] = subject.quality.aupro
    if comparison is not None:
        found["auroc_loss"] = comparison.auroc_loss
    return found


def judge_subject(
    budget: Budget, subject: Subject, *, baseline: Subject | None, comparison: Comparison | None = None
) -> Verdict:
    """The verdict on what was measured; `baseline` and `comparison` serve the limits that compare."""
    over = auroc_kind(budget)
    reference = None if baseline is None else auroc_over(baseline.quality, over).value
    return judge(budget, evidence(subject, over, comparison), reference)


def judge_report(report: Report, budget: Budget | None = None) -> Verdict | None:
    """The verdict that follows from a report's own measurements, against its own or another budget.

    None where the report has no artifact. A run that was stopped is never compliant.
    """
    if report.artifact is None:
        return None
    verdict = judge_subject(
        budget or report.budget, report.artifact, baseline=report.baseline, comparison=report.comparison
    )
    if not report.complete and verdict.overall != "not compliant":
        return verdict.model_copy(update={"overall": "inconclusive"})
    return verdict

"""What counts for which limit."""

import pytest
from pydantic import ValidationError

from budgetc.report.evidence import auroc_over, judge_report
from budgetc.report.schema import Report, Subject
from tests.report.example import make_report, measured, quality, with_limits


def test_the_example_is_compliant(report: Report) -> None:
    """All four limits pass on the artifact; the AUROC only by its estimate."""
    verdict = judge_report(report)
    assert verdict is not None
    assert verdict.overall == "compliant"
    assert {limit.limit: limit.certified for limit in verdict.limits} == {
        "latency_p95": True, "peak_memory": True, "artifact_size": True, "auroc": False,
    }  # fmt: skip


def test_the_floor_follows_the_baseline(report: Report) -> None:
    """The stricter of `min` 0.90 and baseline 0.962 - `max_drop` 0.02."""
    verdict = judge_report(report)
    assert verdict is not None
    assert verdict.limits[-1].bound == pytest.approx(0.942)


@pytest.mark.parametrize(("over", "value"), [("mean", 0.957), ("worst-category", 0.926), ("pooled", 0.945)])
def test_the_budget_says_which_auroc_counts(report: Report, over: str, value: float) -> None:
    """`over` picks the measurement for the artifact and for the baseline."""
    verdict = judge_report(report, with_limits(report, auroc={"max_drop": 0.01, "over": over}))
    assert verdict is not None
    found = verdict.limits[-1]
    assert found.measurement is not None
    assert found.measurement.value == pytest.approx(value)
    assert found.bound == pytest.approx(value + 0.005 - 0.01)


def test_noninferiority_looks_at_the_paired_loss(report: Report) -> None:
    """The upper end of the loss, 0.014, decides."""
    for drop, overall in ((0.015, "compliant"), (0.013, "inconclusive")):
        verdict = judge_report(report, with_limits(report, auroc={"max_drop": drop, "policy": "noninferior"}))
        assert verdict is not None
        assert verdict.overall == overall


def test_aupro_counts_where_it_is_measured(report: Report) -> None:
    """Absent it is not measured; present it is judged."""
    budget = with_limits(report, aupro={"min": 0.8})
    assert report.artifact is not None
    missing = judge_report(report, budget)
    maps = quality(0.957).model_copy(update={"aupro": measured("aupro", 0.83, "1", n=96)})
    there = judge_report(make_report(artifact=report.artifact.model_copy(update={"quality": maps})), budget)
    assert missing is not None and missing.limits[-1].outcome == "not measured"
    assert there is not None and there.limits[-1].outcome == "pass"


def test_no_artifact_no_verdict() -> None:
    """Nothing to judge."""
    assert judge_report(make_report(artifact=None, comparison=None, chosen=None)) is None


def test_a_stopped_run_is_never_compliant() -> None:
    """Whatever was measured until then."""
    verdict = judge_report(make_report(complete=False))
    assert verdict is not None
    assert verdict.overall == "inconclusive"


def test_a_stopped_run_can_be_known_to_fail(report: Report) -> None:
    """A broken limit stays broken."""
    verdict = judge_report(make_report(complete=False, budget=with_limits(report, latency_p95="10 ms")))
    assert verdict is not None
    assert verdict.overall == "not compliant"


def test_one_metric_cannot_have_two_values() -> None:
    """Which of them would be judged?"""
    twice = (measured("latency_p95", 18.2, "ms"), measured("latency_p95", 99.0, "ms"))
    with pytest.raises(ValidationError, match="latency_p95 is measured more than once"):
        Subject(files={}, parameters=0, measurements=twice, quality=quality(0.957))


def test_the_kinds_of_auroc_are_told_apart() -> None:
    """Each name gives its own measurement."""
    found = quality(0.957)
    names = [auroc_over(found, over).metric for over in ("mean", "worst-category", "pooled")]
    assert names == ["auroc_mean", "auroc_worst", "auroc_pooled"]

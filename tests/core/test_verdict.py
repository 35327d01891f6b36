"""The judgement: every outcome, every kind of evidence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.budget import AurocLimit, Budget
from budgetc.core.measurement import Kind, Measurement
from budgetc.core.verdict import Verdict, auroc_floor, judge, judge_ceiling, judge_floor


def found(value: float, lower: float | None = None, upper: float | None = None, kind: Kind = "measured") -> Measurement:
    return Measurement(metric="x", value=value, unit="1", lower=lower, upper=upper, n=100, kind=kind, device="host")


def budget(evidence: str = "measured", **limits: Any) -> Budget:
    return Budget.model_validate({"target": "host-cpu", "evidence": evidence, "limits": limits})


def outcomes(verdict: Verdict) -> dict[str, str]:
    return {limit.limit: limit.outcome for limit in verdict.limits}


@pytest.mark.parametrize(
    ("value", "lower", "upper", "outcome"),
    [
        (9.0, 8.5, 9.5, "pass"), (9.0, 8.5, 10.0, "pass"), (9.0, 8.5, 10.1, "inconclusive"),
        (10.5, 9.9, 11.0, "inconclusive"), (11.0, 10.0, 12.0, "inconclusive"), (11.0, 10.1, 12.0, "fail"),
        (10.0, None, None, "pass"), (10.1, None, None, "fail"),
    ],
)  # fmt: skip
def test_a_ceiling_needs_the_whole_interval(value: float, lower: float, upper: float, outcome: str) -> None:
    """Pass if the upper bound keeps 10, fail if the lower bound breaks it, else inconclusive; equality keeps."""
    verdict = judge_ceiling("latency_p95", 10.0, "ms", found(value, lower, upper), evidence="measured")
    assert (verdict.outcome, verdict.certified) == (outcome, outcome == "pass")


def test_margin_of_a_ceiling_is_what_is_left() -> None:
    """8 of 10 leaves 20 %; 12 of 10 is 20 % over."""
    margins = [
        judge_ceiling("latency_p95", 10.0, "ms", found(value), evidence="measured").margin for value in (8.0, 12.0)
    ]
    assert margins == pytest.approx([0.2, -0.2])


@pytest.mark.parametrize(
    ("kind", "evidence", "outcome"),
    [
        ("measured", "measured", "pass"), ("emulated", "measured", "not measured"),
        ("predicted", "measured", "not measured"), ("declared", "measured", "not measured"),
        ("measured", "predicted", "pass"), ("emulated", "predicted", "pass"), ("predicted", "predicted", "pass"),
        ("declared", "predicted", "not measured"),
    ],
)  # fmt: skip
def test_evidence_must_be_strong_enough(kind: Kind, evidence: Any, outcome: str) -> None:
    """Each kind of evidence against what the budget accepts; too weak is never a pass, nor a fail."""
    assert judge_ceiling("latency_p95", 10.0, "ms", found(1.0, kind=kind), evidence=evidence).outcome == outcome


def test_weak_evidence_is_named() -> None:
    """The reason says what was there and what is needed."""
    verdict = judge_ceiling("peak_memory", 10.0, "B", found(1.0, kind="predicted"), evidence="measured")
    assert verdict.reason == "predicted, but the budget accepts only measured evidence"
    assert verdict.measurement is None


def test_size_needs_no_measurement_on_the_device() -> None:
    """Bytes are exact wherever they are counted."""
    assert (
        judge_ceiling("artifact_size", 10.0, "B", found(9.0, kind="predicted"), evidence="measured").outcome == "pass"
    )


def test_a_missing_measurement_is_no_pass() -> None:
    """Energy where nothing measures it: the limit is not ignored."""
    verdict = judge(budget(energy_per_image="50 mJ"), {}, None)
    assert outcomes(verdict) == {"energy_per_image": "not measured"}
    assert verdict.overall == "inconclusive"


@pytest.mark.parametrize(
    ("value", "lower", "upper", "certify", "outcome", "certified"),
    [
        (0.95, 0.92, 0.97, False, "pass", True), (0.92, 0.88, 0.95, False, "pass", False),
        (0.89, 0.85, 0.93, False, "fail", False), (0.85, 0.80, 0.89, False, "fail", False),
        (0.95, 0.92, 0.97, True, "pass", True), (0.92, 0.88, 0.95, True, "inconclusive", False),
        (0.89, 0.85, 0.93, True, "inconclusive", False), (0.85, 0.80, 0.89, True, "fail", False),
        (0.90, None, None, False, "pass", False), (0.95, None, None, True, "inconclusive", False),
        (0.95, 0.90, 0.97, True, "pass", True),
    ],
)  # fmt: skip
def test_a_floor_by_estimate_or_by_bound(
    value: float, lower: float, upper: float, certify: bool, outcome: str, certified: bool
) -> None:
    """`estimate` compares the value with .90; `bound` wants the lower bound there and fails only on the upper."""
    verdict = judge_floor("auroc", 0.90, found(value, lower, upper), certify)
    assert (verdict.outcome, verdict.certified) == (outcome, certified)


@pytest.mark.parametrize(
    ("kind", "outcome"), [("emulated", "pass"), ("predicted", "not measured"), ("declared", "not measured")]
)
def test_quality_is_never_predicted(kind: Kind, outcome: str) -> None:
    """An AUROC counts only where images were scored, whatever evidence suffices for latency."""
    verdict = judge(budget("predicted", auroc={"min": 0.9}), {"auroc": found(0.99, kind=kind)}, None)
    assert outcomes(verdict) == {"auroc": outcome}


def test_margin_of_a_floor() -> None:
    """A tenth above the floor is +10 %."""
    assert judge_floor("auroc", 0.80, found(0.88), False).margin == pytest.approx(0.10)


def test_the_stricter_floor_counts() -> None:
    """min .90 and a drop of .02 from the baseline: whichever is higher."""
    limit = AurocLimit(min=0.90, max_drop=0.02)
    assert auroc_floor(limit, 0.97) == pytest.approx(0.95)
    assert auroc_floor(limit, 0.91) == 0.90
    assert auroc_floor(AurocLimit(max_drop=0.02), 0.91) == pytest.approx(0.89)


def test_max_drop_without_a_baseline_is_not_ignored() -> None:
    """A limit that cannot be checked is never kept."""
    verdict = judge(budget(auroc={"max_drop": 0.02}), {"auroc": found(0.5)}, None)
    assert outcomes(verdict) == {"auroc": "not measured"}
    assert verdict.limits[0].reason == "max_drop compares with the baseline, whose AUROC is not known"


def test_policy_bound_asks_for_the_lower_bound() -> None:
    """The same measurement passes by estimate and is inconclusive by bound."""
    auroc = {"auroc": found(0.92, 0.88, 0.95)}
    assert judge(budget(auroc={"min": 0.9}), auroc, None).overall == "compliant"
    assert judge(budget(auroc={"min": 0.9, "policy": "bound"}), auroc, None).overall == "inconclusive"


@pytest.mark.parametrize(
    ("loss", "outcome"),
    [((0.00, -0.01, 0.02), "pass"), ((0.01, -0.01, 0.03), "inconclusive"), ((0.03, 0.01, 0.05), "inconclusive"),
     ((0.03, 0.021, 0.04), "fail")],
)  # fmt: skip
def test_policy_noninferior_bounds_the_paired_loss(loss: tuple[float, float, float], outcome: str) -> None:
    """The upper bound of the loss must not exceed max_drop."""
    limits = budget(auroc={"max_drop": 0.02, "policy": "noninferior"})
    verdict = judge(limits, {"auroc": found(0.95), "auroc_loss": found(*loss)}, 0.96)
    assert outcomes(verdict) == {"auroc": "pass", "auroc_loss": outcome}


def test_policy_noninferior_without_a_loss_is_no_pass() -> None:
    """Forgetting to measure the paired loss cannot certify it."""
    limits = budget(auroc={"max_drop": 0.02, "policy": "noninferior"})
    verdict = judge(limits, {"auroc": found(0.95)}, 0.96)
    assert outcomes(verdict) == {"auroc": "pass", "auroc_loss": "not measured"}
    assert verdict.overall == "inconclusive"


def test_every_limit_is_judged() -> None:
    """All eight limits of a budget appear in the verdict, none is dropped."""
    limits = budget(
        latency_p50="10 ms", latency_p95="10 ms", latency_p99="10 ms", peak_memory="10 B", artifact_size="10 B",
        energy_per_image="10 mJ", auroc={"min": 0.9}, aupro={"min": 0.8},
    )  # fmt: skip
    measured = {name: found(1.0) for name in type(limits.limits).model_fields}
    verdict = judge(limits, measured, None)
    assert outcomes(verdict) == dict.fromkeys(type(limits.limits).model_fields, "pass")
    assert verdict.overall == "compliant"


def test_unlimited_metrics_are_not_judged() -> None:
    """What the budget does not name is not part of the verdict."""
    verdict = judge(budget(artifact_size="10 B"), {"artifact_size": found(1.0), "latency_p95": found(1e9)}, None)
    assert outcomes(verdict) == {"artifact_size": "pass"}


@pytest.mark.parametrize(
    ("size", "latency", "memory", "overall"),
    [
        (found(1), found(1), found(1), "compliant"),
        (found(1), found(1, kind="predicted"), found(1), "compliant (predicted)"),
        (found(99), found(1), found(1), "not compliant"),
        (found(99), found(1), None, "not compliant"),
        (found(99), found(10, 9, 11), found(1), "not compliant"),
        (found(1), found(10, 9, 11), found(1), "inconclusive"),
        (found(1), found(1), None, "inconclusive"),
        (found(1), found(1, kind="predicted"), None, "inconclusive"),
        (found(1), found(99, kind="predicted"), found(1), "not compliant"),
    ],
)
def test_overall(size: Measurement, latency: Measurement, memory: Measurement | None, overall: str) -> None:
    """One broken limit decides; then one open limit; then the weakest evidence."""
    limits = budget("predicted", artifact_size="10 B", latency_p95="10 ms", peak_memory="10 B")
    measured = {"artifact_size": size, "latency_p95": latency} | ({} if memory is None else {"peak_memory": memory})
    assert judge(limits, measured, None).overall == overall


def test_a_verdict_survives_writing_and_reading() -> None:
    """`verify` re-reads what `compile` wrote."""
    verdict = judge(budget(artifact_size="10 B", energy_per_image="1 J"), {"artifact_size": found(3.0)}, None)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_measurement_is_finite(value: float) -> None:
    """nan compares with nothing and would slip past a floor; JSON has neither."""
    with pytest.raises(ValueError, match="finite number"):
        found(value)


QUALITY = st.fixed_dictionaries(
    {"auroc": st.floats(0, 1), "auroc_loss": st.floats(-0.5, 0.5), "aupro": st.floats(0, 1)}
)


@given(
    values=QUALITY, min_=st.floats(0.01, 1), max_drop=st.floats(0.001, 1),
    policy=st.sampled_from(("estimate", "bound", "noninferior")), sides=st.floats(0, 0.3),
)  # fmt: skip
def test_synthetic_anomalies_decide_nothing_unless_accepted(
    values: dict[str, float], min_: float, max_drop: float, policy: str, sides: float
) -> None:
    """Neither a pass nor a fail, whatever the figures and the policy."""
    limits = budget(auroc={"min": min_, "max_drop": max_drop, "policy": policy}, aupro={"min": min_})
    measured = {name: found(one, one - sides, one + sides, kind="proxy") for name, one in values.items()}
    verdict = judge(limits, measured, 0.9)
    assert set(outcomes(verdict).values()) == {"inconclusive"}
    assert verdict.overall == "inconclusive"
    assert not any(limit.certified for limit in verdict.limits)


@given(values=QUALITY, min_=st.floats(0.01, 1), policy=st.sampled_from(("estimate", "bound", "noninferior")))
def test_accepted_synthetic_anomalies_are_judged_alike_but_named(
    values: dict[str, float], min_: float, policy: str
) -> None:
    """The outcomes of measured figures; never plainly compliant, never certified."""

    def judged(kind: Kind) -> Verdict:
        auroc = {"min": min_, "max_drop": 0.05, "policy": policy, "evidence": "proxy"}
        limits = budget(auroc=auroc, aupro={"min": min_, "evidence": "proxy"})
        return judge(limits, {name: found(one, one - 0.1, one + 0.1, kind=kind) for name, one in values.items()}, 0.9)

    proxy, measured = judged("proxy"), judged("measured")
    assert outcomes(proxy) == outcomes(measured)
    assert proxy.overall == ("compliant (proxy)" if measured.overall == "compliant" else measured.overall)
    assert not any(limit.certified for limit in proxy.limits)


def test_predicted_cost_and_synthetic_anomalies_are_both_named() -> None:
    """Two kinds of weak evidence, both accepted."""
    limits = budget("predicted", latency_p95="10 ms", auroc={"min": 0.9, "evidence": "proxy"})
    measured = {"latency_p95": found(1.0, kind="predicted"), "auroc": found(0.95, kind="proxy")}
    assert judge(limits, measured, None).overall == "compliant (predicted, proxy)"

"""A budget: what it needs, what it refuses, what it assumes."""

from typing import Any

import pytest
from pydantic import ValidationError

from budgetc.core.budget import AurocLimit, Budget, Limits

SMALLEST: dict[str, Any] = {"target": "host-cpu", "limits": {"latency_p95": "25 ms"}}


def with_auroc(**auroc: Any) -> dict[str, Any]:
    return {"target": "host-cpu", "limits": {"auroc": auroc}}


def test_one_limit_is_enough() -> None:
    """Everything but the target and one limit has a default."""
    budget = Budget.model_validate(SMALLEST)
    assert budget.limits.latency_p95 == 25.0
    assert (budget.evidence, budget.data, budget.search.trainings, budget.search.seed) == ("measured", None, 40, 0)


def test_a_budget_survives_writing_and_reading() -> None:
    """What a report holds is a budget that `compile` accepts again."""
    raw = {
        **SMALLEST, "evidence": "predicted",
        "limits": {"peak_memory": "256 MiB", "artifact_size": "1.37 MB", "latency_p50": "0.1 ms", "aupro": {"min": 0.8},
                   "auroc": {"min": 0.9, "max_drop": 0.02, "over": "worst-category", "policy": "bound"}},
        "search": {"recipes": ["quantize"], "time": "7 min"},
    }  # fmt: skip
    budget = Budget.model_validate(raw)
    assert Budget.model_validate_json(budget.model_dump_json()) == budget


def test_a_budget_without_limits_is_refused() -> None:
    """Nothing to keep is a mistake, not success."""
    with pytest.raises(ValidationError, match="no limit is given; at least one is needed"):
        Limits()


def test_auroc_without_a_floor_is_refused() -> None:
    """A policy alone limits nothing."""
    with pytest.raises(ValidationError, match="auroc needs min, max_drop or both"):
        Budget.model_validate(with_auroc(policy="estimate"))


def test_noninferior_needs_max_drop() -> None:
    """Non-inferiority is a statement about a difference."""
    with pytest.raises(ValidationError, match="policy noninferior compares with the baseline and needs max_drop"):
        AurocLimit(min=0.9, policy="noninferior")


@pytest.mark.parametrize("value", [90, 0, -0.1, float("nan"), float("inf")])
def test_auroc_is_a_share(value: float) -> None:
    """90 for 0.90 is the likely slip."""
    with pytest.raises(ValidationError, match=r"limits\.auroc\.min"):
        Budget.model_validate(with_auroc(min=value))


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({**SMALLEST, "limit": {}}, "limit"),
        ({"target": "host-cpu", "limits": {"latency_p59": "25 ms"}}, "limits.latency_p59"),
        (with_auroc(min=0.9, polcy="bound"), "limits.auroc.polcy"),
        ({**SMALLEST, "search": {"training": 4}}, "search.training"),
    ],
)
def test_a_misspelt_key_is_refused(raw: dict[str, Any], where: str) -> None:
    """A typo never runs with defaults; the error names the key."""
    with pytest.raises(ValidationError) as caught:
        Budget.model_validate(raw)
    assert [(".".join(map(str, e["loc"])), e["type"]) for e in caught.value.errors()] == [(where, "extra_forbidden")]


@pytest.mark.parametrize("field", ["over", "policy"])
def test_unknown_choices_are_refused(field: str) -> None:
    """The error lists what can be chosen."""
    with pytest.raises(ValidationError, match=r"Input should be '"):
        Budget.model_validate(with_auroc(min=0.9, **{field: "best"}))


def test_a_limit_without_unit_is_refused() -> None:
    """A bare number could be anything."""
    with pytest.raises(ValidationError, match=r"a number with a unit such as '25 ms', found 25"):
        Budget.model_validate({"target": "host-cpu", "limits": {"latency_p95": 25}})


def test_a_budget_cannot_be_changed() -> None:
    """Inside the compiler a budget is a fact."""
    budget = Budget.model_validate(SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        budget.target = "other"

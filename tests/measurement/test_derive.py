"""Cost models of devices without rows."""

import pytest

from budgetc.core.cost import CostModel, Factor
from budgetc.core.fit_plan import Derived, FitPlan
from budgetc.measurement.derive import derive
from budgetc.measurement.pricing import price
from tests.rows import conv
from tests.targets import cost, predicted_target


def derived(base: CostModel) -> CostModel:
    """Half the clock, memory as fast."""
    plan = Derived(target="base", compute=0.5, traffic=1, launch=2, doubt=Factor(lower=0.9, upper=1.1))
    return derive(base, plan, predicted_target(cost=None, fit=FitPlan(derived=plan)))


def test_another_clock_scales_arithmetic_and_launches() -> None:
    """And widens the interval of every part."""
    base = cost()
    made, op = derived(base), conv(64, 64, 32)
    before, after = price(op, base), price(op, made)
    assert after.compute_ms == pytest.approx(2 * before.compute_ms)
    assert after.launch_ms == 2 * before.launch_ms and after.traffic_ms == before.traffic_ms
    assert made.spread["conv1x1"].upper == pytest.approx(1 + 0.1 * 2**0.5, abs=1e-3)
    assert made.confidence == "low" and made.fit == ()


def test_a_faster_clock_does_not_make_the_memory_faster() -> None:
    """Traffic of weights stops at the peak that the plan names; that of activations, which caches hold, does not."""
    plan = Derived(target="base", compute=3, traffic=3, doubt=Factor(lower=0.9, upper=1.1))
    made = derive(cost(), plan, predicted_target(cost=None, fit=FitPlan(derived=plan, memory_gbyte_per_s=17)))
    assert (made.rates["linear"].gweight_byte_per_s, made.rates["linear"].gbyte_per_s) == (17, 30)

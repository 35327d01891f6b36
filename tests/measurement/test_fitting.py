"""Rates from rows."""

import math

import numpy as np
import pytest

from budgetc.core.cost import CostModel
from budgetc.core.operator import OpClass, Operator
from budgetc.measurement.fitting import Sample, fit_rates, fit_speedup, predictions, scaled
from budgetc.measurement.pricing import price, price_graph
from tests.targets import cost, span


def networks(known: CostModel, count: int = 60) -> list[Sample]:
    """Random stacks of 3x3 and 1x1 convolutions, timed by a known model."""
    rng, made = np.random.default_rng(0), list[Sample]()
    for _ in range(count):
        ops = []
        for _ in range(int(rng.integers(2, 9))):
            kernel, size, channels = int(rng.choice([1, 3])), int(rng.integers(8, 64)), int(rng.integers(16, 256))
            ops.append(
                Operator("conv", channels * size**2, channels * size**2, kernel=kernel, cin=channels, cout=channels,
                         macs=(channels * kernel * size) ** 2, weights=(channels * kernel) ** 2, out_h=size, out_w=size)
            )  # fmt: skip
        made.append(Sample(tuple(ops), price_graph(ops, known).ms))
    return made


def with_rate(known: CostModel, name: OpClass, gmac: float) -> CostModel:
    """Another arithmetic rate of one class."""
    rates = known.rates[name].model_copy(update={"gmac_per_s": gmac})
    return known.model_copy(update={"rates": {**known.rates, name: rates}})


def test_known_rates_are_found_again() -> None:
    """From a prior that is off by two."""
    truth = with_rate(with_rate(cost(), "conv3x3", 200), "conv1x1", 50)
    found = fit_rates(networks(truth), cost(), strength=1e-3)
    assert found.rates["conv3x3"].gmac_per_s == pytest.approx(200, rel=0.02)
    assert found.rates["conv1x1"].gmac_per_s == pytest.approx(50, rel=0.02)


def test_what_rows_do_not_show_stays_at_the_prior() -> None:
    """No depthwise layer among them: its rate is the one the device's facts gave."""
    found = fit_rates(networks(cost()), cost())
    assert found.rates["depthwise"] == cost().rates["depthwise"]


def test_a_faster_board_costs_less_by_its_factors() -> None:
    """Arithmetic twice as fast, traffic as before; launches and fixed time stay."""
    op = networks(cost(), 1)[0].operators[0]
    before, after = price(op, cost()), price(op, scaled(cost(), compute=2))
    assert after.compute_ms == pytest.approx(before.compute_ms / 2, rel=1e-2)
    assert (after.traffic_ms, after.launch_ms) == (before.traffic_ms, before.launch_ms)


def test_the_gain_of_a_number_format_is_found_again() -> None:
    """Rows that compute in FP16 three times as fast, from a model that says twice; FP32 rates are kept."""
    faster = {name: rates.model_copy(update={"speedup": {"fp16": 3.0}}) for name, rates in cost().rates.items()}
    truth = cost().model_copy(update={"rates": faster})
    halves = [tuple(op.at("fp16") for op in sample.operators) for sample in networks(cost())]
    found = fit_speedup([Sample(ops, price_graph(ops, truth).ms) for ops in halves], cost(), "fp16", strength=1e-3)
    assert found.rates["conv3x3"].speedup["fp16"] == pytest.approx(3, rel=0.02)
    assert found.rates["conv3x3"].gmac_per_s == cost().rates["conv3x3"].gmac_per_s
    assert fit_speedup([], cost(), "fp16") == cost()


def test_rows_are_predicted_as_their_runtime_times_them() -> None:
    """A runtime that copies nothing has no fixed time, in the fit and in predictions."""
    known = cost(row_runtimes=[{"starts": "bare", "fixed_ms": span(0, 0, 0), "source": ""}])
    rows = [Sample(s.operators, s.ms - 1, runtime="bare 2.0") for s in networks(known)]
    assert predictions(rows, known)[:, 0] == pytest.approx([row.ms for row in rows])
    fitted = fit_rates(rows, known)
    assert fitted.fixed_ms.value == pytest.approx(1, rel=0.05)


def test_weights_are_read_no_faster_than_the_memory_delivers() -> None:
    """Rows that say 150 GB/s meet a memory of 20; without a bound they are believed."""
    rates = {n: r.model_copy(update={"gweight_byte_per_s": 150.0}) for n, r in cost().rates.items()}
    rows = networks(cost().model_copy(update={"rates": rates}))
    free, bound = (fit_rates(rows, cost(), strength=1e-3, weight_peak=peak) for peak in (math.inf, 20.0))
    assert (free.rates["conv1x1"].gweight_byte_per_s or math.inf) > 100
    assert all((known.gweight_byte_per_s or 0) <= 20 for known in bound.rates.values())
    assert bound.rates["conv1x1"].gweight_byte_per_s == 20

"""Rates from rows."""

import numpy as np
import pytest

from budgetc.core.cost import CostModel
from budgetc.core.operator import OpClass, Operator
from budgetc.measurement.fitting import Sample, fit_rates, scaled, statistic
from budgetc.measurement.pricing import price_graph
from tests.targets import cost


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


def test_a_slower_board_costs_more_by_its_factor() -> None:
    """Rates over two; launches stay."""
    ops = networks(cost(), 1)[0].operators
    before, after = price_graph(ops, cost()).ms, price_graph(ops, scaled(cost(), 2)).ms
    launches = 1 + len(ops) * 0.01
    assert after - launches == pytest.approx(2 * (before - launches), rel=1e-6)


def test_errors_are_reported_by_latency() -> None:
    """Rows that are 10 % slower than predicted: 9.1 % of the truth, all inside an interval that reaches 1.1."""
    rows = [Sample(s.operators, s.ms * 1.1) for s in networks(cost())]
    found = statistic(rows, cost(), "g", "held out")
    assert found.mape == pytest.approx(1 - 1 / 1.1, abs=1e-4)
    assert found.n == 60 and sum(found.by_latency_band.values()) > 0
    slower = statistic([Sample(s.operators, s.ms * 3) for s in rows], cost(), "g", "held out")
    assert slower.coverage == 0

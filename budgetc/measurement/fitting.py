"""Fit the rates of a cost model to rows, and say how far it is off on others.

Non-negative least squares on relative errors, each coefficient pulled weakly to a prior from the device's facts, so
that what the rows do not determine stays at a physical value instead of at zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from budgetc.core.cost import CostModel, FitStatistic, Rates, Span
from budgetc.core.operator import OpClass, Operator
from budgetc.measurement.pricing import COMPUTE, Term, price_graph, terms

Floats = NDArray[np.float64]
BANDS: Mapping[str, tuple[float, float]] = {
    "below 5 ms": (0, 5), "5-10 ms": (5, 10), "10-50 ms": (10, 50), "50-200 ms": (50, 200), "above": (200, np.inf)
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """Operators and their time."""

    operators: tuple[Operator, ...]
    ms: float
    weight: float = 1.0


def fit_rates(samples: Sequence[Sample], prior: CostModel, *, strength: float = 1.0) -> CostModel:
    """The prior with fitted rates and fixed time; its launch is kept, for slow rows do not determine it.

    Args:
        samples: rows; `weight` multiplies their relative error.
        prior: rates to start from; a term it does not have is not fitted.
        strength: how many relative errors of 100 % pull as hard as a coefficient at twice its prior.
    """
    keys = [(name, term) for name, rates in prior.rates.items() for term in get_args(Term) if getattr(rates, term)]
    scale = np.array([1e3 / getattr(prior.rates[name], term) for name, term in keys] + [prior.fixed_ms.value])
    matrix, rest = _design(samples, prior, keys)
    ms = np.array([sample.ms for sample in samples])
    weight = np.array([sample.weight for sample in samples]) / ms
    pull = np.eye(len(scale)) * strength
    solved = _nnls(
        np.vstack([matrix * scale * weight[:, None], pull]),
        np.concatenate([(ms - rest) * weight, np.full(len(scale), strength)]),
    )
    found: dict[OpClass, dict[str, Any]] = {name: rates.model_dump() for name, rates in prior.rates.items()}
    for (name, term), factor in zip(keys, solved, strict=False):
        rate = getattr(prior.rates[name], term)
        found[name][term] = _rounded(rate / factor) if factor > 1e-3 else None
    fixed = max(_rounded(float(solved[-1]) * prior.fixed_ms.value), 1e-3)
    edges = prior.fixed_ms
    span = Span(value=fixed, lower=min(edges.lower, fixed), upper=max(edges.upper, fixed))
    return prior.model_copy(update={"rates": {n: Rates(**r) for n, r in found.items()}, "fixed_ms": span})


def _design(samples: Sequence[Sample], prior: CostModel, keys: Sequence[tuple[OpClass, Term]]) -> tuple[Floats, Floats]:
    """Demands by coefficient (and 1 for the fixed time), and the launches that are not fitted."""
    at = {key: number for number, key in enumerate(keys)}
    matrix, rest = np.zeros((len(samples), len(keys) + 1)), np.zeros(len(samples))
    for row, sample in enumerate(samples):
        rest[row] = len(sample.operators) * prior.launch_us.value / 1e3
        matrix[row, -1] = 1
        for op in sample.operators:
            rates = prior.rates[op.op_class]
            for term, demand in terms(op, prior.tile).items():
                column = at.get((op.op_class, term))
                if column is not None:
                    faster = rates.speedup.get(op.compute, 1.0) if term in COMPUTE else 1.0
                    matrix[row, column] += demand / faster
    return matrix, rest


def _nnls(matrix: Floats, wanted: Floats) -> Floats:
    from scipy.optimize import nnls  # here, because it takes most of a second to load

    solution: Floats = nnls(matrix, wanted)[0]
    return solution


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def scaled(cost: CostModel, factor: float) -> CostModel:
    """The same device, `factor` times as slow in everything that its clock determines."""
    rates = {
        name: Rates(
            **{
                term: value and _rounded(value / factor)
                for term, value in known.model_dump(exclude={"speedup"}).items()
            },
            speedup=known.speedup,
        )
        for name, known in cost.rates.items()
    }
    return cost.model_copy(update={"rates": rates})


def predictions(samples: Sequence[Sample], cost: CostModel) -> Floats:
    """(n, 3): milliseconds, lower and upper edge for the runtime of the rows."""
    prices = [price_graph(sample.operators, cost, same_runtime=True) for sample in samples]
    return np.array([[p.ms, p.lower_ms, p.upper_ms] for p in prices])


def statistic(samples: Sequence[Sample], cost: CostModel, group: str, use: Any) -> FitStatistic:
    """How well the rows of a group are predicted."""
    found, ms = predictions(samples, cost), np.array([sample.ms for sample in samples])
    errors = np.abs(found[:, 0] / ms - 1)
    bands = {
        name: round(float(errors[inside].mean()), 4)
        for name, (low, high) in BANDS.items()
        if (inside := (ms >= low) & (ms < high)).any()
    }
    return FitStatistic(
        group=group, use=use, n=len(samples), mape=round(float(errors.mean()), 4),
        median_ape=round(float(np.median(errors)), 4), p90_ape=round(float(np.percentile(errors, 90)), 4),
        coverage=round(float(((found[:, 1] <= ms) & (ms <= found[:, 2])).mean()), 4), by_latency_band=bands,
    )  # fmt: skip

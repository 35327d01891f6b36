"""Fit the rates of a cost model to rows.

Non-negative least squares on relative errors, each coefficient pulled weakly to a prior from the device's facts, so
that what the rows do not determine stays at a physical value instead of at zero.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from budgetc.core.cost import CostModel, Rates, Span
from budgetc.core.operator import Dtype, OpClass, Operator
from budgetc.measurement.pricing import COMPUTE, Term, price, price_graph, terms

Floats = NDArray[np.float64]
_NONE = 1e-3
"""Share of its prior below which a term is left out."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Operators and their time."""

    operators: tuple[Operator, ...]
    ms: float
    weight: float = 1.0
    runtime: str = ""
    """Of the row: another runtime may time other things."""


def fit_rates(
    samples: Sequence[Sample], prior: CostModel, *, strength: float = 1.0, weight_peak: float = math.inf
) -> CostModel:
    """The prior with fitted rates and fixed time; its launch is kept, for slow rows do not determine it.

    Args:
        samples: rows; `weight` multiplies their relative error.
        prior: rates to start from; a term it does not have is not fitted.
        strength: how many relative errors of 100 % pull as hard as a coefficient at twice its prior.
        weight_peak: 1e9 bytes a second that no weights are read faster than: they come from the memory, whereas
            activations may still lie in a cache.
    """
    keys = [(name, term) for name, rates in prior.rates.items() for term in get_args(Term) if getattr(rates, term)]
    scale = np.array([1e3 / getattr(prior.rates[name], term) for name, term in keys] + [prior.fixed_ms.value])
    matrix, rest = _design(samples, prior, keys)
    weight = np.array([sample.weight / sample.ms for sample in samples])
    left = np.array([sample.ms for sample in samples]) - rest
    least = np.array([_least(prior, key, weight_peak) for key in keys] + [0.0])
    solved = _pulled(matrix * scale * weight[:, None], left * weight, strength, least)
    found = {name: rates.model_dump() for name, rates in prior.rates.items()}
    for (name, term), factor in zip(keys, solved, strict=False):
        rate = getattr(prior.rates[name], term)
        found[name][term] = rounded(rate / factor) if factor > _NONE else None
    fixed = max(rounded(float(solved[-1]) * prior.fixed_ms.value), 1e-3)
    edges = prior.fixed_ms
    span = Span(value=fixed, lower=min(edges.lower, fixed), upper=max(edges.upper, fixed))
    return prior.model_copy(update={"rates": {n: Rates(**r) for n, r in found.items()}, "fixed_ms": span})


def _least(prior: CostModel, key: tuple[OpClass, Term], weight_peak: float) -> float:
    """Share of its prior that a coefficient cannot be below."""
    name, term = key
    rate: float = getattr(prior.rates[name], term)
    return rate / weight_peak if term == "gweight_byte_per_s" else 0.0


def _design(samples: Sequence[Sample], prior: CostModel, keys: Sequence[tuple[OpClass, Term]]) -> tuple[Floats, Floats]:
    """Demands by coefficient (and 1 for the fixed time), and the milliseconds that are not fitted."""
    at = {key: number for number, key in enumerate(keys)}
    matrix, rest = np.zeros((len(samples), len(keys) + 1)), np.zeros(len(samples))
    for row, sample in enumerate(samples):
        known = prior.for_rows(sample.runtime)
        rest[row] = len(sample.operators) * prior.launch_us.value / 1e3
        if known.fixed_ms == prior.fixed_ms:
            matrix[row, -1] = 1
        else:
            rest[row] += known.fixed_ms.value
        for op in sample.operators:
            speedup = prior.rates[op.op_class].speedup.get(op.compute, 1.0)
            for term, demand in terms(op, prior.tile).items():
                column = at.get((op.op_class, term))
                if column is not None:
                    matrix[row, column] += demand * known.scale / (speedup if term in COMPUTE else 1.0)
    return matrix, rest


def fit_speedup(samples: Sequence[Sample], model: CostModel, dtype: Dtype, *, strength: float = 0.3) -> CostModel:
    """The model with the speedup of a number format fitted to rows that compute in it; all else is kept."""
    names = [name for name, rates in model.rates.items() if dtype in rates.speedup]
    if not samples or not names:
        return model
    matrix, rest = np.zeros((len(samples), len(names))), np.zeros(len(samples))
    for row, sample in enumerate(samples):
        known = model.for_rows(sample.runtime)
        rest[row] = known.fixed_ms.value
        for op in sample.operators:
            cost = price(op, known)
            inside = op.compute == dtype and op.op_class in names
            rest[row] += cost.ms - (cost.compute_ms if inside else 0)
            if inside:
                matrix[row, names.index(op.op_class)] += cost.compute_ms
    # Relative to the model's own speedup: 1 is where it stands.
    weight = np.array([sample.weight / sample.ms for sample in samples])
    left = (np.array([sample.ms for sample in samples]) - rest) * weight
    solved = _pulled(matrix * weight[:, None], left, strength, np.zeros(len(names)))
    rates = dict(model.rates)
    for name, factor in zip(names, solved, strict=True):
        before = rates[name].speedup
        faster = rounded(before[dtype] / max(float(factor), 0.1))
        rates[name] = rates[name].model_copy(update={"speedup": {**before, dtype: faster}})
    return model.model_copy(update={"rates": rates})


def _pulled(matrix: Floats, wanted: Floats, strength: float, least: Floats) -> Floats:
    """Least squares pulled to 1, as strongly as `strength`; no coefficient below its `least`."""
    from scipy.optimize import nnls  # here, because it takes most of a second to load

    pull = np.full(len(least), strength)
    rows, goal = np.vstack([matrix, np.diag(pull)]), np.concatenate([wanted, pull])
    above: Floats = nnls(rows, goal - rows @ least, maxiter=10_000)[0]
    return least + above


def rounded(value: float) -> float:
    """To the three digits that a fit is good for."""
    return float(f"{value:.3g}")


def scaled(cost: CostModel, *, compute: float = 1.0, traffic: float = 1.0) -> CostModel:
    """The same model with other rates of arithmetic and of traffic, as factors."""
    rates = {}
    for name, known in cost.rates.items():
        terms_ = {
            term: value and rounded(value * (compute if term in COMPUTE else traffic))
            for term, value in known.model_dump(exclude={"speedup"}).items()
        }
        rates[name] = Rates(**terms_, speedup=known.speedup)
    return cost.model_copy(update={"rates": rates})


def predictions(samples: Sequence[Sample], cost: CostModel) -> Floats:
    """(n, 3): milliseconds, lower and upper edge for the runtime of the rows."""
    found = [price_graph(s.operators, cost.for_rows(s.runtime), same_runtime=True) for s in samples]
    return np.array([[one.ms, one.lower_ms, one.upper_ms] for one in found]).reshape(-1, 3)

"""How far each part of a prediction may be off: from errors on rows that were held out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, nnls

from budgetc.core.cost import CostModel, Factor, Part
from budgetc.measurement.fitting import Floats, Sample, predictions
from budgetc.measurement.pricing import price, shares

_STRENGTH = 0.02
"""Of the pull of every part to the error of all, against the mean over all groups of rows."""
_APART = (0.5, 3.0)
"""Times the error of all: what a part may differ from it by, for squared errors share out only roughly."""
_LEAST = 0.03
"""Error of all that is assumed where rows were met exactly."""
_CLIPPED = 0.9
"""Share of the rows whose errors count as they are; larger ones count like the largest of these."""
_SCALES = (1.0, 20.0)
"""Standard deviations that an edge may be away."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows, and the model of all others."""

    group: str
    samples: Sequence[Sample]
    model: CostModel
    series: bool = False
    """Whether the group is one."""
    weight: float = 1.0


def with_spread(model: CostModel, held: Sequence[HeldOut], given: Mapping[Part, Factor]) -> CostModel:
    """The model with intervals that hold the nominal share of rows that were held out, every group by its weight.

    Squared relative errors are shared out among the parts by non-negative least squares on their squared shares of
    the time; the edges, `1 + k sigma` and its inverse, are then as wide as the share asks for. A network of parts
    that were predicted well gets a narrow interval, one of parts that were not a wide one.

    Args:
        given: intervals of parts that no row separates from others, from facts.
    """
    sigma = _by_part(held, model)
    return _spread(model, given, sigma, _wide_enough(held, model, given, sigma))


def _by_part(held: Sequence[HeldOut], model: CostModel) -> dict[Part, float]:
    """Standard deviation of each operator class."""
    parts: list[Part] = list(model.rates)
    squares, weights, squared_shares = _errors(held, parts)
    # Nine rows of ten shall lie inside: how far off the tenth is need not be known.
    order = np.argsort(squares)
    most = squares[order][np.searchsorted(np.cumsum(weights[order]), _CLIPPED)]
    squares = np.minimum(squares, most)
    overall = max(float(np.sqrt((weights * squares).sum())), _LEAST)
    rows, wanted = squared_shares * np.sqrt(weights)[:, None], squares * np.sqrt(weights)
    pull, to = np.eye(len(parts)) * _STRENGTH, np.full(len(parts), _STRENGTH * overall**2)
    solved = nnls(np.vstack([rows, pull]), np.concatenate([wanted, to]))[0]
    sigma = np.clip(np.sqrt(solved), _APART[0] * overall, _APART[1] * overall)
    return {part: float(one) for part, one in zip(parts, sigma, strict=True)}


def _errors(held: Sequence[HeldOut], parts: Sequence[Part]) -> tuple[Floats, Floats, Floats]:
    """(n,) squared relative errors, (n,) weights that add up to 1, (n, parts) squared shares of the time."""
    squares, weights, shared = list[float](), list[float](), list[list[float]]()
    total = sum(group.weight for group in held)
    for group in held:
        found = predictions(group.samples, group.model)[:, 0]
        for sample, ms in zip(group.samples, found, strict=True):
            known = group.model.for_rows(sample.runtime)
            by_part = shares(sample.operators, [price(op, known) for op in sample.operators])
            squares.append((sample.ms / ms - 1) ** 2)
            weights.append(group.weight / len(group.samples) / total)
            shared.append([(by_part.get(part, 0.0) / ms) ** 2 for part in parts])
    return np.array(squares), np.array(weights), np.array(shared)


def _wide_enough(
    held: Sequence[HeldOut], model: CostModel, given: Mapping[Part, Factor], sigma: Mapping[Part, float]
) -> float:
    """How many standard deviations away the edges hold their share of the rows."""

    def too_narrow(scale: float) -> float:
        """Share of rows outside over what may be."""
        outside = []
        for group in held:
            ms = np.array([sample.ms for sample in group.samples])
            _, low, high = predictions(group.samples, _spread(group.model, given, sigma, scale)).T
            outside.append(float(((ms < low) | (ms > high)).mean()))
        return float(np.average(outside, weights=[group.weight for group in held])) - (1 - model.nominal)

    narrowest, widest = _SCALES
    if too_narrow(narrowest) <= 0:
        return narrowest
    return widest if too_narrow(widest) > 0 else float(brentq(too_narrow, narrowest, widest, xtol=0.02))


def _spread(model: CostModel, given: Mapping[Part, Factor], sigma: Mapping[Part, float], scale: float) -> CostModel:
    made = {
        part: Factor(lower=round(1 / (1 + scale * one), 3), upper=round(1 + scale * one, 3))
        for part, one in sigma.items()
    }
    return model.model_copy(update={"spread": {**made, **given}})

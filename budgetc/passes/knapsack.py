"""One option for each item, so that the least is lost within a budget: the multiple-choice knapsack."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from budgetc.errors import UsageError


def choose(costs: Sequence[Sequence[float]], losses: Sequence[Sequence[float]], most: float) -> tuple[int, ...]:
    """The option of every item that together cost at most `most` and lose the least.

    Args:
        costs: for each item the cost of its options.
        losses: the same shape.
        most: what all chosen options may cost together.

    Raises:
        UsageError: even the cheapest options cost more.
    """
    # Here, not above: the solver takes a second to import, and few commands need it.
    from scipy.optimize import LinearConstraint

    cheapest = sum(min(options) for options in costs)
    if cheapest > most:
        raise UsageError(f"the cheapest choice costs {cheapest:g}, but {most:g} is all there is")
    flat_costs, flat_losses = (np.concatenate([np.asarray(row, float) for row in rows]) for rows in (costs, losses))
    owner = np.repeat(np.arange(len(costs)), [len(options) for options in costs])
    one_each = (owner[None] == np.arange(len(costs))[:, None]).astype(float)
    scaled = LinearConstraint(flat_costs[None] / max(most, 1e-300), -np.inf, 1.0)
    solution = minimum(flat_losses, np.ones(len(owner), np.int64), [scaled, LinearConstraint(one_each, 1, 1)])
    assert solution is not None, "the cheapest options are a solution"
    starts = np.concatenate([[0], np.cumsum([len(options) for options in costs])[:-1]])
    return tuple(int(at) for at in np.flatnonzero(solution > 0.5) - starts)


def minimum(
    losses: NDArray[np.float64], integrality: NDArray[np.int64], constraints: Sequence[LinearConstraint]
) -> NDArray[np.float64] | None:
    """Variables in [0, 1] with the least sum of losses, or None where nothing keeps the constraints.

    The caller scales constraints to about 1, for the solver's tolerances are absolute.
    """
    scale = max(float(np.abs(losses).max()), 1e-300)
    with _silent():
        found = milp(losses / scale, integrality=integrality, bounds=Bounds(0, 1), constraints=constraints)
    solution: NDArray[np.float64] | None = found.x
    return solution


@contextmanager
def _silent() -> Iterator[None]:
    """The solver writes what it thinks to file descriptor 1, where results of commands belong."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)

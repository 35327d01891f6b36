"""One option for each item, so that the least is lost within a budget: the multiple-choice knapsack."""

from collections.abc import Sequence

import numpy as np

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
    from scipy.optimize import Bounds, LinearConstraint, milp

    cheapest = sum(min(options) for options in costs)
    if cheapest > most:
        raise UsageError(f"the cheapest choice costs {cheapest:g}, but {most:g} is all there is")
    flat_costs, flat_losses = (np.concatenate([np.asarray(row, float) for row in rows]) for rows in (costs, losses))
    owner = np.repeat(np.arange(len(costs)), [len(options) for options in costs])
    one_each = (owner[None] == np.arange(len(costs))[:, None]).astype(float)
    # Scaled, for the solver's tolerances are absolute.
    scaled = LinearConstraint(flat_costs[None] / max(most, 1e-300), -np.inf, 1.0)
    found = milp(
        flat_losses / max(float(np.abs(flat_losses).max()), 1e-300), integrality=np.ones(len(owner), np.int64),
        bounds=Bounds(0, 1), constraints=[scaled, LinearConstraint(one_each, 1, 1)],
    )  # fmt: skip
    assert found.x is not None, "the cheapest options are a solution"
    chosen = found.x > 0.5
    starts = np.concatenate([[0], np.cumsum([len(options) for options in costs])[:-1]])
    return tuple(int(at) for at in np.flatnonzero(chosen) - starts)

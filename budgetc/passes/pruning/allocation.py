"""How many channels each group keeps: the same share of all, or a knapsack over what narrowing does to the score."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint
from scipy.sparse import csr_array

from budgetc.core.frozen import Frozen
from budgetc.errors import UsageError
from budgetc.passes.knapsack import minimum

SHARES = tuple(number / 16 for number in range(1, 17))
"""Of a group's channels: the levels that a knapsack chooses from, each at a multiple of the step."""


class Sensitivity(Frozen):
    """What narrowing one group alone does."""

    order: tuple[int, ...]
    """Channels, the one that matters most first."""
    widths: tuple[int, ...] = ()
    """That were tried, ascending."""
    perturbation: tuple[float, ...] = ()
    """Of each; narrower is never better."""

    def at(self, width: int) -> float:
        """Perturbation of any width, between those tried; 0 at the full one."""
        widths, values = (*self.widths, len(self.order)), (*self.perturbation, 0.0)
        return float(np.interp(width, widths, values))


@dataclass(frozen=True, slots=True)
class Term:
    """A product of the widths of at most two groups, and how many weights and MACs one of it costs."""

    groups: tuple[str, ...]
    weights: int
    macs: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Most weights and MACs that may stay."""

    weights: float
    macs: float = math.inf


def rounded(width: int, share: float, step: int) -> int:
    """`share` of a width at a multiple of `step`: at least one, at most what there is."""
    return width if share == 1 else min(width, max(step, round(width * share / step) * step))


def uniform(widths: Mapping[str, int], share: float, step: int) -> dict[str, int]:
    """The same share of every group."""
    return {root: rounded(width, share, step) for root, width in widths.items()}


def uniform_within(widths: Mapping[str, int], terms: Sequence[Term], limits: Limits, step: int) -> dict[str, int]:
    """The widest uniform allocation within the limits: what an allocation costs whose sensitivities are not known yet.

    Raises:
        UsageError: the narrowest is above them.
    """
    for share in reversed(SHARES):
        found = uniform(widths, share, step)
        if cost(terms, found)[0] <= limits.weights and cost(terms, found)[1] <= limits.macs:
            return found
    raise _too_little(terms, uniform(widths, 0.0, step), limits)


def cost(terms: Sequence[Term], widths: Mapping[str, int]) -> tuple[int, int]:
    """Weights and MACs at these widths."""
    sizes = [math.prod(widths[group] for group in term.groups) for term in terms]
    pairs = list(zip(terms, sizes, strict=True))
    return sum(term.weights * size for term, size in pairs), sum(term.macs * size for term, size in pairs)


def knapsack(
    sensitivities: Mapping[str, Sensitivity], terms: Sequence[Term], limits: Limits, step: int
) -> dict[str, int]:
    """The widths with the smallest sum of perturbations within the limits, exactly (a mixed-integer linear program).

    A product of two widths costs what both levels say; one variable a pair of levels makes that linear.

    Raises:
        UsageError: nothing is within the limits.
    """
    levels = {root: sorted({rounded(len(known.order), share, step) for share in SHARES})
              for root, known in sensitivities.items()}  # fmt: skip
    program = _Program(sensitivities, levels, terms)
    solution = minimum(program.objective, program.integrality, program.constraints(limits))
    if solution is None:
        raise _too_little(terms, {root: each[0] for root, each in levels.items()}, limits)
    return {root: width for (root, width), chosen in zip(program.single, solution, strict=False) if chosen > 0.5}


def _too_little(terms: Sequence[Term], narrowest: Mapping[str, int], limits: Limits) -> UsageError:
    weights, macs = cost(terms, narrowest)
    return UsageError(
        f"prune.keep: at most {limits.weights:.0f} weights and {limits.macs:.3g} MACs may stay, and the narrowest "
        f"network has {weights} and {macs}; keep more"
    )


class _Program:
    """Variables: one a level of each group, then one a pair of levels of groups that share a term."""

    def __init__(
        self, sensitivities: Mapping[str, Sensitivity], levels: Mapping[str, Sequence[int]], terms: Sequence[Term]
    ) -> None:
        self.single = [(root, width) for root, each in levels.items() for width in each]
        pairs = {tuple(sorted(term.groups)) for term in terms if len(set(term.groups)) == 2}
        self._double = [(a, b, x, y) for a, b in sorted(pairs) for x, y in product(levels[a], levels[b])]
        self._terms = terms
        self.objective: NDArray[np.float64] = np.array(
            [sensitivities[root].at(width) for root, width in self.single] + [0.0] * len(self._double)
        )
        self.integrality = np.array([1] * len(self.single) + [0] * len(self._double))

    def constraints(self, limits: Limits) -> list[LinearConstraint]:
        """One level a group; pairs agree with the levels of both; costs within the limits."""
        index = {key: number for number, key in enumerate([*self.single, *self._double])}
        rows, columns, values, right = list[int](), list[int](), list[float](), list[float]()

        def row(entries: Mapping[int, float], equal: float) -> None:
            rows.extend([len(right)] * len(entries))
            columns.extend(entries.keys())
            values.extend(entries.values())
            right.append(equal)

        for root in dict.fromkeys(root for root, _ in self.single):
            row({index[key]: 1.0 for key in self.single if key[0] == root}, 1.0)
        sides = dict[tuple[str, str, str, int], dict[int, float]]()
        for a, b, x, y in self._double:
            for root, width in ((a, x), (b, y)):
                sides.setdefault((a, b, root, width), {index[root, width]: -1.0})[index[a, b, x, y]] = 1.0
        for entries in sides.values():
            row(entries, 0.0)
        equations = csr_array((values, (rows, columns)), shape=(len(right), len(index)))
        found = [LinearConstraint(equations, np.array(right), np.array(right))]
        for which, most in enumerate((limits.weights, limits.macs)):
            coefficients, constant = self._costs(which)
            if math.isfinite(most):
                found.append(LinearConstraint(coefficients[None] / most, -np.inf, 1 - constant / most))
        return found

    def _costs(self, which: int) -> tuple[NDArray[np.float64], float]:
        single, double, constant = dict[str, float](), dict[tuple[str, ...], float](), 0.0
        squares = dict[str, float]()
        for term in self._terms:
            price = (term.weights, term.macs)[which]
            match term.groups:
                case ():
                    constant += price
                case (one,):
                    single[one] = single.get(one, 0.0) + price
                case (one, other) if one == other:
                    squares[one] = squares.get(one, 0.0) + price
                case both:
                    key = tuple(sorted(both))
                    double[key] = double.get(key, 0.0) + price
        alone = [width * single.get(root, 0.0) + width**2 * squares.get(root, 0.0) for root, width in self.single]
        return np.array(alone + [x * y * double[a, b] for a, b, x, y in self._double]), constant

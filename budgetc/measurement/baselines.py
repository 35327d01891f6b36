"""Simpler predictors of the rows of a group, each with the group's other rows as its only knowledge of the device."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from budgetc.core.row import Row
from budgetc.measurement.fitting import Floats

_SHARED = 3
"""Networks that another board needs to have in common."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """How well a predictor does on the rows that it can predict."""

    name: str
    n: int
    mape: float
    median_ape: float


@dataclass(frozen=True, slots=True)
class Baselines:
    """None where the rows do not allow it."""

    macs: Baseline | None
    """Multiply-accumulates over one rate."""
    board: Baseline | None
    """The same network on another board, times one ratio: of the boards at hand the nearest."""


def baselines_of(group: Sequence[Row], rows: Sequence[Row]) -> Baselines:
    """Both predictors, leaving out one row at a time.

    Args:
        group: rows of one device, precision, runtime and number of threads.
        rows: all that are at hand; those of other devices are what the second predictor looks up.
    """
    ms = np.array([row.latency_ms for row in group])
    macs = np.array([max(row.macs, 1) for row in group], dtype=np.float64)
    boards = [found for name, times in _boards(group, rows).items() if (found := _board(name, group, times))]
    return Baselines(
        macs=_judged("MACs only", ms, macs), board=min(boards, key=lambda one: (-one.n, one.mape)) if boards else None
    )


def _boards(group: Sequence[Row], rows: Sequence[Row]) -> dict[str, dict[tuple[str, str], float]]:
    """Times by network, of every other device in one precision, runtime and number of threads."""
    found: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for row in rows:
        if row.device != group[0].device and row.unit == group[0].unit and row.precision == group[0].precision:
            threads = f", {row.threads} threads" if row.threads else ""
            found[f"{row.device}, {row.runtime}{threads}"][row.model, row.input_hw] = row.latency_ms
    return found


def _board(name: str, group: Sequence[Row], times: dict[tuple[str, str], float]) -> Baseline | None:
    shared = [row for row in group if (row.model, row.input_hw) in times]
    if len(shared) < _SHARED:
        return None
    ms = np.array([row.latency_ms for row in shared])
    return _judged(name, ms, np.array([times[row.model, row.input_hw] for row in shared]))


def _judged(name: str, ms: Floats, by: Floats) -> Baseline | None:
    """Time = ratio x `by`, the ratio being the geometric mean over all other rows."""
    if len(ms) < _SHARED:
        return None
    ratios = np.log(ms / by)
    others = (ratios.sum() - ratios) / (len(ratios) - 1)
    off = np.abs(np.exp(others) * by / ms - 1)
    return Baseline(name, len(ms), float(off.mean()), float(np.median(off)))

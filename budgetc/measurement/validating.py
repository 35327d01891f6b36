"""How well a cost model predicts rows: errors, intervals and ranks, by precision, threads and runtime."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from budgetc.core.cost import FitStatistic
from budgetc.core.frozen import Frozen
from budgetc.core.row import Row
from budgetc.core.target import Target
from budgetc.errors import UsageError
from budgetc.measurement.fitting import Floats, Sample, predictions
from budgetc.measurement.selection import as_run, why_not

BANDS: Mapping[str, tuple[float, float]] = {
    "below 5 ms": (0, 5), "5-10 ms": (5, 10), "10-50 ms": (10, 50), "50-200 ms": (50, 200), "above": (200, np.inf)
}  # fmt: skip
_WORST = 5
_RANKED = 3
"""Rows from which on a rank correlation says anything."""


class BandError(Frozen):
    """Rows of one range of measured latencies."""

    n: int
    mape: float
    median_ape: float


class Outlier(Frozen):
    """A row that was predicted badly."""

    model: str
    input_hw: str
    latency_ms: float
    predicted_ms: float
    lower_ms: float
    upper_ms: float
    error: float
    """Predicted over measured, less 1."""


class Group(Frozen):
    """Rows of one precision, number of threads and runtime. Shares and errors are fractions."""

    precision: str
    threads: str
    runtime: str
    n: int
    mape: float
    median_ape: float
    p90_ape: float
    within_10: float
    within_20: float
    rmspe: float
    spearman: float | None
    """None of fewer than three rows, or where all are equal."""
    interval_coverage: float
    """Share of rows inside the interval for the runtime of the rows."""
    interval_half_width_median: float
    """Half of the interval over the prediction."""
    by_latency_band: dict[str, BandError]
    worst: tuple[Outlier, ...]


class Validation(Frozen):
    """A target held against rows."""

    target: str
    groups: tuple[Group, ...]
    left_out: dict[str, int]
    """Rows that say nothing about the target, or cannot be priced, by the reason."""


def validate_rows(
    target: Target, rows: Iterable[Row], left_out: Mapping[str, int], others: Sequence[Target] = ()
) -> Validation:
    """Errors of a target's cost model on rows.

    Args:
        left_out: counts of rows that could not be read at all.
        others: targets of the same device; rows of another number of threads are priced by the one that has it.

    Raises:
        UsageError: the target has no cost model.
    """
    chosen, reasons = by_group(target, rows, others)
    groups = tuple(judge(known, one) for known, one in chosen)
    return Validation(target=target.name, groups=groups, left_out=dict(sorted((Counter(left_out) + reasons).items())))


def by_group(
    target: Target, rows: Iterable[Row], others: Sequence[Target] = ()
) -> tuple[list[tuple[Target, list[Row]]], Counter[str]]:
    """Rows of one precision, threads and runtime with the target that prices them, and what is left out."""
    known = [target, *(other for other in others if _same_device(other, target))]
    found, left_out = defaultdict[tuple[str, str, str, int], list[Row]](list), Counter[str]()
    for row in rows:
        reasons = [why_not(row, one) for one in known]
        if None in reasons:
            found[row.precision, row.threads, row.runtime, reasons.index(None)].append(row)
        else:
            left_out[reasons[0] or ""] += 1
    return [(known[at], members) for (*_, at), members in sorted(found.items())], left_out


def _same_device(other: Target, target: Target) -> bool:
    if other.name == target.name or other.fit is None or target.fit is None or other.cost is None:
        return False
    return (other.compute_unit, other.fit.devices) == (target.compute_unit, target.fit.devices)


def priced(target: Target, rows: Sequence[Row]) -> tuple[Floats, Floats]:
    """(n,) measured milliseconds; (n, 3) predicted ones with both edges.

    Raises:
        UsageError: the target has no cost model.
    """
    if target.cost is None:
        raise UsageError(f"target {target.name} has no cost model: nothing can be predicted, so nothing be validated")
    samples = [Sample(as_run(row, target), row.latency_ms, runtime=row.runtime) for row in rows]
    return np.array([row.latency_ms for row in rows]), predictions(samples, target.cost)


def judge(target: Target, rows: Sequence[Row]) -> Group:
    """Errors on rows of one group."""
    from scipy.stats import spearmanr  # here, because it takes most of a second to load

    ms, found = priced(target, rows)
    errors = found[:, 0] / ms - 1
    off = np.abs(errors)
    ranked = len(rows) >= _RANKED and np.ptp(ms) > 0 and np.ptp(found[:, 0]) > 0
    return Group(
        precision=rows[0].precision, threads=rows[0].threads, runtime=rows[0].runtime, n=len(rows),
        mape=float(off.mean()), median_ape=float(np.median(off)), p90_ape=float(np.percentile(off, 90)),
        within_10=float((off <= 0.1).mean()), within_20=float((off <= 0.2).mean()),
        rmspe=float(np.sqrt((errors**2).mean())),
        spearman=float(spearmanr(ms, found[:, 0]).statistic) if ranked else None,
        interval_coverage=float(((found[:, 1] <= ms) & (ms <= found[:, 2])).mean()),
        interval_half_width_median=float(np.median((found[:, 2] - found[:, 1]) / 2 / found[:, 0])),
        by_latency_band=_bands(ms, off),
        worst=tuple(_outlier(rows[at], found[at], float(errors[at])) for at in np.argsort(-off)[:_WORST]),
    )  # fmt: skip


def _bands(ms: Floats, off: Floats) -> dict[str, BandError]:
    inside = {name: off[(ms >= low) & (ms < high)] for name, (low, high) in BANDS.items()}
    return {
        name: BandError(n=len(some), mape=float(some.mean()), median_ape=float(np.median(some)))
        for name, some in inside.items()
        if len(some)
    }


def _outlier(row: Row, found: Floats, error: float) -> Outlier:
    return Outlier(
        model=row.model, input_hw=row.input_hw, latency_ms=row.latency_ms, predicted_ms=float(found[0]),
        lower_ms=float(found[1]), upper_ms=float(found[2]), error=error,
    )  # fmt: skip


def as_statistic(group: Group, name: str, use: str) -> FitStatistic:
    """What a target's file keeps of a group."""
    four = {name: round(getattr(group, name), 4) for name in ("mape", "median_ape", "p90_ape")}
    return FitStatistic.model_validate({
        "group": name, "use": use, "n": group.n, **four, "coverage": round(group.interval_coverage, 4),
        "half_width": round(group.interval_half_width_median, 4),
        "by_latency_band": {band: round(one.mape, 4) for band, one in group.by_latency_band.items()},
    })  # fmt: skip

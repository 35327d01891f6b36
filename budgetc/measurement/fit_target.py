"""Make a target's cost model from rows: rates, intervals, and how well it does on rows it never saw."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from budgetc.core.cost import CostModel, Factor, FitStatistic, Span
from budgetc.core.fit_plan import Borrowed
from budgetc.core.row import Row
from budgetc.core.target import Target
from budgetc.errors import InputRejected
from budgetc.measurement.fitting import Floats, Sample, fit_rates, fit_speedup, predictions, rounded
from budgetc.measurement.priors import GIVEN, prior
from budgetc.measurement.runtime_doubt import runtime_doubt
from budgetc.measurement.selection import as_run, why_not
from budgetc.measurement.spreads import HeldOut, with_spread
from budgetc.measurement.validating import as_statistic, by_group, judge

_STRENGTH = {"gpu": 1.0, "cpu": 0.3}
"""Of the pull to the prior, chosen by leaving out series and networks."""
_SMALL = {5.0: 8.0, 10.0: 4.0}
"""Weight of rows of a series below so many ms: artifacts are small, and only 13 of the 4,292 CNNs are below 5 ms."""
_NAMED = 3.0
"""Weight of a named network where rows are in series: they are few and differ more."""
_FEW = 6
"""Networks of the device itself below which the borrowed ones also tell how far a prediction may be off."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A row that is fitted, and its share of the fit."""

    row: Row
    sample: Sample
    own: bool

    @property
    def unit(self) -> str:
        """What is held out together: a series, or a network on all boards."""
        return self.row.stage or self.row.model.removesuffix("_int8")


def fit_target(
    target: Target, rows: Sequence[Row], never_fitted: Sequence[Row] = (), elsewhere: Sequence[Row] = ()
) -> CostModel:
    """A cost model for a target that has a `fit`.

    Args:
        rows: of the device, and of those it borrows from; others are ignored.
        never_fitted: rows whose errors are reported beside the others.
        elsewhere: rows of any boards and runtimes, which tell how far those of the artifact's runtime may be off where
            it is another one than the rows'.

    Raises:
        InputRejected: no row is of the target, nor of a board it borrows from.
    """
    known = _known(target, rows)
    if not known:
        plan = target.fit
        wanted = plan.devices + tuple(one.device for one in plan.borrow) if plan else ()
        raise InputRejected(
            f"target {target.name}: none of {len(rows)} rows is of {', '.join(wanted)} on its {target.compute_unit}; "
            "nothing can be fitted"
        )
    held = _held_out(target, known)
    fitted = with_spread(_fitted(target, known), held, GIVEN if target.compute_dtype == "fp16" else {})
    fitted = fitted.model_copy(update={**_in_artifact(target, fitted, elsewhere), **_power(known)})
    done = target.model_copy(update={"cost": fitted})
    fit = [*_statistics(done, [one.row for one in known if one.own], "fitted"), *_of_held_out(fitted, held)]
    return fitted.model_copy(update={"fit": (*fit, *_statistics(done, never_fitted, "never fitted"))})


def _known(target: Target, rows: Sequence[Row]) -> list[_Known]:
    plan = target.fit
    assert plan is not None, "only targets that say how are fitted"
    skipped = set(plan.leave_out)
    own = _once([row for row in rows if row.model not in skipped and why_not(row, target) is None])
    series = any(row.stage for row in own)
    found = [_Known(row, _sample(target, row, _weight(row, series=series)), own=True) for row in own]
    for board in plan.borrow:
        like = _as(target, board)
        theirs = _once([row for row in rows if row.model not in skipped and why_not(row, like) is None])
        slower = board.slower or _slower(theirs, own)
        if slower is not None:
            found += [_Known(r, _sample(target, r, board.weight * _weight(r), slower), own=False) for r in theirs]
    return found


def _once(rows: Sequence[Row]) -> list[Row]:
    """The fastest row of each network: boards that were timed on their small cores, too, are as fast as on the big."""
    found: dict[tuple[str, ...], Row] = {}
    for row in rows:
        key = (row.device, row.model, row.input_hw, row.precision, row.runtime)
        if key not in found or _fastest(row) < _fastest(found[key]):
            found[key] = row
    return list(found.values())


def _as(target: Target, board: Borrowed) -> Target:
    """The target, were it the other board."""
    assert target.fit is not None
    return target.model_copy(update={"fit": target.fit.model_copy(update={"devices": (board.device,)})})


def _weight(row: Row, *, series: bool = False) -> float:
    if row.stage:
        return next((weight for below, weight in _SMALL.items() if row.latency_ms < below), 1.0)
    return _NAMED if series else 1.0


def _sample(target: Target, row: Row, weight: float, slower: float = 1.0) -> Sample:
    return Sample(as_run(row, target), _fastest(row) / slower, weight, row.runtime)


def _fastest(row: Row) -> float:
    return row.fastest_ms or row.latency_ms


def _slower(theirs: Sequence[Row], own: Sequence[Row]) -> float | None:
    """The board's time over the device's, on networks that ran on both at FP32."""
    mine, ratios = _by_network(own), list[float]()
    for name, ms in _by_network(theirs).items():
        if name in mine:
            ratios.append(float(np.log(ms / mine[name])))
    return float(np.exp(np.median(ratios))) if ratios else None


def _by_network(rows: Sequence[Row]) -> dict[tuple[str, str], float]:
    found = defaultdict[tuple[str, str], list[float]](list)
    for row in rows:
        if row.precision == "fp32":
            found[row.model, row.input_hw].append(_fastest(row))
    return {name: min(times) for name, times in found.items()}


def _fitted(target: Target, known: Sequence[_Known]) -> CostModel:
    strength = _STRENGTH[target.compute_unit]
    floats = [one.sample for one in known if one.row.precision != "int8"]
    peak = target.fit.memory_gbyte_per_s if target.fit is not None else None
    model = fit_rates(floats, prior(target), strength=strength, weight_peak=peak or math.inf)
    return fit_speedup([one.sample for one in known if one.row.precision == "int8"], model, "int8")


def _held_out(target: Target, known: Sequence[_Known]) -> list[HeldOut]:
    """Every series and every network, priced by a model of the others."""
    series, named = list[HeldOut](), list[HeldOut]()
    judged = [one for one in known if one.own]
    if len({one.unit for one in judged}) < _FEW and not any(one.row.stage for one in judged):
        judged = list(known)
    for unit in sorted({one.unit for one in judged}):
        model = _fitted(target, [one for one in known if one.unit != unit])
        samples = [one.sample for one in judged if one.unit == unit]
        in_series = any(one.row.stage == unit for one in judged)
        (series if in_series else named).append(HeldOut(unit, samples, model, series=in_series))
    if series:
        series.append(_every_tenth(target, known, judged))
    # Beside series named networks are few: all of them count half as much as one series does.
    return [*series, *(replace(one, weight=0.5 / len(named)) for one in named)] if series else named


def _every_tenth(target: Target, known: Sequence[_Known], judged: Sequence[_Known]) -> HeldOut:
    """Rows with neighbors in their own series: what is priced may be like the rows as well as unlike them."""
    out = [one for one in judged if one.row.stage][::10]
    left = {id(one) for one in out}
    model = _fitted(target, [one for one in known if id(one) not in left])
    return HeldOut("every tenth row of the series", [one.sample for one in out], model, series=True)


def _of_held_out(fitted: CostModel, held: Sequence[HeldOut]) -> list[FitStatistic]:
    """Errors on what was held out, with the intervals of the final model: each series, and all networks together."""
    wide = [replace(one, model=one.model.model_copy(update={"spread": fitted.spread})) for one in held]
    series = [_statistic([one], one.group) for one in wide if one.series]
    named = [one for one in wide if not one.series]
    boards = f"each of {len(named)} networks left out"
    return [*series, *([_statistic(named, boards)] if named else [])]


def _statistic(held: Sequence[HeldOut], name: str) -> FitStatistic:
    found = np.concatenate([predictions(one.samples, one.model) for one in held])
    ms = np.array([sample.ms for one in held for sample in one.samples])
    off = np.abs(found[:, 0] / ms - 1)
    return FitStatistic(
        group=name, use="held out", n=len(ms), mape=round(float(off.mean()), 4),
        median_ape=round(float(np.median(off)), 4), p90_ape=round(float(np.percentile(off, 90)), 4),
        coverage=round(float(((found[:, 1] <= ms) & (ms <= found[:, 2])).mean()), 4),
        half_width=round(float(np.median((found[:, 2] - found[:, 1]) / 2 / found[:, 0])), 4),
    )  # fmt: skip


def _statistics(target: Target, rows: Sequence[Row], use: str) -> list[FitStatistic]:
    groups, _ = by_group(target, rows)
    named = [(judge(known, some), some[0]) for known, some in groups]
    return [as_statistic(group, f"{row.precision.upper()}, {row.runtime}", use) for group, row in named]


SAME_RUNTIME = Factor(lower=0.9, upper=1.1, source="another version of the runtime of the rows: 3 to 10 % as a rule")
"""ncnn from 2022 to 2023 and TensorRT from 7.1 to 8: single networks were up to 40 % apart."""


def _in_artifact(target: Target, fitted: CostModel, elsewhere: Sequence[Row]) -> dict[str, object]:
    """What is known of onnxruntime where another runtime was fitted.

    Its CPU kernels (MLAS) multiply 3x3 directly: at the rate of the other dense kernels.
    """
    if target.runtime != "onnxruntime" or target.fit is None:
        return {}
    if any(runtime.startswith(target.runtime) for runtime in target.fit.runtimes):
        return {"runtime_doubt": SAME_RUNTIME}
    doubt = runtime_doubt(elsewhere, target.fit.runtimes)
    known = {} if doubt is None else {"runtime_doubt": doubt}
    return {"artifact_rates": {"conv3x3": fitted.rates["convkxk"]}, **known}


def _power(known: Sequence[_Known]) -> dict[str, Span]:
    """What the board draws, where enough rows say."""
    watts: Floats = np.array([one.row.power_w for one in known if one.own and one.row.power_w is not None])
    if len(watts) == 0:
        return {}
    low, middle, high = (rounded(float(value)) for value in np.percentile(watts, [5, 50, 95]))
    return {"power_w": Span(value=middle, lower=low, upper=high)}

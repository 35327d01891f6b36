"""Decode-to-score latency: a short screening for the search, the full protocol for baseline and finalists."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from budgetc import errors
from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.plan import fingerprint
from budgetc.core.statistics import minimum_samples, percentile_bounds
from budgetc.measurement.host import device, runtime
from budgetc.measurement.pairs import Effort, Pair, Subject, time_pair
from budgetc.measurement.scorer import ScoringProcess
from budgetc.runtime.device_worker import warm_up
from budgetc.runtime.spec import read_spec

CONFIDENCE = 0.95
PERCENTILES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}
STAGES = {"latency_decode_p50": "decode_ms", "latency_graph_p50": "graph_ms", "latency_post_p50": "post_ms"}
MAX_DISCARDS = 5
_DRIFTED = "the machine changed by more than 3 % in too many pairs; all of them are in the bounds"
_UNSETTLED = "a warm-up ended before two windows agreed within 2 %"


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of processes that were timed so far."""

    kept: tuple[Pair, ...] = ()
    discarded: tuple[Pair, ...] = ()

    @property
    def used(self) -> tuple[Pair, ...]:
        """Those that figures rest on: all, where too many drifted."""
        steady = self.kept and not any(pair.drifted for pair in self.kept)
        return self.kept if steady else self.kept + self.discarded


_NONE = Pairs()


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Everything the full protocol found, the pairs included."""

    artifact: dict[str, Measurement]
    """By metric: percentiles that the samples support, and medians of the stages."""
    baseline: dict[str, Measurement]
    ratio: Measurement
    """`latency_p50_ratio`: artifact over baseline, median over the pairs of processes."""
    drifted: bool
    """Too many pairs had to be discarded: the bounds then hold every pair, and get wide."""
    pairs: Pairs


_PAIRS = TypeAdapter(Pairs)


def plain_pairs(pairs: Pairs) -> dict[str, Any]:
    """Samples as plain data that reads back as itself."""
    plain: dict[str, Any] = _PAIRS.dump_python(pairs, mode="json")
    return plain


def read_pairs(plain: object) -> Pairs:
    """Samples from plain data; none where it is anything else."""
    try:
        return _PAIRS.validate_python(plain)
    except ValidationError:
        return Pairs()


def screen_latency(directory: Path, images: Sequence[Path], *, calls: int = 60) -> dict[str, Measurement]:
    """Percentiles from one fresh process after a short warm-up: for the search, with a margin of 15 %.

    Raises:
        InputRejected, TargetUnreachable: the artifact, an image or the process cannot be used.
        UsageError: no images, or too few calls for a median.
    """
    if calls < minimum_samples(0.5, CONFIDENCE):
        raise errors.UsageError(
            f"calls is {calls}; a bounded median needs {minimum_samples(0.5, CONFIDENCE)}, a p95 59"
        )
    threads = read_spec(directory / ARTIFACT).threads
    with ScoringProcess(directory, images) as process:
        warm_up(process, calls=10, seconds=0.25, agreement=0.1)
        times = process.ask("time", calls=calls)
    return percentiles([times], device(threads), "screened: one process")


def measure_latency(
    directory: Path,
    baseline_directory: Path,
    images: Sequence[Path],
    *,
    rng: np.random.Generator,
    processes: int = 5,
    calls: int = 120,
    cap: float = 20.0,
    limits: Mapping[str, float] | None = None,
    progress: Callable[[str], None] = lambda message: None,
    known: Pairs = _NONE,
    keep: Callable[[Pairs], None] = lambda pairs: None,
) -> LatencyResult:
    """The full protocol: pairs of fresh processes, timed in interleaved blocks.

    A pair during which the baseline's own speed drifts by more than 3 % is discarded and repeated, at most 5 times;
    then the result is `drifted`. Bounds are order statistics of the pooled samples, widened so that the percentile
    of every single process lies within.

    Args:
        directory: the artifact.
        baseline_directory: the baseline's, in deployed form.
        images: encoded image files, visited in turn, the same by both.
        rng: draws the order of the blocks.
        processes: pairs that are kept.
        calls: of each process, at least, where `cap` allows.
        cap: seconds of timed blocks in a pair.
        limits: metric -> ms; while one lies within the artifact's bounds, up to `processes` more pairs are timed.
        progress: gets one sentence a pair.
        known: pairs of the same files that were timed before. They count, so that an interrupted run goes on; all
            are forgotten where they drifted, where more are needed and the repeats are used up, or where twice
            `processes` left a limit open: see `usable`.
        keep: gets all pairs after every new one.

    Raises:
        InputRejected, TargetUnreachable: an artifact, an image or a process cannot be used.
        UsageError: no images, no processes or no calls.
    """
    if processes < 1 or calls < 1:
        raise errors.UsageError(f"processes is {processes} and calls {calls}; both must be at least 1")
    where, effort = device(read_spec(directory / ARTIFACT).threads), Effort(calls, cap)

    def draw() -> Pair:
        return time_pair(directory, baseline_directory, images, effort=effort, rng=rng)

    return collect(
        draw, processes=processes, limits=limits or {}, where=where, progress=progress, known=known, keep=keep
    )


def collect(
    draw: Callable[[], Pair | None],
    *,
    processes: int,
    limits: Mapping[str, float],
    where: str,
    ran_in: str | None = None,
    progress: Callable[[str], None] = lambda message: None,
    known: Pairs = _NONE,
    keep: Callable[[Pairs], None] = lambda pairs: None,
) -> LatencyResult:
    """Draw pairs until enough are kept and, as far as twice as many can, decide the limits; see `measure_latency`.

    A `draw` that returns None has no more: what is there has to do, and where too few are steady, all of it counts.
    """
    known = usable(known, processes=processes, limits=limits)
    kept, discarded, drifted = list(known.kept), list(known.discarded), False
    while len(kept) < processes or (len(kept) < 2 * processes and not drifted and _undecided(kept, limits)):
        pair = draw()
        if pair is None:
            if len(kept) < processes:  # too few to choose from: whoever dropped the slow ones would judge by the rest
                drifted, kept, discarded = bool(discarded) or drifted, kept + discarded, []
            break
        repeat = pair.drifted and len(discarded) < MAX_DISCARDS
        drifted |= pair.drifted and not repeat
        (discarded if repeat else kept).append(pair)
        keep(Pairs(tuple(kept), tuple(discarded)))
        fate = "discarded" if repeat else "kept"
        progress(f"latency pair {len(kept)} of {processes}: ratio {pair.ratio:.3f}, drift {pair.drift:.1%}, {fate}")
    found = Pairs(tuple(kept), tuple(discarded))
    pairs = found.used
    notes = [_DRIFTED] * drifted + [_UNSETTLED] * (not all(pair.settled for pair in pairs))
    return LatencyResult(
        artifact=_of(pairs, "artifact", where, "; ".join(notes), ran_in=ran_in),
        baseline=_of(pairs, "baseline", where, "; ".join(notes), ran_in=ran_in),
        ratio=_ratio(pairs, where, ran_in),
        drifted=drifted,
        pairs=found,
    )


def usable(known: Pairs, *, processes: int, limits: Mapping[str, float]) -> Pairs:
    """The known pairs, or none of them where they would make one bad hour of the machine permanent.

    Fresh pairs replace the old ones, which are neither pooled with them nor kept to choose from: every result rests
    on one series of pairs, and its bounds hold with their confidence for that series. Only what decides nothing is
    measured anew, and each series can err: whoever asks k times until a limit is decided errs up to k times as often.
    """
    missing = len(known.kept) < processes
    undecided = not missing and _undecided(known.kept, limits)
    drifted = any(pair.drifted for pair in known.kept)
    used_up = len(known.discarded) >= MAX_DISCARDS and (missing or undecided)
    at_cap = len(known.kept) >= 2 * processes and undecided
    return _NONE if drifted or used_up or at_cap else known


def _undecided(kept: Sequence[Pair], limits: Mapping[str, float]) -> bool:
    """Whether a limit lies between the bounds of its metric."""
    found = _of(kept, "artifact", "")
    measured = [(found[name], limit) for name, limit in limits.items() if name in found]
    return any(m.lower is not None and m.upper is not None and m.lower <= limit < m.upper for m, limit in measured)


def _of(
    pairs: Sequence[Pair], subject: Subject, where: str, note: str = "", *, ran_in: str | None = None
) -> dict[str, Measurement]:
    stages = ("total_ms", *STAGES.values())
    return percentiles(
        [{stage: pair.times(subject, stage) for stage in stages} for pair in pairs], where, note, ran_in=ran_in
    )


def percentiles(
    processes: Sequence[Mapping[str, Sequence[float]]], where: str, note: str, *, ran_in: str | None = None
) -> dict[str, Measurement]:
    """Percentiles and stage medians; a percentile that the samples do not support is left out."""
    asked = [(name, "total_ms", q) for name, q in PERCENTILES.items()]
    asked += [(name, stage, 0.5) for name, stage in STAGES.items()]
    found = {name: _percentile(name, [times[stage] for times in processes], q) for name, stage, q in asked}
    extra = {"device": where, "runtime": ran_in or runtime(), "note": note or None}
    return {name: m.model_copy(update=extra) for name, m in found.items() if m is not None}


def _percentile(name: str, processes: Sequence[Sequence[float]], q: float) -> Measurement | None:
    pooled = [ms for times in processes for ms in times]
    if len(pooled) < minimum_samples(q, CONFIDENCE):
        return None
    bounds = percentile_bounds(pooled, q, CONFIDENCE)
    # Calls of one process are alike, so the pooled bounds are too narrow: no process may contradict them.
    alone = [float(np.quantile(times, q, method="inverted_cdf")) for times in processes]
    return Measurement(
        metric=name, value=bounds.value, unit="ms", lower=min(bounds.lower, *alone), upper=max(bounds.upper, *alone),
        confidence=CONFIDENCE, n=len(pooled), kind="measured", device="", samples_digest=fingerprint(processes),
    )  # fmt: skip


def _ratio(pairs: Sequence[Pair], where: str, ran_in: str | None) -> Measurement:
    """Median of the pairs' ratios; their extremes hold the true median with 1 - 2^(1 - n) (sign test)."""
    ratios = [pair.ratio for pair in pairs]
    return Measurement(
        metric="latency_p50_ratio", value=median(ratios), unit="1", lower=min(ratios), upper=max(ratios),
        confidence=1 - 2.0 ** (1 - len(ratios)), n=len(ratios), kind="measured", device=where,
        runtime=ran_in or runtime(), samples_digest=fingerprint(ratios),
        note="two-sided; per-process medians of interleaved pairs",
    )  # fmt: skip

"""Fits the table of a sequential monitor: which scores it holds, and the drift and threshold of its CUSUM.

From normals only, and from the scores of the final file: what compression does to scores, it does to the table, too.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from budgetc.runtime.monitor import MonitorTable, log_mixture, p_value, pack_scores, short

RUN_LENGTH = 1000
"""Frames in which four of five streams of normals raise no alarm."""
MOST_SCORES = 255
"""A table holds no more: 510 bytes, and p-values down to 1 in 128."""
FEWEST_SCORES = 10
"""Fewer calibration normals cannot raise the martingale: its logarithm would stay below 2.3."""
_CHAINS = 200
_GRID = 300
_DRIFTS = (0.5, 0.75, 0.9, 0.95, 0.98, 0.99)
"""Quantiles of the log of the martingale under normals that are tried as the drift."""
_QUIET = 0.8
"""Share of chains of normals without an alarm in RUN_LENGTH frames. At exp(-1), where RUN_LENGTH would be the mean
distance of alarms, half of the tables of 30 scores gave one every 320 frames or sooner; now it is 7200."""
Scores = Sequence[float] | NDArray[np.floating]


def table_size(normals: int) -> int:
    """How many scores the table of so many calibration normals holds; 0 where they are too few for a monitor."""
    return min(normals, MOST_SCORES) if normals >= FEWEST_SCORES else 0


def fit_monitor(scores: Scores, groups: Sequence[str]) -> MonitorTable:
    """The table of calibration normals' scores, in the order of their frames, each in its `group`.

    Two kinds of chains are simulated: of frames that are exchangeable with the calibration, each with a calibration of
    its own, because the table is a sample, too; and of whole groups, because successive frames are alike, each against
    the other groups. Drift and threshold are those with the shortest delay at frames that are all above the table,
    among those that give no alarm in RUN_LENGTH frames to four of five chains of either kind. Scenes that the
    calibration has none of are not among them.

    Raises:
        ValueError: fewer scores than FEWEST_SCORES, not one group a score, or a score is no finite number.
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(values) < FEWEST_SCORES or len(groups) != len(values) or not np.isfinite(values).all():
        raise ValueError(f"{len(values)} scores of {len(groups)} frames: expected {FEWEST_SCORES} or more, all finite")
    kept = _thinned(np.sort(values))
    packed, lowest, step = pack_scores(kept.tolist())
    bare = MonitorTable(packed, lowest, step, drift=0.0, threshold=0.0, run_length=RUN_LENGTH)
    drift, threshold = _alarm(values, np.asarray(groups), bare.window)
    return MonitorTable(packed, lowest, step, short(drift), short(threshold), RUN_LENGTH)


def empty_table(normals: int) -> MonitorTable:
    """A table as large as that of so many calibration normals, for files that are priced before they are trained."""
    packed, lowest, step = pack_scores([0.0] * table_size(normals))
    return MonitorTable(packed, lowest, step, drift=0.0, threshold=0.0, run_length=RUN_LENGTH)


def _thinned(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most MOST_SCORES of ascending scores, at the ranks that make no p-value smaller than all of them would."""
    count, kept = len(ordered), table_size(len(ordered))
    ranks = -(-np.arange(1, kept + 1) * (count + 1) // (kept + 1))
    return ordered[ranks - 1]


def _alarm(values: NDArray[np.float64], groups: NDArray[np.str_], window: int) -> tuple[float, float]:
    """Drift and threshold of CUSUM."""
    draws, size = [_exchangeable(len(values), window)], table_size(len(values))
    blocks = [np.flatnonzero(groups == group) for group in dict.fromkeys(groups.tolist())]
    if len(blocks) > 1:
        draws.append(_martingale(_in_blocks(values, blocks), window, size))
    drifts = np.unique(np.maximum(0, np.quantile(np.concatenate(draws), _DRIFTS)))
    tried = [(drift, max(_threshold(draw - drift) for draw in draws)) for drift in drifts.tolist()]
    steady = np.full((1, 2 * RUN_LENGTH), -np.log(p_value(0, size)))
    steady[:, :window] = 0  # normals before, of the most ordinary kind
    worst = _martingale(steady, window, size)[0, window:]
    return min(tried, key=lambda one: _delay(worst - one[0], one[1]))


def _threshold(increments: NDArray[np.float64]) -> float:
    """What the sum stays below in most chains."""
    return float(np.quantile(_cusum(increments).max(axis=1), _QUIET))


def _cusum(increments: NDArray[np.float64]) -> NDArray[np.float64]:
    """S_t = max(0, S_(t-1) + x_t) along the last axis, which is the total minus its lowest value so far, or 0."""
    total = np.cumsum(increments, axis=-1)
    return total - np.minimum(np.minimum.accumulate(total, axis=-1), 0)


def _delay(increments: NDArray[np.float64], threshold: float) -> int:
    above = np.flatnonzero(_cusum(increments) > threshold)
    return int(above[0]) if len(above) else len(increments)


@lru_cache(maxsize=4)  # the same for all files that one calibration is scored with
def _exchangeable(count: int, window: int) -> NDArray[np.float64]:
    """Log of the martingale of (chains, frames) that are drawn like their calibration, which each chain draws anew.

    The ranks of exchangeable scores do not depend on their distribution: uniform numbers stand for any.
    """
    rng, evidence = np.random.default_rng(0), np.empty((_CHAINS, RUN_LENGTH))
    for chain in evidence:
        table = _thinned(np.sort(rng.random(count)))
        chain[:] = _evidence(rng.random(RUN_LENGTH), table, len(table))
    return _martingale(evidence, window, table_size(count))


def _in_blocks(values: NDArray[np.float64], blocks: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """-log p of (chains, frames): blocks drawn at random, one behind the other, each against all other blocks."""
    evidence = [
        _evidence(values[block], np.sort(np.delete(values, block)), table_size(len(values))) for block in blocks
    ]
    needed = -(-RUN_LENGTH // min(map(len, blocks)))
    drawn = np.random.default_rng(0).integers(len(blocks), size=(_CHAINS, needed))
    return np.stack([np.concatenate([evidence[number] for number in row])[:RUN_LENGTH] for row in drawn])


def _evidence(scores: NDArray[np.float64], table: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """-log p of scores against an ascending table, as if it had `size` scores."""
    reached = len(table) - np.searchsorted(table, scores, side="left")
    known = -np.log([p_value(count * size // len(table), size) for count in range(len(table) + 1)])
    return np.asarray(known[reached])


def _martingale(evidence: NDArray[np.float64], window: int, size: int) -> NDArray[np.float64]:
    """Log of the martingale at each of (chains, frames), by interpolation between values of `log_mixture`."""
    total = np.cumsum(evidence, axis=1)
    total[:, window:] -= total[:, :-window].copy()
    found = np.empty_like(total)
    for frames in range(1, window + 1):  # only the first frames have less than a window behind them
        grid, known = _known(frames, size)
        part = slice(frames - 1, frames if frames < window else None)
        found[:, part] = np.interp(total[:, part], grid, known)
    return found


@lru_cache(maxsize=64)
def _known(frames: int, size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evidence of so many frames, up to the most that a table of `size` scores can give, and the log martingale."""
    grid = np.linspace(0, -np.log(p_value(0, size)) * frames, _GRID)
    return grid, np.array([log_mixture(point, frames) for point in grid.tolist()])

"""Artifact and baseline timed side by side: alive together, in short alternating blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np

from budgetc.measurement.scorer import ScoringProcess

Subject = Literal["artifact", "baseline"]
Times = Mapping[str, Sequence[float]]
"""Stage (`decode_ms`, `graph_ms`, `post_ms`, `total_ms`) -> milliseconds of each call."""

MAX_DRIFT = 0.03
AGREEMENT = 0.02
WARM_CALLS, WARM_SECONDS = 50, 2.0
_WINDOW_MS = 250.0
_MAX_WINDOWS = 12
_BLOCKS = 4  # of each subject
_MIN_BLOCK_MS = 250.0  # a median over less follows the scheduler rather than the machine's speed
_MIN_BLOCK_CALLS = 3  # 4 blocks x 5 processes x 3 calls: just enough for a p95


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive calls of one process."""

    subject: Subject
    times: Times


@dataclass(frozen=True, slots=True)
class Pair:
    """One fresh process of each subject, in the order in which their blocks ran."""

    blocks: tuple[Block, ...]
    settled: bool
    """Whether both warm-ups ended with two windows that agree."""

    def times(self, subject: Subject, stage: str) -> list[float]:
        """Milliseconds of all calls of a subject."""
        return [ms for block in self.blocks if block.subject == subject for ms in block.times[stage]]

    @property
    def ratio(self) -> float:
        """Median of the artifact over median of the baseline."""
        return median(self.times("artifact", "total_ms")) / median(self.times("baseline", "total_ms"))

    @property
    def drift(self) -> float:
        """Relative change from the first to the last block of the baseline: the machine's own change."""
        canary = [median(block.times["total_ms"]) for block in self.blocks if block.subject == "baseline"]
        return abs(canary[-1] / canary[0] - 1)

    @property
    def drifted(self) -> bool:
        """Whether the machine changed by more than 3 % in between."""
        return self.drift > MAX_DRIFT


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a pair may be timed."""

    calls: int
    """Of each process, at least, where `cap` allows."""
    cap: float
    """Seconds of all timed blocks of a pair; a few slow calls are made in any case."""


def time_pair(
    artifact: Path, baseline: Path, images: Sequence[Path], *, effort: Effort, rng: np.random.Generator
) -> Pair:
    """Start both, warm both up, then time blocks in the order ABBA or BAAB, drawn twice.

    Raises:
        InputRejected, TargetUnreachable, UsageError: as `ScoringProcess`.
    """
    with ScoringProcess(artifact, images) as first, ScoringProcess(baseline, images) as second:
        processes: dict[Subject, ScoringProcess] = {"artifact": first, "baseline": second}
        warm = {subject: warm_up(process) for subject, process in processes.items()}
        calls = block_calls(warm["artifact"][0], warm["baseline"][0], effort)
        order = [subject for _ in range(_BLOCKS // 2) for subject in _draw(rng)]
        blocks = tuple(Block(subject, processes[subject].ask("time", calls=calls)) for subject in order)
    return Pair(blocks, settled=all(settled for _, settled in warm.values()))


def warm_up(
    process: ScoringProcess, *, calls: int = WARM_CALLS, seconds: float = WARM_SECONDS, agreement: float = AGREEMENT
) -> tuple[float, bool]:
    """Score until `calls` and `seconds` are over and the last two windows agree; at most 12 windows more.

    Returns the median milliseconds of the last window, and whether it settled.
    """
    once = process.ask("warm", calls=3)["total_ms"]
    window = max(5, ceil(_WINDOW_MS / min(once)))
    done, spent, medians = len(once), sum(once), [min(once)]
    for _ in range(_MAX_WINDOWS + ceil(seconds * 1000 / _WINDOW_MS)):
        times = process.ask("warm", calls=window)["total_ms"]
        done, spent = done + len(times), spent + sum(times)
        medians.append(median(times))
        if done >= calls and spent >= seconds * 1000 and abs(medians[-1] / medians[-2] - 1) <= agreement:
            return medians[-1], True
    return medians[-1], False


def block_calls(artifact_ms: float, baseline_ms: float, effort: Effort) -> int:
    """Calls of one block: enough for the samples and for a steady median, within the cap."""
    wanted = max(1, ceil(effort.calls / _BLOCKS))
    steady = ceil(_MIN_BLOCK_MS / baseline_ms)
    affordable = int(effort.cap * 1000 / (_BLOCKS * (artifact_ms + baseline_ms)))
    return max(_MIN_BLOCK_CALLS, min(max(wanted, min(steady, 4 * wanted)), affordable))


def _draw(rng: np.random.Generator) -> tuple[Subject, ...]:
    if rng.random() < 0.5:
        return "artifact", "baseline", "baseline", "artifact"
    return "baseline", "artifact", "artifact", "baseline"

"""Artifact and baseline timed side by side: alive together, in short alternating blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np

from budgetc.measurement.scorer import ScoringProcess
from budgetc.runtime.device_worker import BLOCKS, calls_of_block, warm_up

Subject = Literal["artifact", "baseline"]
Times = Mapping[str, Sequence[float]]
"""Stage (`decode_ms`, `graph_ms`, `post_ms`, `total_ms`) -> milliseconds of each call."""

MAX_DRIFT = 0.03


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
        calls = calls_of_block(warm["artifact"][0], warm["baseline"][0], calls=effort.calls, cap=effort.cap)
        blocks = tuple(Block(one, processes[one].ask("time", calls=calls)) for one in draw_order(rng))
    return Pair(blocks, settled=all(settled for _, settled in warm.values()))


def draw_order(rng: np.random.Generator) -> tuple[Subject, ...]:
    """Whose block comes when: ABBA or BAAB, drawn twice."""
    return tuple(subject for _ in range(BLOCKS // 2) for subject in _draw(rng))


def _draw(rng: np.random.Generator) -> tuple[Subject, ...]:
    if rng.random() < 0.5:
        return "artifact", "baseline", "baseline", "artifact"
    return "baseline", "artifact", "artifact", "baseline"

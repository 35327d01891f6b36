"""Latency and memory as measured on a board, for what measures on this machine otherwise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.target import Target
from budgetc.measurement.board.board import Board
from budgetc.measurement.board.job import Job
from budgetc.measurement.board.parts import PairPart
from budgetc.measurement.board.results import Results, device_words, runtime_words
from budgetc.measurement.latency import LatencyResult, Pairs, collect
from budgetc.measurement.memory import MEMORY_CALLS
from budgetc.measurement.pairs import Pair, draw_order
from budgetc.runtime.spec import read_spec

SCREEN_CALLS, PAIR_CALLS, PAIR_SECONDS = 60, 120, 8.0
DEADLINE_S = 2 * 3600.0
"""Of one job: building two engines takes up to half an hour on a Nano."""
LOCK_WAIT_S = 900.0
"""How long a compilation waits for a board that another one uses."""
_MOVING = {"free_bytes", "kernel"}


def memory_part(subject: str, repeats: int) -> dict[str, Any]:
    """Peak memory of fresh processes."""
    return {"do": "memory", "subject": subject, "repeats": repeats, "calls": MEMORY_CALLS}


def screen_part(subject: str, calls: int) -> dict[str, Any]:
    """Times of one process."""
    return {"do": "screen", "subject": subject, "calls": calls}


def soak_part(subject: str, minutes: float, row_s: float = 10.0) -> dict[str, Any]:
    """One process that scores on, in rows of some seconds."""
    return {"do": "soak", "subject": subject, "minutes": minutes, "row_s": row_s}


def pair_part(subject: str, baseline: str, rng: np.random.Generator) -> dict[str, Any]:
    """Two processes in alternating blocks."""
    return {"do": "pair", "subject": subject, "baseline": baseline, "order": draw_order(rng), "calls": PAIR_CALLS,
            "cap": PAIR_SECONDS}  # fmt: skip


def unlike(target: Target, facts: Mapping[str, Any]) -> str:
    """What says that a board is not the target; empty where nothing does."""
    found = []
    machine, cores = facts.get("machine"), facts.get("cores")
    if target.emulation is not None and machine and machine != target.emulation.machine:
        found.append(f"is {machine}, and the target is {target.emulation.machine}")
    if isinstance(cores, int) and 0 < cores < target.threads:
        found.append(f"has {cores} cores, and the target uses {target.threads} threads")
    return f"warning: this board is not {target.name}: it {' and '.join(found)}" if found else ""


@dataclass
class Conditions:
    """What a report says of the board that was measured on."""

    where: str
    facts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    """Clocks, temperatures, throttling and load around the pairs of the full protocol."""

    def meet(self, facts: Mapping[str, Any]) -> None:
        """What a board behind ssh says of itself before anything is measured there."""
        self.facts = {name: value for name, value in facts.items() if name not in ("versions", "free_bytes")}
        self.versions = {
            {"PIL": "Pillow", "cv2": "OpenCV"}.get(name, name): version for name, version in facts["versions"].items()
        }

    def note(self, results: Results, *, samples: bool = True) -> None:
        """Add what came back."""
        self.facts, self.versions = dict(results.board), dict(results.versions)
        self.samples += [one.model_dump(mode="json") for one in results.samples] if samples else ()


@dataclass(frozen=True, slots=True)
class BoardMeter:
    """Measures on a board behind ssh; raises what `Board.run` raises."""

    board: Board
    conditions: Conditions
    target: Target

    def circumstances(self) -> list[object]:
        """What a figure depends on beside the files."""
        return [
            "board", str(self.board.address), {k: v for k, v in self.board.facts.items() if k not in _MOVING}
        ]  # fmt: skip

    def screen(self, directory: Path, images: Sequence[Path]) -> dict[str, Measurement]:
        """Percentiles from one fresh process."""
        found = self._do(images, [screen_part("artifact", SCREEN_CALLS)], artifact=directory)
        self.conditions.note(found, samples=False)
        return found.screened("artifact", self._where(found, directory))

    def memory(self, directory: Path, images: Sequence[Path], *, repeats: int = 3) -> dict[str, Measurement]:
        """Peak memory of fresh processes."""
        found = self._do(images, [memory_part("artifact", repeats)], artifact=directory)
        self.conditions.note(found, samples=False)
        return found.memory("artifact", self._where(found, directory))

    def latency(
        self, directory: Path, baseline: Path, images: Sequence[Path], *, rng: np.random.Generator,
        limits: Mapping[str, float], progress: Callable[[str], None], known: Pairs, keep: Callable[[Pairs], None],
    ) -> LatencyResult:  # fmt: skip
        """Interleaved pairs, one job each: what was fetched stays, whatever happens to the board."""

        def draw() -> Pair:
            found = self._do(images, [pair_part("artifact", "baseline", rng)], artifact=directory, baseline=baseline)
            self.conditions.note(found)
            return next(part.pair() for part in found.done if isinstance(part, PairPart))

        facts, threads = self.board.facts, read_spec(directory / ARTIFACT).threads
        return collect(
            draw, processes=5, limits=limits, where=device_words(facts, str(self.board.address), threads),
            ran_in=runtime_words(facts["versions"]), progress=progress, known=known, keep=keep,
        )  # fmt: skip

    def _do(self, images: Sequence[Path], parts: Sequence[dict[str, Any]], **subjects: Path) -> Results:
        return self.board.run(
            Job(subjects, images, tuple(parts), self.target, lock_wait_s=LOCK_WAIT_S, deadline_s=DEADLINE_S)
        )

    def _where(self, found: Results, directory: Path) -> str:
        return found.device(str(self.board.address), read_spec(directory / ARTIFACT).threads)

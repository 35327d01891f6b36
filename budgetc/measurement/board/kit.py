"""Latency and memory that kits brought back from a board without a network, and what is still to be carried there."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.measurement import Measurement
from budgetc.core.target import Target
from budgetc.errors import Inconclusive, InputRejected
from budgetc.measurement.board.job import Job, device_config
from budgetc.measurement.board.meter import Conditions, memory_part, pair_part
from budgetc.measurement.board.parts import PairPart
from budgetc.measurement.board.results import Results, read_results
from budgetc.measurement.board.sameness import check_same
from budgetc.measurement.latency import LatencyResult, Pairs, collect
from budgetc.runtime.spec import read_spec

PAIRS, NEEDED = 8, 5
"""Of each finalist: five are needed, and some drift."""


class BoardNeeded(Inconclusive):
    """No kit that was brought back has measured this finalist."""


@dataclass(frozen=True, slots=True)
class KitMeter:
    """Looks figures up in what kits of the same compilation brought back.

    Raises:
        BoardNeeded: they have not measured a file, or too few pairs of it, so it has to be carried to the board first.
        InputRejected: they have, with other pictures, another baseline or other scripts.
    """

    results: tuple[tuple[Path, Results], ...]
    conditions: Conditions
    target: Target | None = None

    def circumstances(self) -> list[object]:
        """The results themselves."""
        return ["kit", *(found.model_dump(mode="json") for _, found in self.results)]

    def screen(self, directory: Path, images: Sequence[Path]) -> dict[str, Measurement]:
        """Never asked: the search of a compilation with kits predicts."""
        raise BoardNeeded(f"{directory} was not screened on the board")

    def memory(self, directory: Path, images: Sequence[Path], *, repeats: int = 3) -> dict[str, Measurement]:
        """Of the processes that a kit measured."""
        for path, found, subject in self._of(directory):
            measured = found.memory(subject, _where(path, found, directory))
            if measured:
                self._check(path, found, images, {subject: directory})
                return measured
        raise BoardNeeded(f"{directory}: memory was not measured on the board")

    def latency(
        self, directory: Path, baseline: Path, images: Sequence[Path], *, rng: np.random.Generator,
        limits: Mapping[str, float], progress: Callable[[str], None], known: Pairs, keep: Callable[[Pairs], None],
    ) -> LatencyResult:  # fmt: skip
        """From the pairs of one kit, as many as are needed."""
        most = 0
        for path, found, subject in self._of(directory):
            parts = list(_pairs(found, subject, _digest(baseline / MODEL)))
            most = max(most, len(parts))
            if len(parts) < NEEDED:
                continue
            for name in sorted({part.baseline for part in parts}):
                self._check(path, found, images, {subject: directory, name: baseline})
            self.conditions.where = path.name
            self.conditions.note(found)
            pairs = (part.pair() for part in parts)
            return collect(
                partial(next, pairs, None), processes=NEEDED, limits=limits,
                where=_where(path, found, directory), ran_in=found.runtime, progress=progress, keep=keep,
            )  # fmt: skip
        if most:
            raise BoardNeeded(
                f"{directory}: latency was measured in {most} pairs of processes on the board, and {NEEDED} are "
                "needed; run the kit again, to its end"
            )
        raise BoardNeeded(f"{directory}: latency was not measured on the board")

    def _check(self, path: Path, found: Results, images: Sequence[Path], subjects: Mapping[str, Path]) -> None:
        """The scripts, pictures and these subjects are the very ones; other finalists may be there, too."""
        expected = Job(subjects, images, (), self.target).packed().files
        mine = {name: it for name, it in found.files.items() if name in expected or name.startswith("images/")}
        check_same(expected, mine, path, "import what a kit of the same command measured, or make a new one")

    def _of(self, directory: Path) -> Iterator[tuple[Path, Results, str]]:
        """Results that hold this very graph with this very configuration, and its name in them."""
        config = hashlib.sha256(device_config(directory / ARTIFACT, self.target)).hexdigest()
        digests = {MODEL: _digest(directory / MODEL), "config.json": config}
        for path, found in self.results:
            for subject in sorted({name.partition("/")[0] for name in found.files}):
                if all(found.files.get(f"{subject}/{name}") == digest for name, digest in digests.items()):
                    yield path, found, subject


def _pairs(found: Results, subject: str, baseline: str) -> Iterator[PairPart]:
    """Of a subject with the baseline that has this digest."""
    for part in found.done:
        if isinstance(part, PairPart) and part.subject == subject and found.model_of(part.baseline) == baseline:
            yield part


def read_kits(paths: Sequence[Path]) -> tuple[tuple[Path, Results], ...]:
    """What was brought back, all from one board.

    Raises:
        InputRejected: a file is damaged, holds a failure, or they are of several boards.
    """
    found = tuple((path, read_results(path)) for path in paths)
    boards = {(one.board.get("machine_id"), one.board.get("model"), one.board.get("power_mode")) for _, one in found}
    if len(boards) > 1:
        named = "; ".join(f"{path}: {_board(one)}" for path, one in found)
        raise InputRejected(f"--import: results of different boards or power modes ({named}); import those of one")
    return found


def _board(found: Results) -> str:
    words = [found.board.get(name) for name in ("model", "cpu", "machine_id", "power_mode")]
    return " ".join(str(word) for word in words if word)


def kit_job(
    finalists: Mapping[str, Path], baseline: Path, images: Sequence[Path], *, rng: np.random.Generator, command: str,
    target: Target | None = None,
) -> Job:  # fmt: skip
    """The full protocol for several finalists: pairs with the baseline in turn, then memory."""
    do: list[dict[str, Any]] = [pair_part(name, "baseline", rng) for _ in range(PAIRS) for name in finalists]
    subjects = {"baseline": baseline, **finalists}
    for name in subjects:
        do += [memory_part(name, 3), {"do": "scores", "subject": name}]
    return Job(subjects, images, tuple(do), target, deadline_s=4 * 3600.0, command=command)


def _where(path: Path, found: Results, directory: Path) -> str:
    return found.device(path.name, read_spec(directory / ARTIFACT).threads)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Detectors timed side by side: all alive, in short blocks whose order is turned around every round (ABBA)."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil, inf
from pathlib import Path
from statistics import median

from budgetc.core.statistics import Percentile, percentile_bounds
from budgetc.measurement.scorer import ScoringProcess
from budgetc.runtime.device_worker import warm_up

PROBE = Path(__file__).with_name("peer_openvino.py")
_BLOCK_MS, _BLOCK_CALLS = 80.0, 4
_PROCESSES, _MEMORY_CALLS = 3, 8


@dataclass(frozen=True)
class Contestant:
    """A detector in its runtime."""

    name: str
    directory: Path
    """With `artifact.json`."""
    files: tuple[str, ...]
    """That scoring needs, in `directory`."""
    note: str = ""
    """How it was made."""
    python: Path | None = None
    """Of the environment that has OpenVINO; None runs in onnxruntime."""

    @property
    def size(self) -> int:
        """Bytes of all files that scoring needs."""
        return sum((self.directory / name).stat().st_size for name in self.files)

    def start(self, images: Sequence[Path]) -> ScoringProcess:
        """A fresh process of it."""
        if self.python is None:
            return ScoringProcess(self.directory, images)
        return _OpenVinoProcess(self.python, self.directory, images)


class _OpenVinoProcess(ScoringProcess):
    def __init__(self, python: Path, directory: Path, images: Sequence[Path]) -> None:
        super().__init__(directory, images)
        self._command = [str(python), str(PROBE), str(directory), *map(str, images)]


def model_memory(contestant: Contestant, images: Sequence[Path]) -> list[int]:
    """Peak bytes while loading and scoring, above interpreter and runtime: of each of three fresh processes.

    Raises:
        BudgetcError: the runtime refuses the model, or the process dies.
    """
    found = []
    for _ in range(_PROCESSES):
        with contestant.start(images) as process:
            reply = process.ask("memory", calls=_MEMORY_CALLS)
        found.append(max(reply["load"], reply["run"]) - reply["base"])
    return found


@dataclass(frozen=True)
class Race:
    """Milliseconds by contestant: of every round the median of its block, for the graph alone and decode to score."""

    graph_ms: Mapping[str, Sequence[float]]
    total_ms: Mapping[str, Sequence[float]]
    fastest_ms: Mapping[str, float]
    """Of all calls of the graph: what a busy machine disturbs least."""
    calls: Mapping[str, int]
    """Timed, of all rounds."""

    def ratio(self, name: str, over: str) -> Percentile:
        """Median of the rounds' ratios of the graphs' times, with bounds of 95 % each (order statistics)."""
        return percentile_bounds([a / b for a, b in zip(self.graph_ms[name], self.graph_ms[over], strict=True)], 0.5)

    def fastest(self, name: str, over: str) -> float:
        """Ratio of the fastest calls of the graphs."""
        return self.fastest_ms[name] / self.fastest_ms[over]

    def slower(self, name: str, over: str) -> float:
        """The larger of both ratios.

        On a busy machine a runtime that hands every call to a thread of its own waits for the scheduler, and its
        medians say nothing of the graph; its fastest calls do.
        """
        return max(self.ratio(name, over).value, self.fastest(name, over))


def race(contestants: Sequence[Contestant], images: Sequence[Path], *, rounds: int) -> Race:
    """Time all of them, `rounds` blocks each.

    Raises:
        BudgetcError: a process dies.
    """
    graph: dict[str, list[float]] = {one.name: [] for one in contestants}
    total: dict[str, list[float]] = {one.name: [] for one in contestants}
    fastest = {one.name: inf for one in contestants}
    calls = {}
    with ExitStack() as stack:
        processes = {one.name: stack.enter_context(one.start(images)) for one in contestants}
        for name, process in processes.items():
            once, _ = warm_up(process, calls=20, seconds=0.5)
            calls[name] = max(_BLOCK_CALLS, ceil(_BLOCK_MS / once))
        order = list(processes)
        for _ in range(rounds):
            for name in order:
                times = processes[name].ask("time", calls=calls[name])
                graph[name].append(median(times["graph_ms"]))
                total[name].append(median(times["total_ms"]))
                fastest[name] = min(fastest[name], *times["graph_ms"])
            order.reverse()
    return Race(graph, total, fastest, {name: count * rounds for name, count in calls.items()})

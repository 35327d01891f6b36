"""Latency and memory of untrained structures, one short process each, cached by structure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from budgetc.candidate import Written
from budgetc.core.budget import Limits
from budgetc.core.measurement import Measurement
from budgetc.core.quantities import format_bytes
from budgetc.measurement.latency import screen_latency
from budgetc.measurement.memory import measure_memory

MARGIN = 0.15
"""How far a short measurement may lie beyond a limit before its structure is discarded."""
LATENCIES = ("latency_p50", "latency_p95", "latency_p99")


@dataclass(frozen=True, slots=True)
class Screened:
    """What screening says of a structure."""

    fits: bool
    reason: str
    measurements: tuple[Measurement, ...]


@dataclass
class Screener:
    """Measures each structure once."""

    limits: Limits
    images: Sequence[Path]
    _known: dict[str, Screened] = field(default_factory=dict)

    def screen(self, written: Written) -> Screened:
        """Whether a structure keeps latency and memory, with a margin for the shortness of the look."""
        if written.structure not in self._known:
            self._known[written.structure] = self._screen(written.directory)
        return self._known[written.structure]

    def _screen(self, directory: Path) -> Screened:
        found: dict[str, Measurement] = {}
        if any(getattr(self.limits, name) is not None for name in LATENCIES):
            found |= screen_latency(directory, self.images)
        if self.limits.peak_memory is not None:
            found |= measure_memory(directory, self.images, repeats=1)
        for name in (*LATENCIES, "peak_memory"):
            limit = getattr(self.limits, name)
            if limit is not None and name in found and _optimistic(found[name]) > limit * (1 + MARGIN):
                reason = f"{name} {_shown(found[name])} in screening, limit {_written(limit, found[name].unit)}"
                return Screened(False, f"{reason}; not trained", tuple(found.values()))
        return Screened(True, "keeps latency and memory in screening", tuple(found.values()))


def _optimistic(found: Measurement) -> float:
    return found.value if found.lower is None else found.lower


def _shown(found: Measurement) -> str:
    return _written(found.value, found.unit)


def _written(value: float, unit: str) -> str:
    return format_bytes(value) if unit == "B" else f"{value:.3g} {unit}"

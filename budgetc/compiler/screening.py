"""Latency and memory of untrained structures, cached by structure."""

from dataclasses import dataclass, field

from budgetc.candidate import Written
from budgetc.compiler.costing import LATENCIES, Costing
from budgetc.core.measurement import Measurement
from budgetc.core.quantities import format_bytes

MARGIN = 0.15
"""How far a short measurement may lie beyond a limit before its structure is discarded."""


@dataclass(frozen=True, slots=True)
class Screened:
    """What screening says of a structure."""

    fits: bool
    reason: str
    measurements: tuple[Measurement, ...]


@dataclass
class Screener:
    """Looks at each structure once."""

    costing: Costing
    _known: dict[str, Screened] = field(default_factory=dict)

    def screen(self, written: Written) -> Screened:
        """Whether a structure keeps latency and memory: measured with a margin for the shortness of the look,
        predicted by the upper edge of the interval, which is what the verdict will ask for, or by the value where the
        verdict will rest on measurements of a board.
        """
        if written.structure not in self._known:
            self._known[written.structure] = self._judge(self.costing.quick(written))
        return self._known[written.structure]

    def _judge(self, found: dict[str, Measurement]) -> Screened:
        how = "predicted" if self.costing.predicts else "in screening"
        for name in (*LATENCIES, "peak_memory"):
            limit = getattr(self.costing.limits, name)
            if limit is not None and name in found and self._decisive(found[name]) > limit:
                shown = f"{name} {_shown(found[name])} {how}, limit {_written(limit, found[name].unit)}"
                return Screened(False, f"{shown}; not trained", tuple(found.values()))
        return Screened(True, f"keeps latency and memory, {how}", tuple(found.values()))

    def _decisive(self, found: Measurement) -> float:
        if self.costing.predicts:
            return found.value if found.upper is None or not self.costing.judged_by_prediction else found.upper
        return (found.value if found.lower is None else found.lower) / (1 + MARGIN)


def _shown(found: Measurement) -> str:
    value = _written(found.value, found.unit)
    if found.kind == "predicted" and found.upper is not None:
        return f"{value} (up to {_written(found.upper, found.unit)})"
    return value


def _written(value: float, unit: str) -> str:
    return format_bytes(value) if unit == "B" else f"{value:.3g} {unit}"

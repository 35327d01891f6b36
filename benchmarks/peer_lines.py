"""What is said of the contestants, and the bars that the artifact has to clear."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from line import Line  # beside this script, as the next one
from peer_race import Contestant, Race

from budgetc.core.dataset import SplitName
from budgetc.core.statistics import Interval
from budgetc.measurement.quality import Scored, by_category, loss_between

FP32, AGAIN, TUNED = "onnxruntime FP32", "onnxruntime FP32 again", "onnxruntime tuned"
ARTIFACT_NAME, CONTROL, SAME = "budgetc", "no compiler", "budgetc's network in OpenVINO"
MAX_DROP = 0.02
"""AUROC on selection that a compressed detector may lose."""
NOISE = 0.03
"""Relative difference of times that says nothing."""


@dataclass(frozen=True)
class Judged:
    """What is known of a contestant beside its times."""

    contestant: Contestant
    memory: list[int]
    scored: Mapping[SplitName, Scored]


@dataclass
class Lines:
    """What is printed, in the order in which it is said."""

    case: str
    cap: float
    """Latency over that of FP32 that the budget allows."""
    peers: frozenset[str]
    """Names of the contestants that other tools compressed."""
    void: bool = False
    """Whether the known graph was too slow: then no bar is cleared."""
    _failures: list[Line] = field(default_factory=list)

    def failed(self, name: str, reason: str) -> None:
        """Something that is not there, and why."""
        self._failures.append(Line(f"{self.case}, {name}: runs", 0, "reported", True, "1", 1, reason))

    def all(self, judged: Sequence[Judged], timed: Race) -> Iterator[Line]:
        """Every contestant, then the bars."""
        yield from self._failures
        known = {one.contestant.name: one for one in judged}
        for one in judged:
            yield from self._of(one, known[FP32], timed)
        if ARTIFACT_NAME in known:
            bars = (*self._bytes(known, timed), *self._times(known, timed))
            yield from (replace(bar, ok=False, spread=f"void; {bar.spread}") if self.void else bar for bar in bars)

    def _of(self, one: Judged, baseline: Judged, timed: Race) -> Iterator[Line]:
        name, what = f"{self.case}, {one.contestant.name}", one.contestant
        if what.name != AGAIN:
            files = " + ".join(what.files)
            yield Line(f"{name}: bytes", what.size, "reported", True, "B", 1, f"{files}; {what.note}".strip("; "))
            yield self._memory(name, one, baseline)
            for split in one.scored:
                yield from self._quality(name, one.scored[split], baseline.scored[split])
        if what.name != FP32:
            found = timed.ratio(what.name, FP32)
            ok = what.name != AGAIN or abs(found.value - 1) <= NOISE
            goal = f"within {NOISE} of 1" if what.name == AGAIN else "reported"
            label, words = f"{name}: latency over that of FP32", spread(timed, what.name, FP32)
            yield Line(label, round(found.value, 4), goal, ok, "1", timed.calls[what.name], words)

    def _memory(self, name: str, one: Judged, baseline: Judged) -> Line:
        found = median(one.memory)
        words = f"{min(one.memory)} to {max(one.memory)}, {found / median(baseline.memory):.3f} of FP32"
        return Line(f"{name}: peak memory above the runtime", found, "reported", True, "B", len(one.memory), words)

    def _quality(self, name: str, scored: Scored, baseline: Scored) -> Iterator[Line]:
        auroc, loss = by_category(scored).mean, loss_between(baseline, scored).mean
        label, n = f"{name}: AUROC on {scored.split}", len(scored.samples)
        yield Line(label, round(auroc.value, 4), "reported", True, "1", n, _bounds(auroc))
        if scored is not baseline:
            chooses = scored.split == "selection"
            goal = f"<= {MAX_DROP} to be compared in bytes" if chooses else "reported"
            ok = not chooses or loss.value <= MAX_DROP
            yield Line(f"{label}, loss", round(loss.value, 4), goal, ok, "1", n, f"{_bounds(loss)}; {loss.method}")

    def _bytes(self, known: Mapping[str, Judged], timed: Race) -> Iterator[Line]:
        """The artifact over the smallest peer that keeps the AUROC on selection and, if any does, the latency."""
        quality = [name for name in self.peers & known.keys() if _kept(known[name], known[FP32])]
        both = [name for name in quality if timed.slower(name, FP32) <= self.cap]
        pool = both or quality or [FP32]
        best = min(pool, key=lambda name: known[name].contestant.size)
        mine = known[ARTIFACT_NAME]
        ratio = mine.contestant.size / known[best].contestant.size
        words = f"AUROC kept by {', '.join(sorted(quality)) or 'none'}; of these, the cap of {self.cap:.3g} " \
                f"by {', '.join(sorted(both)) or 'none, so AUROC alone counts'}"  # fmt: skip
        kept = _kept(mine, known[FP32]) and timed.slower(ARTIFACT_NAME, FP32) <= self.cap
        words += "" if kept else "; the artifact itself does not keep both"
        for goal in (0.25, 0.10):
            name = f"{self.case}: bytes over those of the best peer ({best})"
            label = name if goal == 0.25 else f"{name}, stretch"
            yield Line(label, round(ratio, 4), f"<= {goal}", kept and ratio <= goal, "1", 1, words)

    def _times(self, known: Mapping[str, Judged], timed: Race) -> Iterator[Line]:
        for other, goal in ((TUNED, 0.5), (CONTROL, 1.0), (SAME, 1.2)):
            if other not in known:
                continue
            found = timed.ratio(ARTIFACT_NAME, other)
            ok = timed.slower(ARTIFACT_NAME, other) <= goal
            if other == CONTROL:  # within noise
                ok = found.lower <= goal and timed.fastest(ARTIFACT_NAME, other) <= goal * (1 + NOISE)
            words = spread(timed, ARTIFACT_NAME, other)
            label = f"{self.case}: latency over that of {other}"
            yield Line(label, round(found.value, 4), f"<= {goal}", ok, "1", timed.calls[ARTIFACT_NAME], words)


def _kept(one: Judged, baseline: Judged) -> bool:
    return loss_between(baseline.scored["selection"], one.scored["selection"]).mean.value <= MAX_DROP


def _bounds(found: Interval) -> str:
    return f"{found.lower:.4f} to {found.upper:.4f}"


def spread(timed: Race, name: str, over: str) -> str:
    """Bounds of the ratio of two contestants, the ratio of their fastest calls, and milliseconds of the first."""
    found = timed.ratio(name, over)
    middle, total = median(timed.graph_ms[name]), median(timed.total_ms[name])
    return (
        f"{found.lower:.4f} to {found.upper:.4f}, of the fastest calls {timed.fastest(name, over):.4f}; "
        f"medians: graph {middle:.3f} ms, decode to score {total:.3f} ms"
    )

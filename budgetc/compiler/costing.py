"""What a file costs on the target: measured on this machine or on a board, or predicted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np

from budgetc.candidate import Written, sha256
from budgetc.core.budget import Limits
from budgetc.core.layout import MODEL
from budgetc.core.measurement import Measurement
from budgetc.core.plan import fingerprint
from budgetc.core.session import DEFAULT_SESSIONS, Sessions
from budgetc.core.target import Target
from budgetc.measurement.latency import (
    LatencyResult,
    Pairs,
    measure_latency,
    plain_pairs,
    read_pairs,
    screen_latency,
)
from budgetc.measurement.memory import measure_memory
from budgetc.measurement.predicted import predict_files, predicted_measurements
from budgetc.store.shared import Store
from budgetc.workshop import RESULTS, circumstances

LATENCIES = ("latency_p50", "latency_p95", "latency_p99")
Found = Mapping[str, Measurement]
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Costs:
    """Latency and memory of an artifact beside its baseline, by metric."""

    artifact: Found
    baseline: Found
    latency_ratio: Measurement
    pairs: Pairs | None = None
    """Raw samples of latency, where it was measured."""


class Meter(Protocol):
    """Something that files are measured on."""

    def circumstances(self) -> list[object]:
        """What a figure depends on beside graph, session options and images."""
        ...

    def screen(self, directory: Path, images: Sequence[Path]) -> dict[str, Measurement]:
        """Latency of one fresh process."""
        ...

    def memory(self, directory: Path, images: Sequence[Path], *, repeats: int = 3) -> dict[str, Measurement]:
        """Memory of fresh processes."""
        ...

    def latency(
        self, directory: Path, baseline: Path, images: Sequence[Path], *, rng: np.random.Generator,
        limits: Mapping[str, float], progress: Callable[[str], None], known: Pairs, keep: Callable[[Pairs], None],
    ) -> LatencyResult:  # fmt: skip
        """The full protocol, as `measure_latency`."""
        ...


@dataclass(frozen=True, slots=True)
class HostMeter:
    """This machine."""

    threads: int

    def circumstances(self) -> list[object]:
        """Packages and processor."""
        return [circumstances(self.threads)]

    def screen(self, directory: Path, images: Sequence[Path]) -> dict[str, Measurement]:
        """As `screen_latency`."""
        return screen_latency(directory, images)

    def memory(self, directory: Path, images: Sequence[Path], *, repeats: int = 3) -> dict[str, Measurement]:
        """As `measure_memory`."""
        return measure_memory(directory, images, repeats=repeats)

    def latency(
        self, directory: Path, baseline: Path, images: Sequence[Path], *, rng: np.random.Generator,
        limits: Mapping[str, float], progress: Callable[[str], None], known: Pairs, keep: Callable[[Pairs], None],
    ) -> LatencyResult:  # fmt: skip
        """As `measure_latency`."""
        return measure_latency(
            directory, baseline, images, rng=rng, limits=limits, cap=8.0, progress=progress, known=known, keep=keep
        )


@dataclass(frozen=True, slots=True)
class Meters:
    """What the search and the full protocol measure on; None: they predict."""

    search: Meter | None
    full: Meter | None


def host_meters(target: Target) -> Meters:
    """This machine where it is the target, else prediction."""
    meter = None if target.measured_on is None else HostMeter(target.threads)
    return Meters(meter, meter)


@dataclass(frozen=True, slots=True)
class Costing:
    """How files are priced on one target."""

    target: Target
    limits: Limits
    images: Sequence[Path]
    """Encoded images that a measurement scores; a prediction needs none."""
    store: Store
    """Where figures are kept, so that another budget on the same target need not measure again."""
    sessions: Sessions = DEFAULT_SESSIONS
    """How the runtime loads and runs the files."""
    meters: Meters | None = None
    """None: as the target says."""

    @property
    def settled(self) -> Meters:
        """What measures."""
        return self.meters or host_meters(self.target)

    @property
    def predicts(self) -> bool:
        """Whether the search asks the cost model."""
        return self.settled.search is None

    @property
    def judged_by_prediction(self) -> bool:
        """Whether the verdict rests on the cost model, and so on the edge of its interval."""
        return self.settled.full is None

    def quick(self, written: Written, *, every: bool = False) -> dict[str, Measurement]:
        """Latency and memory for the search: what the budget limits, or `every` metric."""
        meter = self.settled.search
        if meter is None:
            model = [self.target.model_dump(mode="json"), version("budgetc"), RESULTS]
            return self._kept(["predicted", written.structure, *model], lambda: self._predicted(written.files()))
        found, known_by = dict[str, Measurement](), [written.structure, *self._circumstances(meter)]
        if every or any(getattr(self.limits, name) is not None for name in LATENCIES):
            found |= self._screened(written, meter, known_by)
        if every or self.limits.peak_memory is not None:
            found |= self._kept(
                ["screened memory", *known_by], lambda: meter.memory(written.files(), self.images, repeats=1)
            )
        return found

    def _screened(self, written: Written, meter: Meter, known_by: Sequence[object]) -> dict[str, Measurement]:
        """Latency of one fresh process; where a limit seems missed, the fastest of three.

        A busy machine adds time and never takes any away, and what screening discards is not looked at again.
        """
        looks = list[dict[str, Measurement]]()
        while len(looks) < _LOOKS and not (looks and self._in_time(looks[-1])):
            key = ["screened latency", len(looks), *known_by]
            looks.append(self._kept(key, lambda: meter.screen(written.files(), self.images)))
        return min(looks, key=lambda look: look["latency_p50"].value)

    def _in_time(self, look: Mapping[str, Measurement]) -> bool:
        limits = {name: getattr(self.limits, name) for name in LATENCIES}
        return all(limit is None or name not in look or look[name].value <= limit for name, limit in limits.items())

    def full(
        self, directory: Path, baseline: Path, *, seed: int, progress: Callable[[str], None] = lambda sentence: None
    ) -> Costs:
        """The evidence that a verdict rests on: interleaved pairs of processes, or the prediction with its interval."""
        meter = self.settled.full
        if meter is None:
            artifact, reference = self._predicted(directory), self._predicted(baseline)
            return Costs(artifact, reference, _predicted_ratio(artifact, reference))
        limits = {metric: limit for metric in LATENCIES if (limit := getattr(self.limits, metric)) is not None}
        key = fingerprint(
            ["latency", _digest(directory / MODEL), _digest(baseline / MODEL), *self._circumstances(meter)]
        )
        # Every pair is kept as soon as it is timed; the ones that are there count, unless the machine was unsteady.
        known = read_pairs(self.store.get_json(key))
        latency = meter.latency(
            directory, baseline, self.images, rng=np.random.default_rng([seed, len(known.kept + known.discarded)]),
            limits=limits, progress=progress, known=known,
            keep=lambda pairs: self.store.put_json(key, plain_pairs(pairs)),
        )  # fmt: skip
        mine, theirs = (self._memory(one, meter) for one in (directory, baseline))
        return Costs({**latency.artifact, **mine}, {**latency.baseline, **theirs}, latency.ratio, latency.pairs)

    def _memory(self, directory: Path, meter: Meter) -> dict[str, Measurement]:
        key = ["memory", _digest(directory / MODEL), *self._circumstances(meter)]
        return self._kept(key, lambda: meter.memory(directory, self.images))

    def _kept(self, key: Sequence[object], compute: Callable[[], dict[str, Measurement]]) -> dict[str, Measurement]:
        return self.store.cached(fingerprint(list(key)), dict[str, Measurement], compute)

    def _circumstances(self, meter: Meter) -> list[object]:
        """What a measurement depends on beside the graph: packages, processor, threads, session options, images."""
        return [*meter.circumstances(), self.sessions.model_dump(), [_digest(path) for path in self.images]]

    def _predicted(self, directory: Path) -> dict[str, Measurement]:
        return predicted_measurements(predict_files(directory, self.target), self.target)


def _predicted_ratio(artifact: Found, baseline: Found) -> Measurement:
    """No interval: the errors of two predictions by one model are not independent."""
    mine, theirs = artifact["latency_p50"], baseline["latency_p50"]
    return mine.model_copy(
        update={"metric": "latency_p50_ratio", "value": mine.value / theirs.value, "unit": "1", "lower": None,
                "upper": None, "confidence": None, "note": "two predictions of one cost model"}
    )  # fmt: skip


def _digest(path: Path) -> str:
    return sha256(path.read_bytes())

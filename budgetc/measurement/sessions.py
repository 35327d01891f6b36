"""What session options do to one graph: fresh processes side by side, in interleaved blocks."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import ceil
from pathlib import Path
from statistics import median

import numpy as np

from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.plan import fingerprint
from budgetc.measurement.host import device
from budgetc.measurement.memory import MEMORY_CALLS, memory_measurement, memory_parts
from budgetc.measurement.scorer import ScoringProcess
from budgetc.runtime.spec import read_spec

_BLOCKS, _BLOCK_MS, _MIN_CALLS, _MAX_CALLS = 6, 120.0, 3, 60
Found = dict[str, Measurement]


def measure_sessions(
    variants: Mapping[str, Path], images: Sequence[Path], *, rng: np.random.Generator, repeats: int = 3
) -> dict[str, Found]:
    """Memory, load time and `latency_p50_ratio` of every variant; the first one is what the others are held against.

    A ratio is that of two medians over blocks that alternate between all processes in an order drawn anew each round.

    Args:
        variants: name -> artifact directory; the same graph with other session options.
        images: encoded image files.
        rng: draws the order of the blocks.
        repeats: fresh processes of each variant.

    Raises:
        TargetUnreachable, InputRejected, UsageError: as `measure_memory`.
    """
    seen: dict[str, dict[str, list[float]]] = {name: {} for name in variants}
    runtime = ""
    for _ in range(repeats):
        with ExitStack() as alive:
            processes = {name: alive.enter_context(ScoringProcess(path, images)) for name, path in variants.items()}
            for name, process in processes.items():
                runtime = process.runtime
                for metric, value in memory_parts(process.ask("memory", calls=MEMORY_CALLS)).items():
                    seen[name].setdefault(metric, []).append(value)
            for name, ratio in _ratios(processes, rng).items():
                seen[name].setdefault("latency_p50_ratio", []).append(ratio)
    where = device(read_spec(next(iter(variants.values())) / ARTIFACT).threads)
    return {
        name: {
            metric: _ratio(values, where, runtime)
            if metric == "latency_p50_ratio"
            else memory_measurement(metric, values, where, runtime)
            for metric, values in found.items()
        }
        for name, found in seen.items()
    }


def _ratios(processes: Mapping[str, ScoringProcess], rng: np.random.Generator) -> dict[str, float]:
    """Median of each over the median of the first."""
    names = list(processes)
    once = {name: min(processes[name].ask("warm", calls=5)["total_ms"]) for name in names}
    calls = {name: min(_MAX_CALLS, max(_MIN_CALLS, ceil(_BLOCK_MS / once[name]))) for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(_BLOCKS):
        for index in rng.permutation(len(names)):
            name = names[index]
            times[name] += processes[name].ask("time", calls=calls[name])["total_ms"]
    return {name: median(times[name]) / median(times[names[0]]) for name in names}


def _ratio(values: Sequence[float], where: str, runtime: str) -> Measurement:
    return Measurement(
        metric="latency_p50_ratio", value=median(values), unit="1", lower=min(values), upper=max(values),
        n=len(values), kind="measured", device=where, runtime=runtime, samples_digest=fingerprint(list(values)),
        note="to onnxruntime's defaults; lower and upper are the extremes of the processes",
    )  # fmt: skip

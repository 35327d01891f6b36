"""Peak memory of a fresh process that has only the runtime and the artifact."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from budgetc import errors
from budgetc.core.layout import ARTIFACT
from budgetc.core.measurement import Measurement
from budgetc.core.plan import fingerprint
from budgetc.measurement.host import device
from budgetc.measurement.scorer import ScoringProcess
from budgetc.runtime.spec import read_spec

# onnxruntime settles its memory pattern on the second call; five see the plateau.
MEMORY_CALLS, _MAXIMUM_CALLS = 5, 32


def measure_memory(directory: Path, images: Sequence[Path], *, repeats: int = 3) -> dict[str, Measurement]:
    """Memory and load time by name: median over `repeats` fresh processes, bounds are their extremes.

    `peak_memory` is the whole process, `base_memory` interpreter and runtime before loading, `model_memory` the
    difference. `load_memory` and `run_memory` are the two parts above the base whose larger one is `model_memory`.
    `load_time` is that of checking and loading the files, which the system may have read before.
    Memory is resident pages at most (VmHWM of /proc, reset before loading and before running).

    Args:
        directory: with `artifact.json` and its graph.
        images: encoded image files; up to 32 of them are scored.
        repeats: fresh processes.

    Raises:
        TargetUnreachable: no Linux, or its /proc lacks what is needed.
        InputRejected: the artifact or an image cannot be used.
        UsageError: no images or no repeats.
    """
    if repeats < 1:
        raise errors.UsageError(f"repeats is {repeats}; memory needs at least one process")
    if platform.system() != "Linux":
        raise errors.TargetUnreachable(
            f"peak memory is read from Linux's /proc, and this is {platform.system()}; "
            "measure on a Linux machine, or remove peak_memory from the limits"
        )
    threads = read_spec(directory / ARTIFACT).threads
    seen: dict[str, list[float]] = {}
    runtime = ""
    for _ in range(repeats):
        with ScoringProcess(directory, images) as process:
            reply = process.ask("memory", calls=min(_MAXIMUM_CALLS, max(MEMORY_CALLS, len(images))))
            runtime = process.runtime
        for name, value in memory_parts(reply).items():
            seen.setdefault(name, []).append(value)
    return {name: memory_measurement(name, values, device(threads), runtime) for name, values in seen.items()}


def memory_parts(reply: Mapping[str, float]) -> dict[str, float]:
    """What the probe's answer says of one process."""
    base, load, run = (reply[name] for name in ("base", "load", "run"))
    peak = max(load, run)
    return {
        "peak_memory": peak,
        "base_memory": base,
        "model_memory": peak - base,
        "load_memory": load - base,
        "run_memory": run - base,
        "load_time": reply["load_ms"],
    }


def memory_measurement(name: str, values: Sequence[float], where: str, runtime: str) -> Measurement:
    """The median of several processes."""
    return Measurement(
        metric=name, value=median(values), unit="ms" if name == "load_time" else "B",
        lower=min(values), upper=max(values), n=len(values),
        kind="measured", device=where, runtime=runtime, samples_digest=fingerprint(values),
        note="lower and upper are the extremes of the processes",
    )  # fmt: skip

"""How the runtime loads and runs the files of one compilation: chosen once, before the search, by measurement.

Every file of the search is then written, screened and confirmed with the options of its format, so no figure is about
other options than those that `artifact.json` asks for.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from budgetc.candidate import Workshop, sha256, write_untrained
from budgetc.compiler.inputs import Inputs, all_plans
from budgetc.core.budget import Limits
from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Plan, Quantize, Step, StoreBits, fingerprint
from budgetc.core.quantities import format_bytes
from budgetc.core.session import Compute, SessionOptions, Sessions
from budgetc.measurement.memory import measure_memory
from budgetc.measurement.sessions import Found, measure_sessions
from budgetc.report.schema import SessionTrial
from budgetc.workshop import circumstances

DEFAULT = SessionOptions()
LEAN = SessionOptions(arena="as-requested", memory_pattern=False, trim=True)
PLAIN = LEAN.model_copy(update={"blocked": False})
"""Not tried where all layers run in FP32: it takes more than twice the time there."""

NOISE = 1.05
"""Latency ratios up to this are called equal: medians of interleaved blocks repeat within 3 % on a busy machine."""
ALLOWED: dict[Compute, float] = {"fp32": 1.1, "int8": 1.3}
"""What memory may cost where the limit needs it. INT8 has won more than this from FP32, FP32 has won nothing."""
WORTH = 0.05, 2**20
"""Share of the memory above the runtime, and bytes, that a set must save to be preferred: less is noise."""
EMPTY = 16 * 2**20
"""A process with an empty graph takes 12 MiB above the runtime's base (onnxruntime 1.32, x86): little can be saved."""


def choose_sessions(
    inputs: Inputs, shop: Workshop, images: Sequence[Path], say: Callable[[str], None]
) -> tuple[Sessions, tuple[SessionTrial, ...]]:
    """The options of all files of a compilation, and what was tried for them.

    The target's own where it states some; where the device is not here, onnxruntime's defaults.
    """
    target = inputs.target
    if target.session is not None or target.measured_on is None:
        stated = target.session or DEFAULT
        return Sessions(fp32=stated, int8=stated), ()
    trials: list[SessionTrial] = []
    for compute, steps in references(all_plans(inputs)[0]).items():
        sets = option_sets(compute, limited=inputs.budget.limits.peak_memory is not None)
        tried = try_sessions(Plan(recipe="none", steps=steps, seed=shop.seed), sets, shop, images)
        if tried:
            best = choose(tried, inputs.budget.limits, compute)
            trials += [_trial(compute, options, found, chosen=options == best) for options, found in tried]
            say(f"session options for {compute}: {best.words()}, {_gain(dict(tried)[best], tried[0][1])}")
    chosen = {one.compute: one.options for one in trials if one.chosen}
    return Sessions.model_validate(chosen), tuple(trials)


Tried = list[tuple[SessionOptions, Found]]


def references(plans: Sequence[Plan]) -> dict[Compute, tuple[Step, ...]]:
    """What is done to the baseline to stand for the files of each format.

    Weights are stored in as few bits as a plan may ask for: unpacking them takes most of the memory of loading.
    """
    formats: dict[Compute, list[Plan]] = {"fp32": [], "int8": []}
    for plan in plans:
        integer = any(isinstance(step, Quantize) for step in plan.steps)
        formats["int8" if integer else "fp32"].append(plan)
    found: dict[Compute, tuple[Step, ...]] = {}
    for compute, members in formats.items():
        if members:
            packed = [step for plan in members for step in plan.steps if isinstance(step, StoreBits)]
            quantized = (Quantize(),) if compute == "int8" else ()
            found[compute] = (*quantized, *sorted(packed, key=lambda step: step.bits)[:1])
    return found


def option_sets(compute: Compute, *, limited: bool) -> tuple[SessionOptions, ...]:
    """What is worth a try, onnxruntime's defaults first; an install step only where memory has a limit."""
    local = (LEAN, PLAIN) if compute == "int8" else (LEAN,)
    installed = [one.model_copy(update={"preoptimized": True}) for one in local] if limited else []
    return DEFAULT, *local, *installed


def try_sessions(plan: Plan, sets: Sequence[SessionOptions], shop: Workshop, images: Sequence[Path]) -> Tried:
    """What every set of options does to the untrained network of a plan; nothing where there is nothing to save."""
    scratch = shop.run.path / "sessions" / plan.id
    written = write_untrained(plan, shop, scratch / "0").directory
    known_by = [circumstances(shop.target.threads), sha256((written / MODEL).read_bytes()),
                [one.model_dump() for one in sets], [sha256(path.read_bytes()) for path in images]]  # fmt: skip

    def measure() -> list[dict[str, Measurement]]:
        if measure_memory(written, images, repeats=1)["model_memory"].value < EMPTY:
            return []
        variants = {str(number): scratch / str(number) for number in range(len(sets))}
        for options, directory in zip(sets, variants.values(), strict=True):
            with_options(written, options, directory)
        found = measure_sessions(variants, images, rng=np.random.default_rng(shop.seed))
        return [found[name] for name in variants]

    try:
        found = shop.store.cached(fingerprint(["sessions", *known_by]), list[dict[str, Measurement]], measure)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return list(zip(sets, found, strict=True)) if found else []


def choose(tried: Tried, limits: Limits, compute: Compute) -> SessionOptions:
    """The least memory that costs no time and no install step; if that breaks the limit, the least at a price."""
    free = _least([(options, found) for options, found in tried if not options.preoptimized], NOISE)
    limit = limits.peak_memory
    if limit is None or dict(tried)[free]["peak_memory"].value <= limit:
        return free
    return _least(tried, ALLOWED[compute])


def _least(tried: Tried, slower: float) -> SessionOptions:
    best, least = tried[0]
    for options, found in tried[1:]:
        ratio = found["latency_p50_ratio"]
        # Beside busy neighbors one process of two may look slow: only what is slow in each of them is slow.
        if _saves(found, least) and (ratio.value if ratio.lower is None else ratio.lower) <= slower:
            best, least = options, found
    return best


def _saves(found: Found, other: Found) -> bool:
    """Whether the peak is lower, or as high while loading and lower ever after."""
    peak, running = (
        (other[name].value - found[name].value) / max(WORTH[0] * other[name].value, WORTH[1])
        for name in ("model_memory", "run_memory")
    )
    return peak >= 1 or (running >= 1 and peak > -1)


def with_options(artifact: Path, options: SessionOptions, directory: Path) -> None:
    """The same graph beside other session options."""
    directory.mkdir(parents=True, exist_ok=True)
    if directory != artifact:
        shutil.copyfile(artifact / MODEL, directory / MODEL)
    spec = json.loads((artifact / ARTIFACT).read_text(encoding="utf-8"))
    (directory / ARTIFACT).write_text(json.dumps({**spec, "session": options.model_dump()}), encoding="utf-8")


def _trial(compute: Compute, options: SessionOptions, found: Found, *, chosen: bool) -> SessionTrial:
    return SessionTrial(compute=compute, options=options, chosen=chosen, measurements=tuple(found.values()))


def _gain(found: Found, default: Found) -> str:
    memory, before = (format_bytes(one["model_memory"].value) for one in (found, default))
    return f"{memory} above the runtime instead of {before}, {found['latency_p50_ratio'].value:.2f} x the time"

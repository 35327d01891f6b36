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
from budgetc.errors import BudgetcError, StorageFailed
from budgetc.measurement.memory import measure_memory
from budgetc.measurement.sessions import Found, measure_sessions
from budgetc.report.schema import SessionTrial
from budgetc.workshop import circumstances

DEFAULT = SessionOptions()
LEAN = SessionOptions(arena="as-requested", memory_pattern=False, trim=True)
PLAIN = LEAN.model_copy(update={"blocked": False})
"""Not tried where all layers run in FP32: it takes more than twice the time there."""

PROCESSES = 3
"""Fresh processes of each set: the fewest whose median one of them cannot move."""
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

    The target's own where it states some; where the device is not this machine, onnxruntime's defaults.
    """
    target = inputs.target
    if target.session is not None or target.measured_on is None or inputs.device is not None:
        stated = target.session or DEFAULT
        return Sessions(fp32=stated, int8=stated), ()
    trials: list[SessionTrial] = []
    for compute, steps in references(all_plans(inputs)[0]).items():
        sets = option_sets(compute, limited=inputs.budget.limits.peak_memory is not None)
        about = f"session options for {compute}"
        try:
            tried, refused = try_sessions(Plan(recipe="none", steps=steps, seed=shop.seed), sets, shop, images)
        except StorageFailed:
            raise
        except BudgetcError as error:
            say(f"{about}: {DEFAULT.words()}, nothing could be tried: {error}")
            continue
        for options, why in refused.items():
            say(f"{about}: left out {options.words()}: {why}")
        if tried:
            best = choose(tried, inputs.budget.limits, compute)
            trials += [_trial(compute, options, found, chosen=options == best) for options, found in tried]
            say(f"{about}: {best.words()}, {gain(dict(tried)[best], tried[0][1])}")
    chosen = {one.compute: one.options for one in trials if one.chosen}
    return Sessions.model_validate(chosen), tuple(trials)


Tried = list[tuple[SessionOptions, Found]]
Refused = dict[SessionOptions, str]
"""Why a set of options could not be measured."""


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


def try_sessions(
    plan: Plan, sets: Sequence[SessionOptions], shop: Workshop, images: Sequence[Path]
) -> tuple[Tried, Refused]:
    """What every set of options does to the untrained network of a plan; nothing where there is nothing to save.

    Raises:
        BudgetcError: the first set, onnxruntime's defaults, could not be measured; or all beside each other.
    """
    scratch = shop.run.path / "sessions" / plan.id
    written = write_untrained(plan, shop, scratch / "0").directory
    known_by = [PROCESSES, circumstances(shop.target.threads), sha256((written / MODEL).read_bytes()),
                [one.model_dump() for one in sets], [sha256(path.read_bytes()) for path in images]]  # fmt: skip

    def measure() -> list[dict[str, Measurement] | str]:
        if measure_memory(written, images, repeats=1)["model_memory"].value < EMPTY:
            return []
        variants = {str(number): scratch / str(number) for number in range(len(sets))}
        for options, directory in zip(sets, variants.values(), strict=True):
            with_options(written, options, directory)
        whys = {name: "" if at == written else _why_not(at, images) for name, at in variants.items()}
        works = {name: directory for name, directory in variants.items() if not whys[name]}
        found = measure_sessions(works, images, rng=np.random.default_rng(shop.seed), repeats=PROCESSES)
        return [why or found[name] for name, why in whys.items()]

    try:
        key = fingerprint(["sessions", *known_by])
        found = dict(zip(sets, shop.store.cached(key, list[dict[str, Measurement] | str], measure), strict=False))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    tried = [(options, one) for options, one in found.items() if not isinstance(one, str)]
    return tried, {options: one for options, one in found.items() if isinstance(one, str)}


def _why_not(artifact: Path, images: Sequence[Path]) -> str:
    """Why the artifact cannot be measured with its options, found alone, so that it ends no other; else nothing."""
    try:
        measure_memory(artifact, images[:1], repeats=1)
    except StorageFailed:
        raise
    except BudgetcError as error:
        return str(error)
    return ""


def choose(tried: Tried, limits: Limits, compute: Compute) -> SessionOptions:
    """The least memory that costs no time and no install step; at a price only where the price buys the limit.

    What was tried is the baseline, compressed in nothing but its format: that it breaks `peak_memory` is the usual
    reason to compile, and candidates will be far smaller. So a set that costs time or an install step is chosen only
    where the free one breaks the limit and that set keeps it, and one without an install step before all others.
    Where no set keeps the limit, the free one stays.
    """
    local = [(options, found) for options, found in tried if not options.preoptimized]
    free, limit = least(local, NOISE), limits.peak_memory
    if limit is None or dict(tried)[free]["peak_memory"].value <= limit:
        return free
    for sets in (local, tried):
        keeping = [(options, found) for options, found in sets if found["peak_memory"].value <= limit]
        if any(_fast(found, ALLOWED[compute]) for _, found in keeping):
            return least(keeping, ALLOWED[compute])
    return free


def least(tried: Tried, slower: float) -> SessionOptions:
    """The set with the least memory among those, at least one, that take at most `slower` times the defaults.

    An earlier set stays where a later one saves less than is worth it.
    """
    (best, memory), *others = [(options, found) for options, found in tried if _fast(found, slower)]
    for options, found in others:
        if _saves(found, memory):
            best, memory = options, found
    return best


def _fast(found: Found, slower: float) -> bool:
    # The median of three processes: beside busy neighbors one may look slow, and one may look fast.
    return found["latency_p50_ratio"].value <= slower


def _saves(found: Found, other: Found) -> bool:
    """Whether the peak is lower, or as high while loading and lower ever after."""
    peak, running = (_saved(found, other, name) for name in ("model_memory", "run_memory"))
    return peak >= 1 or (running >= 1 and peak > -1)


def _saved(found: Found, other: Found, name: str) -> float:
    """What is saved of a kind of memory, in units of what is worth it."""
    return (other[name].value - found[name].value) / max(WORTH[0] * other[name].value, WORTH[1])


def with_options(artifact: Path, options: SessionOptions, directory: Path) -> None:
    """The same graph beside other session options."""
    directory.mkdir(parents=True, exist_ok=True)
    if directory != artifact:
        shutil.copyfile(artifact / MODEL, directory / MODEL)
    spec = json.loads((artifact / ARTIFACT).read_text(encoding="utf-8"))
    (directory / ARTIFACT).write_text(json.dumps({**spec, "session": options.model_dump()}), encoding="utf-8")


def _trial(compute: Compute, options: SessionOptions, found: Found, *, chosen: bool) -> SessionTrial:
    return SessionTrial(compute=compute, options=options, chosen=chosen, measurements=tuple(found.values()))


def gain(found: Found, default: Found) -> str:
    """With the figure that decided: memory while running where the peak is that of loading, whatever the options."""
    if found is default:
        return f"{format_bytes(found['model_memory'].value)} above the runtime"
    running = _saved(found, default, "model_memory") < 1 <= _saved(found, default, "run_memory")
    name, when = ("run_memory", " while running") if running else ("model_memory", "")
    memory, before = (format_bytes(one[name].value) for one in (found, default))
    return f"{memory} above the runtime{when} instead of {before}, {found['latency_p50_ratio'].value:.2f} x the time"

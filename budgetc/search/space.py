"""The structures a search chooses from, and what is known of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import get_args

from budgetc.core.plan import (
    Direct,
    Distill,
    Fp16,
    Importance,
    Method,
    Plan,
    Prune,
    Qat,
    Quantize,
    Source,
    StoreBits,
    Truncate,
    fingerprint,
)  # fmt: skip

QUICK, FULL = 0, 1
"""Rungs: a share of the training, and all of it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one structure."""

    id: str
    settings: tuple[float, ...]
    """Numbers that describe the plan to the model of AUROC; equal length in a table."""
    trains: bool
    """Whether building it takes training; else its only rung is FULL."""
    size: int | None = None
    """Bytes of the deployed files, known before training: exact, or to some two kilobytes where weights are codes."""
    fits: bool | None = None
    """Whether the untrained structure keeps latency and memory; None before it was screened."""
    auroc: Mapping[int, float] = field(default_factory=dict)
    """Rung -> AUROC on the selection split."""
    failed: bool = False
    stored_bits: float = 32.0
    """Of a weight on average, where weights are codes; else 32."""
    training: str = ""
    """Equal where two structures differ after their last training alone: one training serves both."""
    network: str = ""
    """Equal where two structures differ in number formats alone: they pass and fail together."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the search must keep, and what it may spend."""

    size_limit: int | None
    floor: float | None
    """AUROC on the selection split; None where the budget limits none."""
    trainings_left: int
    time_is_up: bool = False


@dataclass(frozen=True, slots=True)
class PriceStructure:
    """Export the untrained structure for its exact size."""

    id: str


@dataclass(frozen=True, slots=True)
class Screen:
    """Measure latency and memory of the untrained structure."""

    id: str


@dataclass(frozen=True, slots=True)
class Train:
    """Build it at a rung and score the exported file on the selection split."""

    id: str
    rung: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing is left that could change the answer, or nothing may be spent any more."""

    reason: str


Decision = PriceStructure | Screen | Train | Stop
_MOST_STAGES, _STAGE = 8, 0.5
"""A stage less is about as much as half a halving of width."""
_USUAL_STUDENTS = 3
_SCHEDULE = 0.5
"""Twice the epochs are about as much as half a halving of width."""
_ROUNDED = 0.5
"""How far INT8 lies from FP32, in halvings of width: what is known of one says much of the other."""
_DETAIL = 0.1
"""The same of how ranges are found, or of a layer in FP32."""
_PACKED, _RANKED = 0.5, 0.1
"""How far a knapsack lies from equal shares, and one importance or a doubling of rounds from the next."""


def settings_of(plan: Plan) -> tuple[float, ...]:
    """A plan as numbers: log2 widths of student and teacher, log2 input side, last stage, INT8 of either, trained
    under INT8, halvings of stored bytes, undistilled, and what `_shape_of`, `_schedule_of` and `_rounding` say.

    Successive steps multiply widths; what quantization precedes is trained under its rounding, and what a distillation
    follows is pruned before it.
    """
    kept = [0.0] * len(_pruning(Prune()))
    student = teacher = side = cut = 0.0
    replaced = rounded_student = rounded_teacher = under_rounding = stored = alone = pruned_first = 0.0
    rounding = _rounding(Quantize())
    for step in plan.steps:
        match step:
            case Truncate():
                side += math.log2(step.input)
                cut = cut if step.stages is None else _STAGE * (_MOST_STAGES - step.stages)
            case Direct() | Distill():
                student += math.log2(step.student)
                teacher += math.log2(step.teacher) if step.teacher else 0.0
                side += math.log2(step.input)
                alone = max(alone, float(isinstance(step, Direct)))
                replaced = max(replaced, float(isinstance(step, Distill) and step.teacher is not None))
                under_rounding = max(under_rounding, rounded_student * isinstance(step, Distill))
                pruned_first = _ROUNDED * (kept[0] < 0)
            case Prune():
                kept = [was + new for was, new in zip(kept, _pruning(step), strict=True)]
                under_rounding = max(under_rounding, rounded_student)
            case Quantize():
                rounding = _rounding(step)
                rounded_student = _ROUNDED
                rounded_teacher = max(rounded_teacher, _ROUNDED * (step.scope == "all"))
            case Qat():
                under_rounding = max(under_rounding, rounded_student)
            case Fp16():
                stored = 0.1  # it hardly moves a score
            case StoreBits():
                stored = 0.1 + math.log2(8 / step.bits)
    widths = (student, teacher, *kept, side, cut)
    kinds = (replaced, rounded_student, rounded_teacher, under_rounding, stored, alone, pruned_first)
    return *widths, *kinds, *_shape_of(plan), *_schedule_of(plan), *rounding


def _shape_of(plan: Plan) -> tuple[float, ...]:
    """Of the networks that took the place of the old ones, and of the taps: without hidden layers, log2 of the latents,
    separable, convolutions of a stage, stages of a shared trunk, first stage that is judged, log2 of students.
    """
    dropped = latents = separable = depth = shared = first = students = 0.0
    for step in plan.steps:
        match step:
            case Truncate() if step.first is not None:
                first = _STAGE * step.first
            case Direct() | Distill():
                dropped = max(dropped, float(step.drop_hidden))
                latents += math.log2(step.latents)
                separable = float(step.backbone == "separable")
                depth = 0.0 if step.depth is None else math.log2((step.depth + 1) / 2)
                shared = _STAGE * step.shared
                students = students if step.students is None else _STAGE * math.log2(step.students / _USUAL_STUDENTS)
            case _:
                pass
    return dropped, latents, separable, depth, shared, first, students


def _schedule_of(plan: Plan) -> tuple[float, ...]:
    """Of training: half of log2 of all epochs over 10, log10 of the last rate over .003, each loss by its weight."""
    epochs, rate, losses = 0, 0.0, dict.fromkeys(("map", "relation", "ranking", "divergence"), 0.0)
    for step in plan.steps:
        if not isinstance(step, (Direct, Distill, Prune)):
            continue
        epochs += step.epochs
        rate = math.log10(step.learning_rate / 3e-3)
        if isinstance(step, Distill) and step.loss != "feature":
            losses[step.loss] = 1.0 if step.loss == "divergence" else math.log2(1 + step.loss_weight)
    return (_SCHEDULE * math.log2(epochs / 10) if epochs else 0.0), rate, *losses.values()


def _rounding(step: Quantize) -> tuple[float, ...]:
    """How a network is rounded: method and source one-hot, and which layers stay in FP32."""
    methods, sources = (get_args(kind)[1:] for kind in (Method, Source))
    chosen = [step.method == name for name in methods] + [step.source == name for name in sources]
    chosen += [step.first_convolution, not step.depthwise, not step.last_layers, step.bias_correction]
    return *(_DETAIL * one for one in chosen), _DETAIL * math.log2(1 + step.float_layers)


def _pruning(step: Prune) -> tuple[float, ...]:
    """What stays of channels, of the teacher's, of MACs and of latents, in halvings; how it is chosen."""
    shares = (step.keep, step.teacher or 1.0, step.macs, step.latents or 1.0)
    packed = _PACKED if step.allocation == "knapsack" else 0.0
    chosen = packed, _RANKED * get_args(Importance).index(step.importance), _RANKED * math.log2(step.rounds)
    return (*(math.log2(share) for share in shares), *chosen)


def network_of(plan: Plan) -> str:
    """What identifies a plan's network, whatever its number formats."""
    formats = (Quantize, Qat, Fp16, StoreBits)
    return fingerprint([step.model_dump() for step in plan.steps if not isinstance(step, formats)])


def training_of(plan: Plan) -> str:
    """What identifies a plan's training; empty where it has none."""
    return fingerprint([step.model_dump() for step in plan.trained]) if trains(plan) else ""


def stored_bits_of(plan: Plan) -> float:
    """Of a weight on average, where the plan stores codes; else 32."""
    return min((step.bits for step in plan.steps if isinstance(step, StoreBits)), default=32.0)


def tells_at_once(row: Row) -> bool:
    """Whether it shows what the network can do before anything else: nothing is trained, no weight much rounded."""
    return not row.trains and row.stored_bits >= 8


def trains(plan: Plan) -> bool:
    """Whether a plan has a step that trains."""
    return any(isinstance(step, (Direct, Distill, Prune, Qat)) and step.epochs > 0 for step in plan.steps)


def compliant(row: Row, rules: Rules) -> bool:
    """Whether what is known of a structure says that it keeps every limit."""
    return (
        eligible(row, rules)
        and row.fits is True
        and FULL in row.auroc
        and (rules.floor is None or row.auroc[FULL] >= rules.floor)
    )


def eligible(row: Row, rules: Rules) -> bool:
    """Whether nothing known so far speaks against a structure, its AUROC aside."""
    small = row.size is not None and (rules.size_limit is None or row.size <= rules.size_limit)
    return small and not row.failed and row.fits is not False


def incumbent(rows: Sequence[Row], rules: Rules) -> Row | None:
    """The smallest structure that complies so far; ties go to the smaller id."""
    return min((row for row in rows if compliant(row, rules)), key=order, default=None)


def alike(row: Row, smallest: Row) -> bool:
    """Whether a structure is no more than one percent larger: bytes that decide nothing."""
    assert row.size is not None and smallest.size is not None, "only priced structures are compared"
    return row.size <= 1.01 * smallest.size


def order(row: Row) -> tuple[int, str]:
    """Small first."""
    assert row.size is not None, "only priced structures are compared"
    return row.size, row.id

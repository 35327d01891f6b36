"""The structures a search chooses from, and what is known of each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from budgetc.core.plan import Direct, Distill, Fp16, Plan, Prune, Quantize, StoreBits, Truncate, fingerprint

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
    """Bytes of the deployed files; exact, known before training."""
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
_ROUNDED = 0.5
"""How far INT8 lies from FP32, in halvings of width: what is known of one says much of the other."""


def settings_of(plan: Plan) -> tuple[float, ...]:
    """A plan as numbers: log2 widths of student and teacher, log2 input side, last stage, INT8 of either, trained
    under INT8, halvings of stored bytes, undistilled, without hidden layers.

    Successive steps multiply widths; what quantization precedes is trained under its rounding.
    """
    student = teacher = keep = kept_teacher = side = cut = 0.0
    replaced = rounded_student = rounded_teacher = under_rounding = stored = alone = dropped = 0.0
    for step in plan.steps:
        match step:
            case Truncate():
                side += math.log2(step.input)
                cut = cut if step.stages is None else _STAGE * (_MOST_STAGES - step.stages)
            case Direct():
                student += math.log2(step.student)
                teacher += math.log2(step.teacher) if step.teacher else 0.0
                alone = 1.0
                dropped = max(dropped, float(step.drop_hidden))
            case Distill():
                student += math.log2(step.student)
                teacher += math.log2(step.teacher) if step.teacher else 0.0
                dropped = max(dropped, float(step.drop_hidden))
                replaced = max(replaced, float(step.teacher is not None))
                under_rounding = max(under_rounding, rounded_student)
            case Prune():
                keep += math.log2(step.keep)
                kept_teacher += math.log2(step.teacher) if step.teacher else 0.0
                under_rounding = max(under_rounding, rounded_student)
            case Quantize():
                rounded_student = _ROUNDED
                rounded_teacher = max(rounded_teacher, _ROUNDED * (step.scope == "all"))
            case Fp16():
                stored = 0.1  # it hardly moves a score
            case StoreBits():
                stored = 0.1 + math.log2(8 / step.bits)
    widths = (student, teacher, keep, kept_teacher, side, cut)
    return *widths, replaced, rounded_student, rounded_teacher, under_rounding, stored, alone, dropped


def network_of(plan: Plan) -> str:
    """What identifies a plan's network, whatever its number formats."""
    return fingerprint([step.model_dump() for step in plan.steps if not isinstance(step, (Quantize, Fp16, StoreBits))])


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
    return any(isinstance(step, (Direct, Distill, Prune)) for step in plan.steps)


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

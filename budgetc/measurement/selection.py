"""Which rows are of a target, and what its runtime launches of their networks."""

import math
from collections.abc import Iterable

from budgetc.core.operator import Operator
from budgetc.core.row import Row
from budgetc.core.target import Target

_IN_PLACE = ("eltwise", "relu", "concat")
"""What TensorRT runs inside a convolution, or not at all: residual additions, activations, concatenations."""


def why_not(row: Row, target: Target) -> str | None:
    """Why a row says nothing about a target; None where it does."""
    plan = target.fit
    if plan is None or not plan.devices:
        return "no published rows are of this target"
    if row.device.casefold() not in {name.casefold() for name in plan.devices} or row.unit != target.compute_unit:
        return "another device or unit"
    if not row.runtime.lower().startswith(tuple(name.lower() for name in plan.runtimes)):
        return f"another runtime than {' or '.join(plan.runtimes)}"
    computes = target.dtypes if target.compute_dtype == "fp16" else tuple(d for d in target.dtypes if d != "fp16")
    if row.precision not in computes:
        return f"precision {row.precision or 'unknown'}, which the target does not compute in"
    if target.compute_unit == "cpu" and row.threads != str(target.threads):
        return f"threads: {row.threads or 'unknown'}, the target has {target.threads}"
    return None


def as_run(row: Row, target: Target) -> tuple[Operator, ...]:
    """The operators of a row as the target's runtime launches them, in the number format of the row."""
    ops = row.operators if target.compute_unit == "cpu" else as_fused(row.operators)
    if row.precision == "fp16":
        return tuple(op.at("fp16") for op in ops)
    return tuple(op.at("int8") if row.precision == "int8" and op.macs else op for op in ops)


def as_fused(ops: Iterable[Operator]) -> tuple[Operator, ...]:
    """Operators of a named network as TensorRT launches them.

    Residual additions and activations run inside their convolution, concatenations in place.
    """
    return tuple(op for op in ops if op.name not in _IN_PLACE and not math.isclose(op.bytes, 0))

"""Where the time and memory of one file go on a target: what `budgetc explain` does."""

from pathlib import Path
from typing import Literal

import onnx

from budgetc.core.cost import Span
from budgetc.core.dataset import Motion
from budgetc.core.frozen import Frozen
from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.target import Target
from budgetc.errors import BudgetcError, InputRejected, UsageError
from budgetc.export.gate import refusals
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.model import load_model
from budgetc.measurement.motion import motion_of
from budgetc.measurement.operators import Workload, read_workload
from budgetc.measurement.predicted import Prediction, predict
from budgetc.runtime.spec import read_spec


class OperatorPart(Frozen):
    """One kernel in the order of execution; without a cost model only what it is asked to do is known."""

    name: str
    """The fused nodes."""
    kind: str
    compute: str
    macs: int
    bytes: int
    """Moved at least: inputs, weights, outputs."""
    ms: float | None = None
    launch_ms: float | None = None
    compute_ms: float | None = None
    traffic_ms: float | None = None
    roof: Literal["compute", "bandwidth", "launch"] | None = None
    """What the largest part of its time is spent on."""
    share: float | None = None
    """Of the graph's time."""


class Costs(Frozen):
    """Predicted totals, each with the edges that hold `nominal` of the truths."""

    runtime: str
    """Whose published rows were fitted."""
    confidence: str
    nominal: float
    latency_ms: Span
    """From decoding to score."""
    preprocess_ms: Span
    graph_ms: float
    fixed_ms: float
    """Of the graph's time: synchronization and copies."""
    peak_memory_bytes: Span
    model_memory_bytes: Span
    energy_mj: Span | None
    """None: no published row of the device says what it draws."""


class Explanation(Frozen):
    """A file on a target."""

    schema_version: int = 1
    file: str
    target: str
    operators: tuple[OperatorPart, ...]
    weight_bytes: int
    """As computed."""
    activation_bytes: int
    """Largest sum alive at once."""
    costs: Costs | None
    refusals: tuple[str, ...]
    """Why the target would not run the file, or not in the number format it is in."""
    missing: str | None
    """What cannot be said, why, and what to do."""


def explain_file(file: str | Path, *, target: str | Path = "host-cpu") -> Explanation:
    """Time, traffic, roof and share of every operator, totals with intervals, and what the target refuses.

    Args:
        file: directory of an artifact, an `.onnx` file, or a bundle, which is exported for the target.
        target: name or path.

    Raises:
        ConfigError: unknown target. UsageError: there is no such file. InputRejected: the file is no detector, or a
            shape in its graph is unknown, so that nothing can be said.
    """
    path, known = Path(file), load_target(target).target
    content, motion = _content(path, known)
    try:
        graph = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's, which is no dependency of its own
        raise InputRejected(f"{path}: is no ONNX file that can be read ({type(error).__name__}: {error})") from error
    try:
        work = read_workload(content, known)
    except BudgetcError as error:
        raise InputRejected(f"{path}: {error}") from error
    except Exception as error:  # whatever shape inference and graphs that no checker would pass stumble over
        raise InputRejected(
            f"{path}: its graph cannot be followed ({type(error).__name__}: {error}); "
            "expected one that onnx.checker.check_model passes"
        ) from error
    found = predict(content, known, motion) if known.cost is not None else None
    return Explanation(
        file=str(file), target=known.name, operators=_operators(work, found), weight_bytes=work.weight_bytes,
        activation_bytes=work.activation_bytes, costs=None if found is None else _costs(found, known),
        refusals=(*refusals(graph, known), *_formats(work, known)),
        missing=_missing(known) if found is None else _unpriced(work),
    )  # fmt: skip


def _content(path: Path, target: Target) -> tuple[bytes, Motion | None]:
    """The graph, and what it reads of successive frames where that is known."""
    if path.is_dir():
        model = path / MODEL
        if not model.is_file():
            raise InputRejected(f"{path}: is no artifact, it has no {MODEL}; expected a directory of budgetc compile")
        spec = path / ARTIFACT
        return model.read_bytes(), motion_of(read_spec(spec)) if spec.is_file() else None
    if not path.exists():
        raise UsageError(f"{path}: no such file; expected the directory of an artifact, an .onnx file or a bundle")
    if path.suffix == ".onnx":
        return path.read_bytes(), None
    detector = load_model(path).detector
    return export_detector(detector, target).model, detector.config.motion


def _operators(work: Workload, found: Prediction | None) -> tuple[OperatorPart, ...]:
    plain = [
        OperatorPart(name=op.name, kind=op.op_class, compute=op.compute, macs=op.macs, bytes=op.bytes)
        for op in work.operators
    ]
    if found is None:
        return tuple(plain)
    return tuple(
        one.model_copy(update={
            "ms": cost.ms, "launch_ms": cost.launch_ms, "compute_ms": cost.compute_ms, "traffic_ms": cost.traffic_ms,
            "roof": cost.bound, "share": cost.share,
        })
        for one, cost in zip(plain, found.operators, strict=True)
    )  # fmt: skip


def _costs(found: Prediction, target: Target) -> Costs:
    cost = target.cost
    assert cost is not None, "what was predicted has one"
    memory = {
        name: Span(**{
            edge: getattr(found, f"{name}{middle}_bytes")
            for edge, middle in (("value", ""), ("lower", "_lower"), ("upper", "_upper"))
        })
        for name in ("peak_memory", "model_memory")
    }  # fmt: skip
    return Costs(
        runtime=cost.describes, confidence=cost.confidence, nominal=cost.nominal,
        latency_ms=Span(value=found.latency_ms, lower=found.lower_ms, upper=found.upper_ms),
        preprocess_ms=found.before, graph_ms=found.graph_ms, fixed_ms=cost.fixed_ms.value,
        peak_memory_bytes=memory["peak_memory"], model_memory_bytes=memory["model_memory"], energy_mj=found.energy_mj,
    )  # fmt: skip


def _formats(work: Workload, target: Target) -> list[str]:
    """Number formats that the target does not compute in."""
    used = {op.compute for op in work.operators} - {"fp32", *target.dtypes}
    told = {dtype: target.fact(dtype.upper()) for dtype in used}
    return [
        f"it computes in {dtype.upper()}, which target {target.name} does not"
        + (f": {fact.value}" if fact else "")
        + ("; priced as FP32" if target.cost is not None else "")
        for dtype, fact in sorted(told.items())
    ]


def _unpriced(work: Workload) -> str | None:
    if not work.unknown:
        return None
    return (
        f"the cost model does not know {', '.join(work.unknown)}: of these only the traffic of inputs and outputs is "
        "priced, so the times are too low; measure the file on the target"
    )


def _missing(target: Target) -> str:
    if target.measured_on is not None:
        return (
            f"target {target.name} measures instead of predicting: it has no cost model, so no operator has a time; "
            f"`budgetc measure FILE --target {target.name}` times the file, and the report of `compile` its operators"
        )
    return (
        f"target {target.name} has no cost model, so no operator has a time; `budgetc targets fit {target.name} "
        "--rows ... --write` makes one of published latencies"
    )

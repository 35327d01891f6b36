"""What a file costs on a device that is not here, with an interval: from its target's cost model."""

from dataclasses import dataclass, replace
from pathlib import Path

from budgetc.core.cost import CostModel, Span
from budgetc.core.dataset import Motion
from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.measurement import Measurement
from budgetc.core.operator import ELEMENT_BYTES, Operator
from budgetc.core.target import Target
from budgetc.errors import UsageError
from budgetc.measurement.motion import FLOW_MEMORY, flow_price, motion_of
from budgetc.measurement.operators import Workload, read_workload
from budgetc.measurement.pricing import Bound, GraphPrice, price, price_graph
from budgetc.runtime.spec import read_spec

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class OperatorCost:
    """One operator's part."""

    name: str
    """The fused nodes."""
    kind: str
    compute: str
    ms: float
    bytes: int
    """Moved at least: inputs, weights, outputs."""
    bound: Bound
    """What the largest part of the time is spent on."""
    share: float
    """Of the graph's predicted time."""
    launch_ms: float
    compute_ms: float
    traffic_ms: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Decode-to-score latency and memory of one file on one target; lower and upper at the cost model's `nominal`."""

    latency_ms: float
    """Mean of steady calls: preprocessing and graph."""
    lower_ms: float
    upper_ms: float
    graph_ms: float
    """The graph's part, with copies and synchronization."""
    peak_memory_bytes: int
    """Of the whole process."""
    peak_memory_lower_bytes: int
    peak_memory_upper_bytes: int
    model_memory_bytes: int
    model_memory_lower_bytes: int
    model_memory_upper_bytes: int
    operators: tuple[OperatorCost, ...]
    before: Span
    """Milliseconds of preprocessing, optical flow included."""
    energy_mj: Span | None
    """Of the whole board for one image; None where no row of the device says what it draws."""


def predict_files(directory: Path, target: Target) -> Prediction:
    """Price an artifact, its optical flow included where it reads motion.

    Raises:
        UsageError, BudgetcError: as `predict`.
    """
    return predict((directory / MODEL).read_bytes(), target, motion_of(read_spec(directory / ARTIFACT)))


def predict(model: bytes, target: Target, motion: Motion | None = None) -> Prediction:
    """Price an exported file by its target's cost model; `motion` is what it reads of successive frames.

    Raises:
        UsageError: the target has no cost model, or none of the processor that optical flow runs on.
        BudgetcError: a shape in the file is unknown.
    """
    cost = _cost(target).in_artifact()
    work = _as_computed(read_workload(model, target), target)
    graph = price_graph(work.operators, cost)
    before = _preprocess(work, cost)
    own, whole = _memory(work, cost)
    if motion is not None:
        before = _sum(before, flow_price(motion, cost, target))
        own, whole = _sum(own, FLOW_MEMORY), _sum(whole, FLOW_MEMORY)
    return Prediction(
        latency_ms=graph.ms + before.value,
        lower_ms=graph.lower_ms + before.lower,
        upper_ms=graph.upper_ms + before.upper,
        graph_ms=graph.ms,
        peak_memory_bytes=round(whole.value),
        peak_memory_lower_bytes=round(whole.lower),
        peak_memory_upper_bytes=round(whole.upper),
        model_memory_bytes=round(own.value),
        model_memory_lower_bytes=round(own.lower),
        model_memory_upper_bytes=round(own.upper),
        operators=tuple(_operator_cost(op, cost, graph.ms) for op in work.operators),
        before=before,
        energy_mj=_energy(graph, before, cost),
    )


def predicted_measurements(prediction: Prediction, target: Target) -> dict[str, Measurement]:
    """The metrics that the limits name. A budget is checked against `upper`.

    Published rows are means of steady runs, so the mean stands for the median. The 95th and 99th percentiles are the
    mean times the run-to-run spread of the rows (`p95_over_mean`), whose own edges widen the interval.
    """
    cost = _cost(target)
    runtime = cost.describes
    still = Span(value=1, lower=1, upper=1)
    spreads = {"latency_p50": still, "latency_p95": cost.p95_over_mean, "latency_p99": cost.p99_over_mean}
    found = {
        metric: Measurement(
            metric=metric, value=prediction.latency_ms * spread.value, unit="ms",
            lower=prediction.lower_ms * spread.lower, upper=prediction.upper_ms * spread.upper,
            confidence=cost.nominal, n=1, kind="predicted", device=target.name, runtime=runtime,
            note=f"confidence {cost.confidence}",
        )
        for metric, spread in spreads.items()
    }  # fmt: skip
    for metric in ("peak_memory", "model_memory"):
        found[metric] = Measurement(
            metric=metric, value=getattr(prediction, f"{metric}_bytes"), unit="B",
            lower=getattr(prediction, f"{metric}_lower_bytes"), upper=getattr(prediction, f"{metric}_upper_bytes"),
            confidence=cost.nominal, n=1, kind="predicted", device=target.name, runtime=runtime,
            note=cost.memory.source,
        )  # fmt: skip
    if prediction.energy_mj is not None:
        energy = prediction.energy_mj
        found["energy_per_image"] = Measurement(
            metric="energy_per_image", value=energy.value, unit="mJ", lower=energy.lower, upper=energy.upper,
            confidence=cost.nominal, n=1, kind="predicted", device=target.name, runtime=runtime,
            note="the board's power in published rows times the predicted latency",
        )  # fmt: skip
    return found


def _cost(target: Target) -> CostModel:
    if target.cost is None:
        raise UsageError(
            f"target {target.name} has no cost model, so nothing can be predicted for it; "
            "add `cost:` to its file (`budgetc targets fit` makes one of rows), or choose a target that has one"
        )
    return target.cost


def _as_computed(work: Workload, target: Target) -> Workload:
    """Number formats that the target does not compute in cost what FP32 does."""
    computes = {"fp32", *target.dtypes}
    if all(op.compute in computes for op in work.operators):
        return work
    wider = sum(op.weights * (4 - ELEMENT_BYTES[op.compute]) for op in work.operators if op.compute not in computes)
    operators = tuple(op if op.compute in computes else op.at("fp32") for op in work.operators)
    return replace(work, operators=operators, weight_bytes=work.weight_bytes + wider)


def _preprocess(work: Workload, cost: CostModel) -> Span:
    megapixels = work.input_pixels / 1e6
    each, area = cost.preprocess_ms, cost.preprocess_ms_per_megapixel
    return Span(
        value=each.value + area.value * megapixels,
        lower=each.lower + area.lower * megapixels,
        upper=each.upper + area.upper * megapixels,
    )


def _sum(one: Span, other: Span) -> Span:
    return Span(value=one.value + other.value, lower=one.lower + other.lower, upper=one.upper + other.upper)


def _memory(work: Workload, cost: CostModel) -> tuple[Span, Span]:
    """Bytes of the model alone, and of the whole process."""
    known = cost.memory
    edges = {}
    for edge in ("value", "lower", "upper"):
        model, weight = getattr(known.model_mib, edge), getattr(known.per_weight, edge)
        activation = getattr(known.per_activation, edge)
        edges[edge] = model * _MIB + weight * work.weight_bytes + activation * work.activation_bytes
    base = {edge: getattr(known.base_mib, edge) * _MIB + own for edge, own in edges.items()}
    return Span(**edges), Span(**base)


def _energy(graph: GraphPrice, before: Span, cost: CostModel) -> Span | None:
    """Watts times milliseconds."""
    watts = cost.power_w
    if watts is None:
        return None
    return Span(
        value=watts.value * (graph.ms + before.value),
        lower=watts.lower * (graph.lower_ms + before.lower),
        upper=watts.upper * (graph.upper_ms + before.upper),
    )


def _operator_cost(op: Operator, cost: CostModel, graph_ms: float) -> OperatorCost:
    found = price(op, cost)
    return OperatorCost(
        op.name, op.op_class, op.compute, found.ms, op.bytes, found.bound, found.ms / graph_ms,
        found.launch_ms, found.compute_ms, found.traffic_ms,
    )  # fmt: skip

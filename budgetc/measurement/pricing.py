"""Operators -> milliseconds: additive terms, the same for predicting and for fitting.

The form follows layer-wise analytical models (Blackthorn, IEEE Access 2021; NetAdapt and HALP use its table form):
every operator pays a launch, its arithmetic on whole tiles, and its memory traffic.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from budgetc.core.cost import CostModel, Part, Tile
from budgetc.core.operator import ELEMENT_BYTES, Operator

Term = Literal["gmac_per_s", "gtap_per_s", "gbyte_per_s", "gweight_byte_per_s"]
Bound = Literal["compute", "bandwidth", "launch"]
COMPUTE: tuple[Term, ...] = ("gmac_per_s", "gtap_per_s")


@dataclass(frozen=True, slots=True)
class Price:
    """Milliseconds of one operator by what they are spent on."""

    launch_ms: float
    compute_ms: float
    traffic_ms: float
    low_ms: float
    high_ms: float
    """Edges of compute and traffic for the number format alone; the fit's own error is the network's."""

    @property
    def ms(self) -> float:
        """All of it."""
        return self.launch_ms + self.compute_ms + self.traffic_ms

    @property
    def bound(self) -> Bound:
        """What the largest part is spent on."""
        parts: dict[Bound, float] = {
            "launch": self.launch_ms, "compute": self.compute_ms, "bandwidth": self.traffic_ms
        }  # fmt: skip
        return max(parts, key=lambda part: parts[part])


def up(value: int, multiple: int) -> int:
    """The smallest multiple that is not below a value."""
    return -(-value // multiple) * multiple


def _whole(value: int, sizes: tuple[int, ...]) -> int:
    return next((size for size in sizes if value <= size), up(value, sizes[-1]))


def terms(op: Operator, tile: Tile) -> dict[Term, float]:
    """What an operator demands, in units of 1e9, so that a demand over its rate is seconds."""
    width = ELEMENT_BYTES[op.compute]
    traffic = (op.in_elements + op.out_elements) * width / 1e9
    match op.op_class:
        case "bandwidth" | "exponential":
            return {"gbyte_per_s": traffic}
        case "linear":
            rows = up(op.cout, tile.linear) / max(op.cout, 1)
            return {"gweight_byte_per_s": op.weights * rows * width / 1e9, "gbyte_per_s": traffic}
        case "depthwise" | "depthwise3x3" | "grouped":
            return {"gmac_per_s": op.macs / 1e9, "gbyte_per_s": traffic}
        case _:
            pass
    positions = _whole(op.out_h * op.out_w, tile.pixels)
    if op.op_class == "conv3x3" and (op.out_h > 8 or op.out_w > 8):
        positions = up(op.out_h, tile.window[0]) * up(op.out_w, tile.window[1])
    padded = max(positions * _whole(op.cout, tile.channels), tile.outputs)
    exact = max(op.out_h * op.out_w * op.cout, 1)
    depth = max(op.macs // exact, 1)
    return {
        "gmac_per_s": padded * up(depth, tile.depth) / 1e9,
        "gtap_per_s": padded * op.kernel**2 / 1e9,
        "gbyte_per_s": traffic,
        "gweight_byte_per_s": op.weights * width / 1e9,
    }


def price(op: Operator, cost: CostModel) -> Price:
    """What one operator costs, without the network's own interval.

    Where the number format is in doubt, the upper edge counts from the FP32 time: no gain may be taken for granted.
    """
    compute, traffic = _parts(op, cost)
    low = high = compute + traffic
    doubt = cost.dtype_doubt.get(op.compute)
    if doubt is not None:
        low, high = doubt.lower * low, max(low, doubt.upper * sum(_parts(op.at("fp32"), cost)))
    return Price(cost.launch_us.value / 1e3, compute, traffic, low, high)


def _parts(op: Operator, cost: CostModel) -> tuple[float, float]:
    """Milliseconds of arithmetic and of memory traffic; fewer input channels never cost more than 16."""
    found = _by_class(op, cost)
    return min(found, _by_class(op.wide(), cost), key=sum) if op.op_class == "stem" else found


def _by_class(op: Operator, cost: CostModel) -> tuple[float, float]:
    rates = cost.rates[op.op_class]
    compute = traffic = 0.0
    for term, demand in terms(op, cost.tile).items():
        rate: float | None = getattr(rates, term)
        if rate is None:
            continue
        if term in COMPUTE:
            compute += 1e3 * demand / (rate * rates.speedup.get(op.compute, 1.0))
        else:
            traffic += 1e3 * demand / rate
    return compute * cost.scale, traffic * cost.scale


@dataclass(frozen=True, slots=True)
class GraphPrice:
    """A network's time on the device, from its inputs there to its outputs."""

    ms: float
    lower_ms: float
    upper_ms: float


def price_graph(ops: Iterable[Operator], cost: CostModel, *, same_runtime: bool = False) -> GraphPrice:
    """Sum of the operators and the fixed time, with the interval.

    Each part of the network (the operators of a class, the launches, the fixed time) may be off by its own factor, and
    the parts are independent, so their errors add in squares. Number formats that the rows say little about widen
    the interval of an artifact, and so does the doubt about the runtime; rows of the fitted runtime know neither.
    """
    listed = list(ops)
    prices = [price(op, cost) for op in listed]
    ms = cost.fixed_ms.value + math.fsum(p.ms for p in prices)
    parts = shares(listed, prices)
    lower, upper = ms - _off(parts, len(prices), cost, "lower"), ms + _off(parts, len(prices), cost, "upper")
    if not same_runtime:
        formats = [(p.low_ms - p.compute_ms - p.traffic_ms, p.high_ms - p.compute_ms - p.traffic_ms) for p in prices]
        lower = (lower + math.fsum(low for low, _ in formats)) * cost.runtime_doubt.lower
        upper = (upper + math.fsum(high for _, high in formats)) * cost.runtime_doubt.upper
    return GraphPrice(ms, max(lower, 0.0), upper)


def shares(ops: Iterable[Operator], prices: Iterable[Price]) -> dict[Part, float]:
    """Milliseconds by part, launches and fixed time left out."""
    found: dict[Part, float] = defaultdict(float)
    for op, known in zip(ops, prices, strict=True):
        found[op.op_class] += known.compute_ms + known.traffic_ms
        if op.compute != "fp32":
            found[op.compute] += known.compute_ms
    return found


def _off(parts: Mapping[Part, float], launches: int, cost: CostModel, edge: Literal["lower", "upper"]) -> float:
    """How far an edge lies from the prediction."""
    off = [ms * (getattr(cost.spread[part], edge) - 1) for part, ms in parts.items() if part in cost.spread]
    launch, fixed = cost.launch_us, cost.fixed_ms
    off += [launches * (getattr(launch, edge) - launch.value) / 1e3, getattr(fixed, edge) - fixed.value]
    return math.hypot(*off)

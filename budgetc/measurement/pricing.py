"""Operators -> milliseconds: additive terms, the same for predicting and for fitting.

The form follows layer-wise analytical models (Blackthorn, IEEE Access 2021; NetAdapt and HALP use its table form):
every operator pays a launch, its arithmetic on whole tiles, and its memory traffic.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from budgetc.core.cost import CostModel, Span, Tile
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
        case "bandwidth":
            return {"gbyte_per_s": traffic}
        case "linear":
            rows = up(op.cout, tile.linear) / max(op.cout, 1)
            return {"gweight_byte_per_s": op.weights * rows * width / 1e9, "gbyte_per_s": traffic}
        case "depthwise" | "depthwise3x3" | "grouped":
            return {"gmac_per_s": op.macs / 1e9, "gbyte_per_s": traffic}
        case _:
            pass
    padded = _whole(op.out_h * op.out_w, tile.pixels) * _whole(op.cout, tile.channels)
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
    """Milliseconds of arithmetic and of memory traffic."""
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
    return compute, traffic


@dataclass(frozen=True, slots=True)
class GraphPrice:
    """A network's time on the device, from its inputs there to its outputs."""

    ms: float
    lower_ms: float
    upper_ms: float


def price_graph(ops: Iterable[Operator], cost: CostModel, *, same_runtime: bool = False) -> GraphPrice:
    """Sum of the operators and the fixed time, with the interval.

    An edge is the wider of two: held-out errors of the band, or launches and fixed time at their own edges (which
    decide tiny networks). Number formats that the rows say little about widen both, and so does the doubt about the
    runtime, unless the rows in question are of the fitted runtime.
    """
    prices = [price(op, cost) for op in ops]
    ms = cost.fixed_ms.value + math.fsum(p.ms for p in prices)
    band, other = cost.band(ms), cost.runtime_doubt
    low, high = math.fsum(p.low_ms for p in prices), math.fsum(p.high_ms for p in prices)
    launch = Span(**{edge: len(prices) * value / 1e3 for edge, value in cost.launch_us.model_dump().items()})
    lower = min(band.lower * (cost.fixed_ms.value + launch.value + low), cost.fixed_ms.lower + launch.lower + low)
    upper = max(band.upper * (cost.fixed_ms.value + launch.value + high), cost.fixed_ms.upper + launch.upper + high)
    if not same_runtime:
        lower, upper = lower * other.lower, upper * other.upper
    return GraphPrice(ms, lower, upper)

"""What calibration sees of activations, and the range that follows from it.

All methods but `min-max` narrow the observed range to [-t, t] where that is less, and take the t of the smallest loss.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from budgetc.core.plan import Method

_BINS = 8192
"""Of [-reach, reach]; at least a quarter of them serve the observed range, 8 a step of U8."""
_LEVELS = 255
_TAIL = 1e-4
"""Share of values that `percentile` cuts off at each end."""
_CANDIDATES = 64
"""Thresholds that are tried, each 2^(1/12) below the one before: the last is 1/38 of the largest value."""
_EMPTY = 1e-9
"""Probability of what the narrowed range cannot hold."""


@dataclass
class Histogram:
    """Counts of values in equal bins of [-reach, reach], and the extremes; the reach doubles when values leave it."""

    low: float = 0.0
    high: float = 0.0
    reach: float = 0.0
    counts: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.float64))
    zeros: int = 0
    """Values that are 0: exact in every format, and half of what a ReLU leaves."""

    def extend(self, values: Tensor) -> None:
        """Widen the extremes alone."""
        low, high = (float(value) for value in values.aminmax())
        self.low, self.high = min(self.low, low), max(self.high, high)

    def add(self, values: Tensor) -> None:
        """Widen the extremes and count values of any shape."""
        self.extend(values)
        largest = max(-self.low, self.high)
        if self.reach == 0.0:
            self.reach = largest
        while self.reach < largest:
            inner = self.counts.view(-1, 2).sum(1)
            self.counts = torch.cat([inner.new_zeros(_BINS // 4), inner, inner.new_zeros(_BINS // 4)])
            self.reach *= 2
        others = values[values != 0]
        self.zeros += values.numel() - others.numel()
        if self.reach > 0:
            self.counts += torch.histc(others.float(), _BINS, -self.reach, self.reach).double()

    @property
    def centers(self) -> Tensor:
        """(bins,) middle of each bin."""
        width = 2 * self.reach / _BINS
        return (torch.arange(_BINS, dtype=torch.float64) + 0.5) * width - self.reach

    def narrowed(self, threshold: float) -> tuple[float, float]:
        """The observed range within [-threshold, threshold]."""
        return max(self.low, -threshold), min(self.high, threshold)


class RangeObserver(nn.Module):
    """Keeps what one method needs of all that passes each place of a unit, and changes nothing."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method
        self.seen: dict[str, Histogram] = {}

    def weight(self, weight: Tensor) -> Tensor:
        """Untouched."""
        return weight

    def bias(self, bias: Tensor | None) -> Tensor | None:
        """Untouched."""
        return bias

    def before_activation(self, x: Tensor) -> Tensor:
        """Untouched, but seen."""
        return self._see("before_activation", x)

    def output(self, x: Tensor) -> Tensor:
        """Untouched, but seen."""
        return self._see("output", x)

    def range(self, place: str) -> tuple[float, float] | None:
        """(low, high) of a place, or None if nothing passed it."""
        seen = self.seen.get(place)
        return None if seen is None else range_of(seen, self.method)

    def _see(self, place: str, x: Tensor) -> Tensor:
        seen = self.seen.setdefault(place, Histogram())
        if self.method == "min-max":
            seen.extend(x.detach())
        else:
            seen.add(x.detach())
        return x


def range_of(seen: Histogram, method: Method) -> tuple[float, float]:
    """(low, high) that U8 steps should span.

    `min-max`: all values. `percentile`: without the outermost values at each end. `mse`: the smallest squared error
    (Nagel et al., "A White Paper on Neural Network Quantization", arXiv 2106.08295, section 3.1). `entropy`: the
    smallest Kullback-Leibler divergence (Migacz, "8-bit Inference with TensorRT", GTC 2017).
    """
    if method == "min-max" or seen.low == seen.high:
        return seen.low, seen.high
    if method == "percentile":
        return _without_tails(seen)
    loss = _squared_error if method == "mse" else _divergence
    largest = max(-seen.low, seen.high)
    thresholds = [largest * 2 ** (-number / 12) for number in range(_CANDIDATES)]
    losses = [loss(seen, *seen.narrowed(threshold)) for threshold in thresholds]
    return seen.narrowed(thresholds[losses.index(min(losses))])


def _without_tails(seen: Histogram) -> tuple[float, float]:
    counts = seen.counts.clone()
    counts[_BINS // 2] += seen.zeros
    total, width = counts.sum(), 2 * seen.reach / _BINS
    below = counts.cumsum(0)
    first = int(torch.searchsorted(below, _TAIL * total, right=True))
    last = int(torch.searchsorted(below, (1 - _TAIL) * total))
    return max(seen.low, first * width - seen.reach), min(seen.high, (last + 1) * width - seen.reach)


def _squared_error(seen: Histogram, low: float, high: float) -> float:
    centers, step = seen.centers, max((high - low) / _LEVELS, 1e-12)
    rounded = (centers / step).round() * step
    error = rounded.clamp(low, high) - centers
    return float((seen.counts * error.square()).sum())


def _divergence(seen: Histogram, low: float, high: float) -> float:
    """KL(clipped values || what their steps can tell apart): a step's mass is spread over its bins that are not empty.

    What was cut off counts in the outermost bins of the first and in none of the second.
    """
    counts, centers = seen.counts, seen.centers
    inside = (centers >= low) & (centers <= high)
    kept, places = counts[inside], centers[inside]
    if kept.sum() == 0:
        return float("inf")
    wanted = kept.clone()
    wanted[0] += counts[centers < low].sum()
    wanted[-1] += counts[centers > high].sum()
    step = max((high - low) / _LEVELS, 1e-12)
    level = ((places - low) / step).round().long()
    mass = torch.zeros(_LEVELS + 1, dtype=torch.float64).index_add_(0, level, kept)
    support = torch.zeros_like(mass).index_add_(0, level, (wanted > 0).double())
    told = mass[level] / support[level].clamp(min=1) * (wanted > 0)
    p, q = wanted / wanted.sum(), (told / told.sum()).clamp(min=_EMPTY)
    return float(torch.special.xlogy(p, p / q).sum())

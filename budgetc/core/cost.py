"""Coefficients that price operators on a device that is not here, with how well they did on rows they never saw."""

from typing import Literal

from pydantic import Field, model_validator

from budgetc.core.frozen import Frozen
from budgetc.core.operator import Dtype, OpClass

Part = OpClass | Dtype
"""What a share of a network's time belongs to: operators of a class, arithmetic in a number format."""


class Span(Frozen):
    """A value with the edges that it is believed to lie between."""

    value: float = Field(ge=0)
    lower: float = Field(ge=0)
    upper: float = Field(ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Span":
        if not self.lower <= self.value <= self.upper:
            raise ValueError(f"lower {self.lower:g} <= value {self.value:g} <= upper {self.upper:g} must hold")
        return self


class Factor(Frozen):
    """How far the truth may lie from a value: times `lower` to times `upper`."""

    lower: float = Field(gt=0, le=1)
    upper: float = Field(ge=1)
    source: str = ""


class Rates(Frozen):
    """What an operator class costs: sum of the terms that are given."""

    gmac_per_s: float | None = Field(default=None, gt=0)
    """1e9 multiply-accumulates a second, counted on whole tiles."""
    gtap_per_s: float | None = Field(default=None, gt=0)
    """1e9 kernel positions of outputs a second: the part of a convolution that more input channels do not amortize."""
    gbyte_per_s: float | None = Field(default=None, gt=0)
    """1e9 bytes of inputs and outputs a second."""
    gweight_byte_per_s: float | None = Field(default=None, gt=0)
    """1e9 bytes of weights a second."""
    speedup: dict[Dtype, float] = {}
    """Of multiply-accumulates and taps against FP32; 1 where not given. Bytes shrink by themselves."""


class Tile(Frozen):
    """Kernels compute whole tiles, so that costs rise in steps; 1 is no tile."""

    pixels: tuple[int, ...] = (1,)
    """Output positions round up to the smallest of these that holds them, else to a multiple of the last."""
    window: tuple[int, int] = (1, 1)
    """Rows and columns of outputs that a 3x3 kernel at stride 1 computes at once (Winograd); in place of `pixels`."""
    channels: tuple[int, ...] = (1,)
    """Output channels, likewise."""
    outputs: int = Field(default=1, ge=1)
    """Outputs that a convolution computes at once: fewer cost as many, for each waits for its own sum."""
    depth: int = Field(default=1, ge=1)
    """Multiple that input channels times kernel positions round up to."""
    linear: int = Field(default=1, ge=1)
    """Multiple that the outputs of a fully connected layer round up to."""


class RowRuntime(Frozen):
    """How rows of one runtime differ from the fitted ones: what they time, or their version."""

    starts: str
    """What the runtime of these rows starts with."""
    scale: float = Field(default=1, gt=0)
    """Of the operators' time."""
    fixed_ms: Span | None = None
    """Where a call of it copies or waits for other things."""
    source: str


class FitStatistic(Frozen):
    """How one group of rows was predicted."""

    group: str
    use: Literal["fitted", "held out", "never fitted"]
    n: int = Field(ge=1)
    mape: float
    median_ape: float
    p90_ape: float
    coverage: float
    """Share of rows inside the interval of the same runtime."""
    half_width: float
    """Of the interval, over the prediction; median."""
    by_latency_band: dict[str, float] = {}
    """MAPE by latency."""


class Memory(Frozen):
    """Peak memory = base + per_weight x bytes of weights as computed + per_activation x largest live activations."""

    base_mib: Span
    """Interpreter, runtime and its libraries, before a model is loaded."""
    model_mib: Span
    """What any model costs: buffers, graph, workspace."""
    per_weight: Span
    per_activation: Span
    source: str


class CostModel(Frozen):
    """Additive: fixed + sum over operators of (launch + macs / rate + taps / rate + bytes / rate)."""

    describes: str
    """Runtime and version whose rows were fitted."""
    confidence: Literal["high", "medium", "low"]
    """high: errors on this device and runtime; medium: some of it borrowed; low: no rows of this device and runtime."""
    sources: tuple[str, ...]
    nominal: float = Field(default=0.9, gt=0, lt=1)
    """Share of predictions that the intervals are meant to hold."""
    scale: float = Field(default=1, gt=0)
    """Of arithmetic and traffic: what a slower clock or another version of the runtime does to all operators."""
    launch_us: Span
    """Of every operator."""
    fixed_ms: Span
    """Of every call: synchronization and copies."""
    preprocess_ms: Span
    """Of every image, whatever its size: opening the file, conversions, post-processing."""
    preprocess_ms_per_megapixel: Span
    """Decoding and resizing, per 1e6 pixels of the network's input."""
    tile: Tile = Tile()
    rates: dict[OpClass, Rates]
    """By class, of the runtime whose rows were fitted."""
    artifact_rates: dict[OpClass, Rates] = {}
    """Classes whose kernels in the runtime of the artifact are known to differ: these replace `rates` for artifacts."""
    dtype_doubt: dict[Dtype, Factor] = {}
    """On operators computed in a number format that the fitted rows say little about."""
    spread: dict[Part, Factor]
    """How far the time of a part of the network may be off, from rows that were held out. The parts are independent."""
    row_runtimes: tuple[RowRuntime, ...] = ()
    runtime_doubt: Factor
    """On the graph, where rows of another runtime were fitted than the artifact runs in."""
    p95_over_mean: Span
    p99_over_mean: Span
    memory: Memory
    power_w: Span | None = None
    """Drawn by the whole board while it scores; None where no row of the device says."""
    fit: tuple[FitStatistic, ...] = ()

    @model_validator(mode="after")
    def _complete(self) -> "CostModel":
        missing = sorted(set(OpClass.__args__) - set(self.rates))  # type: ignore[attr-defined]  # a Literal has them
        if missing:
            raise ValueError(f"rates: no coefficients for {', '.join(missing)}")
        missing = sorted(set(OpClass.__args__) - set(self.spread))  # type: ignore[attr-defined]
        if missing:
            raise ValueError(f"spread: no interval for {', '.join(missing)}")
        return self

    def in_artifact(self) -> "CostModel":
        """The model as artifacts run: the known differences between the two runtimes applied."""
        return self.model_copy(update={"rates": {**self.rates, **self.artifact_rates}}) if self.artifact_rates else self

    def for_rows(self, runtime: str) -> "CostModel":
        """The model as the rows of a runtime were timed."""
        known = next((one for one in self.row_runtimes if runtime.startswith(one.starts)), None)
        if known is None:
            return self
        fixed = known.fixed_ms if known.fixed_ms is not None else self.fixed_ms
        return self.model_copy(update={"fixed_ms": fixed, "scale": self.scale * known.scale})

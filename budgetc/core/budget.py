"""Hard limits on a target, and how much effort may be spent to keep them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from budgetc.core.frozen import Frozen
from budgetc.core.quantities import Bytes, Millijoules, Milliseconds, Seconds

Fraction = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Over = Literal["mean", "worst-category", "pooled"]
Policy = Literal["estimate", "bound", "noninferior"]
Evidence = Literal["measured", "predicted"]
QualityEvidence = Literal["measured", "proxy"]
"""`proxy` also accepts figures on synthetic anomalies, where the data has no real ones."""


class AurocLimit(Frozen):
    """A floor on image AUROC, absolute, relative to the baseline, or both."""

    min: Fraction | None = None
    """The AUROC itself, 0.90 rather than 90."""
    max_drop: Fraction | None = None
    """Largest loss against the baseline on the same images."""
    over: Over = "mean"
    """Which AUROC of a unified detector: mean over categories, the worst one, or all images pooled."""
    policy: Policy = "estimate"
    """`estimate` compares the value, `bound` its lower bound, `noninferior` the paired loss."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    evidence: QualityEvidence = "measured"
    """Weakest evidence that may pass. An emulated score counts as a measured one."""

    @model_validator(mode="after")
    def _has_a_floor(self) -> "AurocLimit":
        if self.min is None and self.max_drop is None:
            raise ValueError("auroc needs min, max_drop or both")
        if self.policy == "noninferior" and self.max_drop is None:
            raise ValueError("policy noninferior compares with the baseline and needs max_drop")
        return self


class AuproLimit(Frozen):
    """A floor on the area under the per-region-overlap curve (false-positive rate up to 0.3)."""

    min: Fraction
    evidence: QualityEvidence = "measured"
    """As of `auroc`."""


class Limits(Frozen):
    """What must hold. An absent limit is not checked; at least one is needed."""

    latency_p50: Milliseconds | None = None
    latency_p95: Milliseconds | None = None
    """Decode to score, batch 1."""
    latency_p99: Milliseconds | None = None
    peak_memory: Bytes | None = None
    """Of the fresh process that scores, its runtime included."""
    artifact_size: Bytes | None = None
    """All files that are deployed."""
    auroc: AurocLimit | None = None
    aupro: AuproLimit | None = None
    energy_per_image: Millijoules | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> "Limits":
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("no limit is given; at least one is needed")
        return self


class SearchEffort(Frozen):
    """How much may be spent; the search stops earlier when nothing smaller can still comply."""

    recipes: tuple[str, ...] = ("quantize", "distill-quantize", "quantize-distill-prune")
    """Names among recipes/, paths of recipe files, relative to the budget file."""
    trainings: Annotated[int, Field(ge=0, le=100_000)] = 40
    time: Seconds = 1800.0
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seeds: Annotated[int, Field(ge=1, le=20)] = 1
    """The chosen plan is trained with this many seeds, to show how much of its AUROC is luck; the choice stays."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Of training. Sums depend on it, so it is an input; beside busy neighbors one thread beats two."""


class Budget(Frozen):
    """Target, limits, accepted evidence, data and effort: one YAML file."""

    target: str
    """Name in targets/devices/ or a path."""
    evidence: Evidence = "measured"
    """Weakest evidence for latency and memory that may pass."""
    data: str | None = None
    """Data set, relative to the budget file; `--data` wins."""
    group: str | None = None
    """Regular expression whose first group names the physical part or clip of a file, where no groups.csv does."""
    limits: Limits
    search: SearchEffort = SearchEffort()

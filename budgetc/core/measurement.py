"""One number with everything that makes it believable."""

from typing import Literal

from budgetc.core.frozen import Frozen

Kind = Literal["measured", "emulated", "proxy", "predicted", "declared"]
"""`proxy`: scores were measured, but on synthetic anomalies."""


class Measurement(Frozen):
    """A metric's value, how sure it is, and where it comes from."""

    metric: str
    """`latency_p95`, `peak_memory`, `artifact_size`, `auroc` ...: the name of the limit it answers."""
    value: float
    unit: Literal["ms", "B", "1", "mJ"]
    lower: float | None = None
    upper: float | None = None
    """Interval at `confidence`; None where the value is exact."""
    confidence: float | None = None
    n: int
    """Samples behind the value: calls, images, or 1 for a file size."""
    kind: Kind
    device: str
    split: str | None = None
    runtime: str | None = None
    samples_digest: str | None = None
    """sha256 of the raw samples, kept in the run directory."""
    note: str | None = None

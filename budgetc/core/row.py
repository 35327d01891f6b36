"""One published latency of a network on a board: what cost models are fitted to and held against."""

from dataclasses import dataclass

from budgetc.core.operator import Operator


@dataclass(frozen=True, slots=True)
class Row:
    """One published latency at batch 1."""

    device: str
    unit: str
    model: str
    precision: str
    runtime: str
    """With the version, where the source tells two apart."""
    threads: str
    latency_ms: float
    operators: tuple[Operator, ...]
    """As its source defines the network; nothing is fused."""
    input_hw: str = ""
    stage: str = ""
    """The series of networks it belongs to; empty where rows are not in series."""
    fastest_ms: float | None = None
    """Fastest run, where the source says: other work on the board only adds time, so a fit uses it."""
    power_w: float | None = None
    """Drawn by the whole board, where the source says."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(op.macs for op in self.operators)

"""What people write in a target's file so that `budgetc targets fit` can make its cost model."""

from pydantic import Field, model_validator

from budgetc.core.cost import Factor
from budgetc.core.frozen import Frozen


class Borrowed(Frozen):
    """A related board whose rows show how operators compare where the device has few of its own."""

    device: str
    """Its name in rows files."""
    weight: float = Field(default=1, gt=0)
    """Of the relative errors of its rows."""
    slower: float | None = Field(default=None, gt=0)
    """Its time over the device's; None: the median over networks that ran on both."""


class Derived(Frozen):
    """Another target's model with other clocks, where the device has no rows at all."""

    target: str
    """Its name among the targets, or a path."""
    compute: float = Field(gt=0)
    """Arithmetic a second over the other target's."""
    traffic: float = Field(gt=0)
    """Bytes a second over the other target's."""
    launch: float = Field(default=1, gt=0)
    """Time of a launch over the other target's."""
    doubt: Factor
    """On the time of every part, in addition to what the other target says."""


class FitPlan(Frozen):
    """Which rows are of the device, and what a fit starts from."""

    devices: tuple[str, ...] = ()
    """Names of the device in rows files."""
    runtimes: tuple[str, ...] = ()
    """What the runtime of its rows starts with."""
    gmac_per_s: float | None = Field(default=None, gt=0)
    """1e9 multiply-accumulates a second at the peak of the units in use; FP32."""
    gbyte_per_s: float | None = Field(default=None, gt=0)
    """1e9 bytes a second between memory and the units in use."""
    memory_gbyte_per_s: float | None = Field(default=None, gt=0)
    """Peak of the memory itself, which no weights are read faster than; None: not known, so not bounded."""
    fp16_speedup: float | None = Field(default=None, ge=1)
    """Of dense layers over FP32; None: 1.9, what half2 arithmetic gains on a Maxwell GPU."""
    leave_out: tuple[str, ...] = ()
    """Networks that are not fitted, because their shapes say little about their kernels."""
    borrow: tuple[Borrowed, ...] = ()
    derived: Derived | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "FitPlan":
        peaks = self.gmac_per_s is not None and self.gbyte_per_s is not None
        if peaks is (self.derived is not None):
            raise ValueError("either gmac_per_s and gbyte_per_s, for a fit to rows, or derived (from another target)")
        return self

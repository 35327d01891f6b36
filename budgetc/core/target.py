"""What a device can do, with the source of every fact."""

from typing import Literal

from pydantic import Field, model_validator

from budgetc.core.cost import CostModel
from budgetc.core.fit_plan import FitPlan
from budgetc.core.frozen import Frozen
from budgetc.core.operator import Dtype
from budgetc.core.session import SessionOptions


class Fact(Frozen):
    """One statement about the device, and where it comes from."""

    fact: str
    value: str
    source: str


class Emulation(Frozen):
    """The processor as QEMU knows it: scores can be checked on its instruction set, times cannot."""

    machine: Literal["aarch64", "x86_64"]
    cpu: str = Field(pattern=r"^[\w.,+-]+$")
    """A name of `qemu-<machine>-static -cpu help`."""


class Target(Frozen):
    """A device with one runtime: what a candidate is exported, priced and measured for."""

    name: str
    description: str
    compute_unit: Literal["cpu", "gpu"]
    measured_on: Literal["host"] | None = None
    """Where latency and memory come from: `host` is the machine that runs budgetc, null a device that is not here."""
    runtime: Literal["onnxruntime", "tensorrt"]
    threads: int = Field(ge=1, le=256)
    """Threads of the runtime while scoring (its intra-op threads)."""
    max_opset: int = Field(ge=13, le=20)
    max_ir_version: int = Field(ge=7, le=10)
    dtypes: tuple[Dtype, ...]
    """Number formats with a kernel that is faster than, or needed beside, FP32."""
    compute_dtype: Literal["fp32", "fp16"] = "fp32"
    """How layers compute whose weights are stored as FP16: cast up once at load, or as they are."""
    unpacks: bool = False
    """Whether the runtime unpacks weights of 2 to 6 stored bits once, at load."""
    weight_levels: Literal[63, 127, "detect"]
    """INT8 weights span +-this many levels. 63 where U8 x S8 products saturate 16 bits (x86 without VNNI)."""
    session: SessionOptions | None = None
    """Of every artifact. Where None, measurements choose if the device is this machine, else onnxruntime's defaults."""
    unsupported_ops: tuple[str, ...] = ()
    emulation: Emulation | None = None
    facts: tuple[Fact, ...] = ()
    cost: CostModel | None = None
    """Prices files where the device is not here."""
    fit: FitPlan | None = None
    """How `budgetc targets fit` makes `cost`."""

    @model_validator(mode="after")
    def _has_costs(self) -> "Target":
        if self.measured_on is None and self.cost is None and self.fit is None:
            raise ValueError(
                "either measured_on (host), cost (coefficients that predict) or fit (how `targets fit` makes them) "
                "must say what files cost"
            )
        if self.compute_dtype == "fp16" and "fp16" not in self.dtypes:
            raise ValueError("compute_dtype is fp16, but dtypes does not name it")
        return self

    def fact(self, name: str) -> Fact | None:
        """The statement of this name, where the target makes it."""
        return next((known for known in self.facts if known.fact == name), None)

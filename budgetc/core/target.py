"""What a device can do, with the source of every fact."""

from typing import Literal

from pydantic import Field

from budgetc.core.frozen import Frozen

Dtype = Literal["fp32", "fp16", "int8"]


class Fact(Frozen):
    """One statement about the device, and where it comes from."""

    fact: str
    value: str
    source: str


class Target(Frozen):
    """A device with one runtime: what a candidate is exported, priced and measured for."""

    name: str
    description: str
    compute_unit: Literal["cpu", "gpu"]
    measured_on: Literal["host"]
    """Where latency and memory come from: `host` is the machine that runs budgetc."""
    runtime: Literal["onnxruntime"]
    threads: int = Field(ge=1, le=256)
    """Threads of the runtime while scoring (its intra-op threads)."""
    max_opset: int = Field(ge=13, le=20)
    max_ir_version: int = Field(ge=7, le=10)
    dtypes: tuple[Dtype, ...]
    """Number formats with a kernel that is faster than, or needed beside, FP32."""
    weight_levels: Literal[63, 127, "detect"]
    """INT8 weights span +-this many levels. 63 where U8 x S8 products saturate 16 bits (x86 without VNNI)."""
    unsupported_ops: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()

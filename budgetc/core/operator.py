"""One fused operator as a runtime executes it: what a cost model prices."""

import math
from dataclasses import dataclass, replace
from typing import Literal

Dtype = Literal["fp32", "fp16", "int8"]
Kind = Literal["conv", "transposed", "linear", "pool", "pointwise", "exponential", "reduce", "resize", "move"]
OpClass = Literal[
    "stem",
    "conv1x1",
    "conv2x2",
    "conv3x3",
    "convkxk",
    "depthwise3x3",
    "depthwise",
    "grouped",
    "linear",
    "exponential",
    "bandwidth",
]
ELEMENT_BYTES: dict[Dtype, int] = {"fp32": 4, "fp16": 2, "int8": 1}

_WIDE_ENOUGH = 16
"""Input channels below which a convolution is a stem: no Winograd, little reuse (TARGETS: 3x3 needs cin >= 16)."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Shapes of one operator at batch 1. Elements, not bytes: `compute` says how wide they are."""

    kind: Kind
    in_elements: int
    """Everything it reads but its weights."""
    out_elements: int
    name: str = ""
    kernel: int = 1
    stride: int = 1
    cin: int = 0
    cout: int = 0
    groups: int = 1
    macs: int = 0
    weights: int = 0
    out_h: int = 1
    out_w: int = 1
    compute: Dtype = "fp32"

    @property
    def op_class(self) -> OpClass:
        """The class whose coefficients price it; kernels of one class have one implementation in the runtimes."""
        if self.kind == "linear":
            return "linear"
        if self.kind == "exponential":
            return "exponential"
        if self.kind == "transposed":
            return "convkxk"
        if self.kind != "conv":
            return "bandwidth"
        if self.groups > 1:
            if self.groups != self.cin:
                return "grouped"
            return "depthwise3x3" if self.kernel == 3 else "depthwise"
        if self.cin < _WIDE_ENOUGH:
            return "stem"
        if self.kernel == 1:
            return "conv1x1"
        if self.kernel == 2:
            return "conv2x2"
        return "conv3x3" if self.kernel == 3 and self.stride == 1 else "convkxk"

    @property
    def bytes(self) -> int:
        """Moved at least: what it reads, its weights and what it writes."""
        return (self.in_elements + self.weights + self.out_elements) * ELEMENT_BYTES[self.compute]

    def wide(self) -> "Operator":
        """A stem with as many input channels as take it to the class of other convolutions of its kernel."""
        factor = _WIDE_ENOUGH / self.cin
        return replace(
            self, cin=_WIDE_ENOUGH, in_elements=math.ceil(self.in_elements * factor),
            macs=math.ceil(self.macs * factor), weights=math.ceil(self.weights * factor),
        )  # fmt: skip

    def at(self, compute: Dtype) -> "Operator":
        """The same shapes computed in another number format."""
        return replace(self, compute=compute)

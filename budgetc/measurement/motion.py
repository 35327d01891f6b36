"""What an artifact of motion reads, and what its optical flow costs on a target that only predicts."""

from budgetc.core.cost import CostModel, Factor, Span
from budgetc.core.dataset import Motion
from budgetc.core.operator import Operator
from budgetc.core.target import Target
from budgetc.errors import UsageError
from budgetc.measurement.pricing import price
from budgetc.runtime.spec import Spec

_CHANNELS = 32
_AS_CONVOLUTION = 1.0
"""Time of one field (CLAHE, Farneback, bytes) over that of a 3x3 convolution of 32 to 32 channels of its size, both on
one thread: .95 to 1.10 (56x77, 87x116, 113x152; x86 with AVX512, OpenCV 5.0, onnxruntime 1.32, 12 repetitions)."""
_DOUBT = Factor(
    lower=0.25, upper=2.5,
    source="convolutions gain more from wide vectors than optical flow does; no row of any board times it",
)  # fmt: skip


FLOW_MEMORY = Span(value=24 * 2**20, lower=12 * 2**20, upper=40 * 2**20)
"""Bytes that OpenCV and the fields take beside the runtime: 24 MiB, of them 16 for the library (OpenCV 5.0, x86,
fields of 113x152, n = 3); builds for other processors differ."""


def motion_of(spec: Spec) -> Motion | None:
    """What an artifact reads of successive frames; None where it is one picture."""
    flow = spec.flow
    if flow is None:
        return None
    return Motion((spec.height, spec.width), (flow.frame_height, flow.frame_width), flow.fields, flow.largest)


def flow_price(motion: Motion, cost: CostModel, target: Target) -> Span:
    """Milliseconds of the one field that every new frame takes; the others are kept.

    Raises:
        UsageError: the target computes on a GPU: optical flow runs on the processor beside it, which has no price.
    """
    if target.compute_unit != "cpu":
        raise UsageError(
            f"target {target.name}: the optical flow of this detector runs on the processor, and the cost model is of "
            f"the {target.compute_unit}, so that its latency cannot be predicted; choose the target of the board's CPU"
        )
    height, width = motion.size
    pixels = height * width
    alike = Operator(
        "conv", pixels * _CHANNELS, pixels * _CHANNELS, kernel=3, cin=_CHANNELS, cout=_CHANNELS,
        macs=pixels * _CHANNELS**2 * 9, weights=_CHANNELS**2 * 9, out_h=height, out_w=width,
    )  # fmt: skip
    ms = _AS_CONVOLUTION * price(alike, cost).ms
    return Span(value=ms, lower=ms * _DOUBT.lower, upper=ms * _DOUBT.upper)

"""What a fit starts from: coefficients that follow from device facts, and numbers that no row determines.

The rates are those of one device of each kind, for others scaled by their peaks. Sources stand in the target files
(facts) and beside the values here.
"""

from typing import Any

from budgetc.core.cost import CostModel, Factor, Part
from budgetc.core.target import Target

HALVES = {"fp16": 1.9}  # ResNet-50, VGG-16 and ResNeXt pairs of published rows: 1.79 to 2.07
INTEGERS = {"int8": 1.15}  # ncnn on ARMv8.0 boards: 1.0 to 1.5 on one thread, median 1.2
BARELY = {"fp16": 1.05}  # MobileNet pairs: 1.00 to 1.11
PREPROCESSING = "decoding and resizing: assumed to take 4 to 5 times as long as on a server core, not published"
_UNKNOWN = {"lower": 0.7, "upper": 1.4}
_COMPUTE, _TRAFFIC = ("gmac_per_s", "gtap_per_s"), ("gbyte_per_s", "gweight_byte_per_s")
_NANO_GPU = (118.0, 20.9)
"""1e9 multiply-accumulates and bytes a second: the device that the GPU rates below were chosen on."""
_A57_CORE = (5.9, 3.0)


def _span(value: float, lower: float, upper: float) -> dict[str, float]:
    return {"value": value, "lower": lower, "upper": upper}


def _dense(mac: float, byte: float, weight: float, **more: Any) -> dict[str, Any]:
    return {"gmac_per_s": mac, "gbyte_per_s": byte, "gweight_byte_per_s": weight, **more}


# Pillow and numpy on the A57 are assumed to take 4 to 5 times as long as on a server core (0.07 ms + 28 ms per
# megapixel of PNG noise, measured), for a picture of about the size of the network's input.
_PREPROCESSING = {
    "preprocess_ms": _span(0.5, 0.2, 1.5), "preprocess_ms_per_megapixel": _span(120, 40, 250),
}  # fmt: skip

_GPU: dict[str, Any] = {
    # trtexec's enqueue logs on the Nano give 30.5 to 43 us a layer where the queue does not fill, and tiny kernels take
    # up to 80; of 25, 30 and 36 us the second predicts series best that were left out (with fixed_ms fitted).
    "launch_us": _span(30.5, 25, 75),
    "fixed_ms": _span(0.8, 0.3, 2.0),
    **_PREPROCESSING,
    # Chosen by leaving out each series of CNNs: 16 x 8 outputs a Winograd block (3x3 maps of 50 and 20 are slow,
    # those of 30, 60 and 80 fast), output channels by 32, 64, 128, ...; other kernels show no tiles of positions. The
    # least number of outputs is from tiny networks on a TX2 (QuTiBench CNV); the CNNs have hardly any so small.
    "tile": {"window": (8, 16), "channels": (32, 64), "outputs": 16384, "depth": 8, "linear": 64},
    "rates": {
        "stem": _dense(100, 20, 15, speedup=HALVES),
        "conv1x1": _dense(100, 20, 15, gtap_per_s=5, speedup=HALVES),
        "conv2x2": _dense(80, 20, 15, gtap_per_s=5, speedup=HALVES),
        "conv3x3": _dense(180, 20, 15, gtap_per_s=5, speedup=HALVES),
        "convkxk": _dense(100, 20, 15, gtap_per_s=5, speedup=HALVES),
        "depthwise3x3": {"gmac_per_s": 20, "gbyte_per_s": 20, "speedup": BARELY},
        "depthwise": {"gmac_per_s": 8, "gbyte_per_s": 20, "speedup": BARELY},
        "grouped": {"gmac_per_s": 60, "gbyte_per_s": 20, "speedup": HALVES},
        "linear": {"gweight_byte_per_s": 15, "gbyte_per_s": 15},
        "exponential": {"gbyte_per_s": 12},
        "bandwidth": {"gbyte_per_s": 12},
    },
    "row_runtimes": [
        {"starts": "TensorRT (torch2trt)", "fixed_ms": _span(0.15, 0.05, 0.5),
         "source": "its benchmark times calls on tensors that lie on the GPU: synchronization without copies"},
    ],
    "runtime_doubt": {
        "lower": 0.9, "upper": 1.1,
        "source": "TensorRT 7.1 to 8.x on one device: same network 1 to 3 % apart, small ones more",
    },
    # Slowest over mean run of 257 Vulkan rows on Jetson boards: median 1.02, three quarters within 1.15.
    "p95_over_mean": _span(1.05, 1.0, 1.15),
    "p99_over_mean": _span(1.15, 1.0, 1.5),
    "memory": {
        "base_mib": _span(700, 600, 1000), "model_mib": _span(40, 16, 120), "per_weight": _span(1.8, 1.0, 2.6),
        "per_activation": _span(2, 1, 3),
        "source": "CUDA 203 + cuBLAS 158 + cuDNN 240 MiB (trtexec logs, TensorRT 8.0.1 on a Nano) and a Python "
                  "process; 1.8 x weights from RAM of the CNN rows",
    },
}  # fmt: skip

_CPU: dict[str, Any] = {
    "launch_us": _span(10, 1, 60),
    "fixed_ms": _span(0.2, 0.02, 0.6),
    **_PREPROCESSING,
    "tile": {"channels": (4,), "window": (4, 4)},
    "rates": {
        "stem": _dense(3, 3, 3, speedup=INTEGERS),
        "conv1x1": _dense(4.5, 3, 3, gtap_per_s=0.5, speedup=INTEGERS),
        "conv2x2": _dense(4.5, 3, 3, gtap_per_s=0.5, speedup=INTEGERS),
        "conv3x3": _dense(9, 3, 3, gtap_per_s=0.5, speedup=INTEGERS),
        "convkxk": _dense(4.5, 3, 3, gtap_per_s=0.5, speedup=INTEGERS),
        "depthwise3x3": {"gmac_per_s": 2.5, "gbyte_per_s": 5, "speedup": INTEGERS},
        "depthwise": {"gmac_per_s": 2, "gbyte_per_s": 5, "speedup": INTEGERS},
        "grouped": {"gmac_per_s": 2.5, "gbyte_per_s": 3, "speedup": INTEGERS},
        "linear": {"gweight_byte_per_s": 4, "gbyte_per_s": 4},
        "exponential": {"gbyte_per_s": 1},
        "bandwidth": {"gbyte_per_s": 3},
    },
    # ncnn on ARMv8.0 boards gains 0.8 to 1.9 (median 1.2), other runtimes up to 3; onnxruntime was not measured.
    "dtype_doubt": {
        "int8": {"lower": 0.4, "upper": 1.1, "source": "up to 1.1 times the FP32 time: unmeasured in onnxruntime"}
    },
    "row_runtimes": [
        {"starts": "ncnn 2023", "scale": 0.94,
         "source": "6 % faster than the README's version at the median of the Nano's networks: one number of rows "
                   "that otherwise only validate"},
    ],
    "runtime_doubt": {
        "lower": 0.6, "upper": 1.65,
        "source": "same network and board (Raspberry Pi 3B+ and 4B, RK3399): XNNPACK 0.66-1.26, Paddle-Lite "
                  "0.92-1.30, ArmNN 0.75-1.65 times ncnn; TFLite 1.15 of 2019 (3.0-3.5) left out",
    },
    # Slowest over mean run, 170 rows of Nano, Snapdragon 810, Raspberry Pi 4: median 1.007, 90 % within 1.07.
    "p95_over_mean": _span(1.02, 1.0, 1.1),
    "p99_over_mean": _span(1.07, 1.0, 1.3),
    "memory": {
        "base_mib": _span(52, 42, 70), "model_mib": _span(13, 8, 20), "per_weight": _span(2.0, 1.2, 3.0),
        "per_activation": _span(1.2, 0.8, 2.0),
        "source": "ten detectors measured with onnxruntime 1.32 on x86-64; another machine and version may differ",
    },
}  # fmt: skip

GIVEN: dict[Part, Factor] = {
    "fp16": Factor(lower=0.9, upper=1.2, source="dense networks gain 1.53 to 2.07 in nine of ten pairs of rows"),
}
"""Intervals of number formats: the rows that compute in them are too few to tell them from the layers' own errors."""
_KEPT = (
    "describes", "confidence", "sources", "launch_us", "preprocess_ms", "preprocess_ms_per_megapixel", "dtype_doubt",
    "row_runtimes", "runtime_doubt", "p95_over_mean", "p99_over_mean", "memory", "power_w",
)  # fmt: skip
"""Of a model that is fitted again: what no fit decides, and what people may have corrected."""


def prior(target: Target) -> CostModel:
    """The model that a target's fit starts from; its `fit` names the peaks."""
    plan = target.fit
    assert plan is not None and plan.gmac_per_s is not None and plan.gbyte_per_s is not None, "checked by FitPlan"
    gpu = target.compute_unit == "gpu"
    form, (mac, byte) = (_GPU, _NANO_GPU) if gpu else (_CPU, _A57_CORE)
    faster = dict.fromkeys(_COMPUTE, plan.gmac_per_s / mac) | dict.fromkeys(_TRAFFIC, plan.gbyte_per_s / byte)
    rates = {
        name: {term: value * faster[term] if term in faster else value for term, value in known.items()}
        for name, known in form["rates"].items()
    }
    if plan.fp16_speedup is not None:
        dense = [known for known in rates.values() if known.get("speedup") == HALVES]
        for known in dense:
            known["speedup"] = {"fp16": plan.fp16_speedup}
    made = CostModel.model_validate({
        "describes": f"{' and '.join(plan.runtimes)} on {' and '.join(plan.devices)}",
        "confidence": "low", "sources": (PREPROCESSING,), **form, "rates": rates,
        "spread": dict.fromkeys(rates, _UNKNOWN),
    })  # fmt: skip
    if target.cost is None:
        return made
    return made.model_copy(update={name: getattr(target.cost, name) for name in _KEPT})

"""What a fit starts from: coefficients that follow from device facts, and numbers that no row determines.

Sources stand in the target files (facts) and beside the values here; a fit moves `rates`, `fixed_ms` and `bands` only.
"""

from typing import Any

from budgetc.core.cost import CostModel, Span

HALVES = {"fp16": 1.9}  # ResNet-50, VGG-16 and ResNeXt pairs of published rows: 1.79 to 2.07
INTEGERS = {"int8": 1.15}  # ncnn on ARMv8.0 boards: 1.0 to 1.5 on one thread, median 1.2
PREPROCESSING = "decoding and resizing: assumed to take 4 to 5 times as long as on a server core, not published"
BARELY = {"fp16": 1.05}  # MobileNet pairs: 1.00 to 1.11


def span(value: float, lower: float, upper: float) -> Span:
    """A value with edges."""
    return Span(value=value, lower=lower, upper=upper)


def _dense(mac: float, byte: float, weight: float, **more: Any) -> dict[str, Any]:
    return {"gmac_per_s": mac, "gbyte_per_s": byte, "gweight_byte_per_s": weight, **more}


def _bands() -> tuple[dict[str, float], ...]:
    return ({"lower": 0.85, "upper": 1.25},)


NANO_GPU = CostModel.model_validate({
    "describes": "TensorRT 8.x, batch 1, MAXN, python execute_async with copies (CNNs); TensorRT of JetPack 4 (named)",
    "confidence": "medium",
    "sources": (
        "iCAS-Lab/NAS-Performance-Modeling@50e6709, CNNs timed on a Jetson Nano 4GB (COINS 2025)",
        "open-mmlab/mmdeploy@3f8604b docs/en/03-benchmark/benchmark.md, Jetson Nano 2GB",
        "kentaroy47/benchmark-FP32-FP16-INT8-with-TensorRT README, Jetson Nano, torch2trt, rounded",
        PREPROCESSING,
    ),
    # trtexec's enqueue logs give 30.5 to 43 us a layer where the queue does not fill; tiny kernels take 60 to 80.
    "launch_us": span(45, 30, 75),
    "fixed_ms": span(0.8, 0.3, 2.0),
    # Assumed: Pillow and numpy on the A57 take 4 to 5 times as long as on a server core (0.07 ms + 28 ms per megapixel
    # of PNG noise, measured), for a picture of about the size of the network's input.
    "preprocess_ms": span(0.5, 0.2, 1.5),
    "preprocess_ms_per_megapixel": span(120, 40, 250),
    "tile": {"pixels": (64, 128), "channels": (32, 64), "depth": 8, "linear": 64},
    "rates": {
        "stem": _dense(100, 20, 15, speedup=HALVES),
        "conv1x1": _dense(100, 20, 15, gtap_per_s=5, speedup=HALVES),
        "conv3x3": _dense(180, 20, 15, gtap_per_s=5, speedup=HALVES),
        "convkxk": _dense(100, 20, 15, gtap_per_s=5, speedup=HALVES),
        "depthwise3x3": {"gmac_per_s": 20, "gbyte_per_s": 20, "speedup": BARELY},
        "depthwise": {"gmac_per_s": 8, "gbyte_per_s": 20, "speedup": BARELY},
        "grouped": {"gmac_per_s": 60, "gbyte_per_s": 20, "speedup": HALVES},
        "linear": {"gweight_byte_per_s": 15, "gbyte_per_s": 15},
        "bandwidth": {"gbyte_per_s": 12},
    },
    "bands": _bands(),
    "runtime_doubt": {
        "lower": 0.9, "upper": 1.1,
        "source": "TensorRT 7.1 to 8.x on one device: same network 1 to 3 % apart, small ones more",
    },
    # Slowest over mean run of 257 Vulkan rows on Jetson boards: median 1.02, three quarters within 1.15.
    "p95_over_mean": span(1.05, 1.0, 1.15),
    "p99_over_mean": span(1.15, 1.0, 1.5),
    "memory": {
        "base_mib": span(700, 600, 1000), "model_mib": span(40, 16, 120), "per_weight": span(1.8, 1.0, 2.6),
        "per_activation": span(2, 1, 3),
        "source": "CUDA 203 + cuBLAS 158 + cuDNN 240 MiB (trtexec logs, TensorRT 8.0.1 on a Nano) and a Python "
                  "process; 1.8 x weights from RAM of the CNN rows",
    },
})  # fmt: skip


def nano_cpu(threads: int) -> CostModel:
    """A Cortex-A57 cluster under ncnn, and what is known of onnxruntime on it."""
    many = 1.0 if threads == 1 else 3.0
    return CostModel.model_validate({
        "describes": f"ncnn (rows of its README), FP32, threads: {threads}; artifacts run in onnxruntime",
        "confidence": "low",
        "sources": (
            "Tencent/ncnn@a4d2ea1d benchmark/README.md: Snapdragon 810 (Cortex-A57) and Raspberry Pi 4 (Cortex-A72) "
            "for the classes, Jetson Nano (mobilenet, resnet18) for the scale",
            PREPROCESSING,
        ),
        "launch_us": span(10, 1, 60),
        "fixed_ms": span(0.2, 0.02, 0.6),
        "preprocess_ms": span(0.5, 0.2, 1.5),
        "preprocess_ms_per_megapixel": span(120, 40, 250),
        "tile": {"channels": (4,)},
        "rates": {
            "stem": _dense(3 * many, 3, 3, speedup=INTEGERS),
            "conv1x1": _dense(4.5 * many, 3, 3, speedup=INTEGERS),
            "conv3x3": _dense(9 * many, 3, 3, speedup=INTEGERS),
            "convkxk": _dense(4.5 * many, 3, 3, speedup=INTEGERS),
            "depthwise3x3": {"gmac_per_s": 2.5 * many, "gbyte_per_s": 5},
            "depthwise": {"gmac_per_s": 2 * many, "gbyte_per_s": 5},
            "grouped": {"gmac_per_s": 2.5 * many, "gbyte_per_s": 3},
            "linear": {"gweight_byte_per_s": 4, "gbyte_per_s": 4},
            "bandwidth": {"gbyte_per_s": 3},
        },
        # ncnn on ARMv8.0 boards gains 0.8 to 1.9 (median 1.2), other runtimes up to 3; onnxruntime was not measured.
        "dtype_doubt": {
            "int8": {"lower": 0.4, "upper": 1.1, "source": "up to 1.1 times the FP32 time: unmeasured in onnxruntime"}
        },
        "bands": _bands(),
        "runtime_doubt": {
            "lower": 0.6, "upper": 1.65,
            "source": "same network and board (Raspberry Pi 3B+ and 4B, RK3399): XNNPACK 0.66-1.26, Paddle-Lite "
                      "0.92-1.30, ArmNN 0.75-1.65 times ncnn; TFLite 1.15 of 2019 (3.0-3.5) left out",
        },
        # Slowest over mean run, 170 rows of Nano, Snapdragon 810, Raspberry Pi 4: median 1.007, 90 % within 1.07.
        "p95_over_mean": span(1.02, 1.0, 1.1),
        "p99_over_mean": span(1.07, 1.0, 1.3),
        "memory": CPU_MEMORY,
    })  # fmt: skip


CPU_MEMORY = {
    "base_mib": span(52, 42, 70), "model_mib": span(13, 8, 20), "per_weight": span(2.0, 1.2, 3.0),
    "per_activation": span(1.2, 0.8, 2.0),
    "source": "ten detectors measured with onnxruntime 1.32 on x86-64; another machine and version may differ",
}  # fmt: skip

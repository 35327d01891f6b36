"""Targets that are not here, with round coefficients that a person can check in the head."""

from typing import get_args

from budgetc.core.cost import CostModel
from budgetc.core.operator import OpClass
from budgetc.core.target import Target

CLASSES: tuple[OpClass, ...] = get_args(OpClass)


def cost(**changes: object) -> CostModel:
    """10 us a launch, 1 ms fixed, dense arithmetic at 100 GMAC/s, memory at 10 GB/s, 10 % either way."""
    dense = {"gmac_per_s": 100, "gbyte_per_s": 10, "gweight_byte_per_s": 10, "speedup": {"fp16": 2}}
    fields: dict[str, object] = {
        "describes": "a device for tests", "confidence": "low", "sources": ["made up"],
        "launch_us": span(10, 5, 20), "fixed_ms": span(1, 0.5, 2), "preprocess_ms": span(1, 1, 1),
        "preprocess_ms_per_megapixel": span(100, 100, 100),
        "rates": {
            **dict.fromkeys(("stem", "conv1x1", "conv2x2", "conv3x3", "convkxk", "grouped"), dense),
            "depthwise": {"gmac_per_s": 5, "gbyte_per_s": 10}, "depthwise3x3": {"gmac_per_s": 5, "gbyte_per_s": 10},
            "linear": {"gweight_byte_per_s": 10, "gbyte_per_s": 10}, "bandwidth": {"gbyte_per_s": 10},
            "exponential": {"gbyte_per_s": 5},
        },
        "spread": {name: {"lower": 0.9, "upper": 1.1} for name in CLASSES}, "runtime_doubt": {"lower": 1, "upper": 1},
        "p95_over_mean": span(1.1, 1, 1.2), "p99_over_mean": span(1.2, 1, 1.5),
        "memory": {"base_mib": span(50, 40, 60), "model_mib": span(10, 10, 10), "per_weight": span(2, 1, 3),
                   "per_activation": span(1, 1, 1), "source": "made up"},
    }  # fmt: skip
    return CostModel.model_validate({**fields, **changes})


def span(value: float, lower: float, upper: float) -> dict[str, float]:
    """As it is written in YAML."""
    return {"value": value, "lower": lower, "upper": upper}


def predicted_target(**changes: object) -> Target:
    """A CPU that is not here; `runtime="tensorrt"` and the like make it something else."""
    fields: dict[str, object] = {
        "name": "elsewhere", "description": "", "compute_unit": "cpu", "runtime": "onnxruntime", "threads": 1,
        "max_opset": 17, "max_ir_version": 8, "dtypes": ("fp32", "int8", "fp16"), "weight_levels": 63, "cost": cost(),
    }  # fmt: skip
    return Target.model_validate({**fields, **changes})


def gpu_target(**changes: object) -> Target:
    """A GPU with FP16 and without INT8, opset 13."""
    return predicted_target(
        **{"compute_unit": "gpu", "runtime": "tensorrt", "max_opset": 13, "dtypes": ("fp32", "fp16"),
           "compute_dtype": "fp16", **changes}
    )  # fmt: skip

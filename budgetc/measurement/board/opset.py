"""Which onnxruntime a graph needs."""

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from budgetc.runtime.device_facts import numbers

_SINCE = ((13, "1.6"), (14, "1.8"), (15, "1.9"), (16, "1.11"), (17, "1.12"), (18, "1.14"), (19, "1.15"), (20, "1.17"))
"""Opset -> first onnxruntime with it (onnxruntime.ai, reference/compatibility)."""
PYTHONS = (
    "1.10 is the last for Python 3.6 and has no opset 17; 1.12 to 1.14 run on Python 3.7, 1.16 is the last for Ubuntu "
    "18.04 (a Jetson Nano's) and needs Python 3.8"
)


def least_version(opset: int) -> str | None:
    """The first onnxruntime that takes the opset; None where that is not known."""
    return next((version for known, version in _SINCE if opset <= known), None)


def needed_version(model: bytes) -> str | None:
    """The first onnxruntime that takes the graph; None where it cannot be read, which the board will say."""
    try:
        graph = onnx.load_model_from_string(model)
    except DecodeError:
        return None
    opset = max((one.version for one in graph.opset_import if one.domain in ("", "ai.onnx")), default=0)
    return least_version(opset)


def older(version: str, needed: str) -> bool:
    """Whether a version such as `1.10.0` is below one such as `1.12`."""
    return numbers(version) < numbers(needed)

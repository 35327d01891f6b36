"""A real artifact that is built in milliseconds: convolutions -> map -> largest value -> score."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 32
MONITOR = {
    "scores": "AAAKABQAHgAoADIAPABGAFAA", "lowest": 0.0, "step": 0.01, "drift": 0.0, "threshold": 0.5,
    "run_length": 1000, "window": 20,
}  # fmt: skip
"""A monitor of the scores 0, 0.1 ... 0.8."""


def write_artifact(
    directory: Path, *, layers: int = 1, channels: int = 4, bias: float = 0.0, threads: int = 1, **spec: Any
) -> Path:
    """Write model.onnx and artifact.json into `directory`; `spec` overrides fields of the latter."""
    directory.mkdir(parents=True, exist_ok=True)
    data = tiny_model(layers=layers, channels=channels, bias=bias)
    (directory / "model.onnx").write_bytes(data)
    fields = {
        "schema_version": 1,
        "detector": "stfpm",
        "model": "model.onnx",
        "model_sha256": hashlib.sha256(data).hexdigest(),
        "input": "image",
        "score": "score",
        "map": "map",
        "preprocessing": {
            "height": SIDE,
            "width": SIDE,
            "resize": "pillow-bilinear",
            "color": "rgb",
            "scale": "0..1",
        },
        "threshold": 0.5,
        "threads": threads,
    }
    (directory / "artifact.json").write_text(json.dumps({**fields, **spec}))
    return directory


def tiny_model(*, layers: int = 1, channels: int = 4, bias: float = 0.0) -> bytes:
    """image (1, 3, 32, 32) -> score (1,), map (1, 1, 32, 32), with seeded weights; opset 17, IR 8."""
    rng = np.random.default_rng(0)
    widths = [3, *[channels] * (layers - 1), 1]
    nodes, weights, last = [], [], "image"
    for i, (before, after) in enumerate(pairwise(widths)):
        kernel = rng.normal(0, 1 / np.sqrt(9 * before), (after, before, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        last = f"c{i}"
    weights += [
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(bias, np.float32), "bias"),
    ]
    nodes += [
        helper.make_node("Add", [last, "bias"], ["map"]),
        helper.make_node("ReduceMax", ["map"], ["top"], keepdims=0),
        helper.make_node("Reshape", ["top", "one"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, SIDE, SIDE]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data

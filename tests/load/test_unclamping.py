"""Scores that a file limits keep their order beyond the limits; as anomalib's post-processor exports them."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from budgetc.load.onnx_graph import OnnxOptions
from tests.graphs import model_of, read, runtime, weight

node = helper.make_node
SIDE = 8
IMAGES = np.random.default_rng(0).random((12, 3, SIDE, SIDE), np.float32) * np.linspace(0.1, 1, 12)[:, None, None, None]
BOUNDS: dict[str, Any] = {
    "lowest": np.float32(0.0), "highest": np.float32(1.0), "threshold": np.float32(2.0), "range": np.float32(2.0),
    "half": np.float32(0.5), "kernel": np.abs(weight(4, 3, 3, 3)),
}  # fmt: skip


def normalized(name: str, result: str) -> list[onnx.NodeProto]:
    """Moved to the threshold, divided by the range, and limited, where there is a range: the choice is a constant."""
    return [
        node("Sub", [name, "threshold"], [f"{result}_a"]), node("Div", [f"{result}_a", "range"], [f"{result}_b"]),
        node("Add", [f"{result}_b", "half"], [f"{result}_c"]),
        node("Clip", [f"{result}_c", "lowest", "highest"], [f"{result}_d"]),
        node("Equal", ["range", "lowest"], [f"{result}_flat"]),
        node("Where", [f"{result}_flat", name, f"{result}_d"], [result]),
    ]  # fmt: skip


MAP = [
    node("Conv", ["image", "kernel"], ["features"], pads=[1, 1, 1, 1]),
    node("ReduceMean", ["features"], ["raw"], axes=[1]),
]
PEAK = [node("ReduceMax", ["raw"], ["peak"], axes=[2, 3], keepdims=0)]


def scores(found: torch.nn.Module) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(found(torch.from_numpy(IMAGES.astype(np.float32)))[0])


def test_the_order_of_limited_scores_is_found_again() -> None:
    """As anomalib exports: score and map are limited, the picture's and the pixel's; both keep the order of the raw."""
    nodes = [*MAP, *PEAK, *normalized("peak", "pred_score"), *normalized("raw", "anomaly_map")]
    model = model_of(nodes, BOUNDS, outputs=("pred_score", "anomaly_map"))
    limited = np.array([runtime(model, image[None].astype(np.float32), "pred_score").item() for image in IMAGES])
    assert np.count_nonzero(limited == 1) >= 3 and np.count_nonzero(limited == 0) >= 1, "ties, or nothing is proved"

    found = read(model)
    assert found.notes[0].startswith("pred_score and anomaly_map are read before being limited")
    own = scores(found.detector.module)
    np.testing.assert_allclose(own.clip(0, 1), limited, atol=1e-5)
    assert len(set(own.tolist())) == len(IMAGES)
    raw = model_of([*MAP, *PEAK], BOUNDS, outputs=("peak",))
    wanted = [runtime(raw, image[None].astype(np.float32), "peak").item() for image in IMAGES]
    np.testing.assert_array_equal(np.argsort(own), np.argsort(wanted))


def test_the_peak_of_a_limited_map() -> None:
    """A score that is the maximum of a limited map, both outputs: one limit goes, and the score is still the peak."""
    nodes = [*MAP, node("Clip", ["raw", "lowest", "half"], ["map"]),
             node("ReduceMax", ["map"], ["score"], axes=[1, 2, 3], keepdims=0)]  # fmt: skip
    found = read(model_of(nodes, BOUNDS, outputs=("score", "map")))
    own, maps = found.detector.module(torch.from_numpy(IMAGES.astype(np.float32)))
    torch.testing.assert_close(own, maps.flatten(1).amax(1))
    assert own.max() > 0.5


KEPT: dict[str, list[onnx.NodeProto]] = {
    "a limit that other results read": [
        node("Clip", ["raw", "lowest", "half"], ["map"]), node("ReduceMean", ["map"], ["score"], axes=[1, 2, 3]),
    ],
    "one limit alone": [
        node("Clip", ["raw", "lowest"], ["map"]), node("ReduceMax", ["map"], ["score"], axes=[1, 2, 3]),
    ],
    "a choice by the picture": [
        *PEAK, node("Clip", ["peak", "lowest", "half"], ["limited"]), node("Greater", ["peak", "half"], ["high"]),
        node("Where", ["high", "half", "limited"], ["score"]), node("Identity", ["raw"], ["map"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", KEPT)
def test_what_is_more_than_a_limit_stays(case: str) -> None:
    """Where the score would be another one."""
    model = model_of([*MAP, *KEPT[case]], BOUNDS, outputs=("score", "map"))
    found = read(model)
    assert not any("limited" in note for note in found.notes)
    wanted = [runtime(model, image[None].astype(np.float32)).item() for image in IMAGES]
    np.testing.assert_allclose(scores(found.detector.module).ravel(), wanted, rtol=1e-4)


def test_shapes_behind_a_size_that_the_file_leaves_open() -> None:
    """A preprocessor's resize and what reads the batch and channels behind it, as anomalib exports them."""
    nodes = [
        node("Shape", ["image"], ["first"], start=0, end=2),
        node("Concat", ["first", "side"], ["wanted"], axis=0),
        node("Resize", ["image", "", "", "wanted"], ["view"], mode="linear"),
        node("Shape", ["view"], ["again"], start=0, end=2),
        node("Conv", ["view", "kernel"], ["features"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Shape", ["features"], ["channels"], start=0, end=2),
        node("Concat", ["channels", "side"], ["back"], axis=0),
        node("Resize", ["features", "", "", "back"], ["large"], mode="linear"),
        node("ReduceMax", ["large"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]  # fmt: skip
    known = {"side": np.array([SIDE, SIDE]), "kernel": BOUNDS["kernel"]}
    model = model_of(nodes, known, shape=("batch", 3, "height", "width"))
    found = read(model, OnnxOptions(input_size=(SIDE, SIDE)))
    wanted = [runtime(model, image[None].astype(np.float32)).item() for image in IMAGES]
    np.testing.assert_allclose(scores(found.detector.module), wanted, rtol=1e-4)

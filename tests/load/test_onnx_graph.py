"""`detector_of_onnx`: files of other people's detectors compute the same in budgetc's layers."""

import re
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from budgetc.detectors.families import bundle, from_bundle
from budgetc.detectors.graph import Graph, GraphConfig
from budgetc.detectors.graph import module as graph_module
from budgetc.detectors.graph.config import CallNode, ConvNode, LinearNode, RoundNode, UpNode
from budgetc.detectors.graph.operators import OPERATORS as OPERATORS_OF_GRAPHS
from budgetc.detectors.layers import AddUnit, ConcatUnit, ConvUnit, LinearUnit, units
from budgetc.errors import InputRejected, UsageError
from budgetc.load.graph.building import Preparation
from budgetc.load.onnx_graph import OnnxOptions
from tests.graphs import exported, made, model_of, read, runtime, small_graph, weight
from tests.small import SIZE

RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 3, *SIZE), np.float32)
node = helper.make_node


def scored(nodes: list[onnx.NodeProto], last: str) -> list[onnx.NodeProto]:
    """Nodes with a score behind them that depends on every number."""
    return [*nodes, node("ReduceL2", [last], ["score"], keepdims=0)]


def assert_same(model: onnx.ModelProto | bytes, options: OnnxOptions | None = None) -> Graph:
    """The scores of several pictures, at once and alone, are those of the runtime."""
    module = read(model, options).detector.module
    assert isinstance(module, Graph)
    height, width = module.config.input_size
    images = np.random.default_rng(1).random((3, 3, height, width), np.float32)
    wanted = [runtime(model, image[None]).ravel()[0] for image in images]
    with torch.no_grad():
        together = module(torch.from_numpy(images))[0].numpy()
        alone = [module(torch.from_numpy(image[None]))[0].item() for image in images]
    np.testing.assert_allclose(together, wanted, rtol=1e-4)
    np.testing.assert_allclose(alone, wanted, rtol=1e-4)
    return module


@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("kind", ["restoring", "student-teacher", "latent"])
def test_modules_of_torch(kind: str, opset: int) -> None:
    """Scores and maps of several pictures at once are those of the module, whatever opset it was exported with."""
    module, found = made(kind), read(exported(made(kind), opset=opset)).detector
    assert isinstance(found.config, GraphConfig) and found.config.batched
    with torch.no_grad():
        outputs = found.module(torch.from_numpy(IMAGES))
        for number, image in enumerate(IMAGES):
            wanted = dict(zip(module.names, module(torch.from_numpy(image[None])), strict=True))  # type: ignore[arg-type]
            score = wanted["pred_score" if kind == "student-teacher" else "score"]
            torch.testing.assert_close(outputs[0][number], score.flatten()[0], rtol=1e-4, atol=1e-6)
            if len(outputs) > 1:
                places = wanted["anomaly_map" if kind == "student-teacher" else "map"]
                torch.testing.assert_close(outputs[1][number], places[0], rtol=1e-4, atol=1e-6)


def test_units_take_in_what_surrounds_them() -> None:
    """BatchNorm, bias and activation belong to their layer; sums and concatenations before layers are units."""
    found = dict(units(small_graph().module))
    kinds = [type(unit) for unit in found.values()]
    assert (kinds.count(AddUnit), kinds.count(ConcatUnit)) == (1, 1)
    activations = [type(unit.activation).__name__ for unit in found.values() if isinstance(unit, ConvUnit)]
    assert activations == ["ReLU", "Identity", "ReLU6", "LeakyReLU", "ReLU", "ReLU", "Identity", "Identity"]
    slope = next(unit.activation for unit in found.values() if isinstance(unit.activation, torch.nn.LeakyReLU))
    assert slope.negative_slope == pytest.approx(0.2)


def test_a_bundle_carries_the_graph() -> None:
    """As plain data: the same network comes out again."""
    detector = small_graph("student-teacher")
    again = from_bundle(bundle(detector))
    assert again.config == detector.config
    torch.testing.assert_close(again.module(torch.from_numpy(IMAGES)), detector.module(torch.from_numpy(IMAGES)))


def test_dead_branches_do_not_ship() -> None:
    """The decoder that no score needs is neither counted nor there."""
    found = read(exported(made("latent")))
    assert found.detector.parameters() < 40_000 < sum(w.numel() for w in made("latent").parameters())
    assert found.notes == ("outputs that are not shipped: restored float32 (1, 3000)",)


def test_the_score_stays_in_float() -> None:
    """Layers of latents and the smoothing of a map are heads; sums in the score are no units."""
    latent = [unit for _, unit in units(small_graph("latent").module) if isinstance(unit, LinearUnit)]
    assert [unit.head for unit in latent] == [False, True, True]
    convs = [unit for _, unit in units(small_graph("student-teacher").module) if isinstance(unit, ConvUnit)]
    assert [unit.head for unit in convs] == [False] * 6 + [True]


CONVOLUTIONS: list[dict[str, Any]] = [
    {"pads": [1, 0, 2, 3]},
    {"strides": [2, 1], "pads": [0, 1, 0, 1]},
    {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
    {"auto_pad": "VALID"},
]


@pytest.mark.parametrize("settings", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions(settings: dict[str, Any], groups: int) -> None:
    """Unequal padding, rectangular kernels, dilation and groups."""
    nodes = [node("Conv", ["image", "w", "b"], ["y"], group=groups, **settings)]
    assert_same(model_of(scored(nodes, "y"), {"w": weight(6, 3 // groups, 3, 2), "b": weight(6)}))


TRANSPOSED: list[dict[str, Any]] = [
    {"strides": [2, 2], "kernel": (2, 2)},
    {"strides": [2, 2], "kernel": (4, 4), "pads": [1, 1, 1, 1]},
    {"strides": [2, 3], "kernel": (3, 4), "pads": [1, 0, 1, 0], "output_padding": [1, 0]},
    {"strides": [2, 2], "kernel": (3, 3), "pads": [1, 1, 0, 0]},
    {"dilations": [2, 2], "kernel": (3, 3)},
    {"strides": [2, 2], "kernel": (2, 2), "group": 3},
]


@pytest.mark.parametrize("settings", TRANSPOSED, ids=str)
def test_transposed_convolutions(settings: dict[str, Any]) -> None:
    """2x2 at stride 2 becomes its integer form, all others stay transposed."""
    kernel, rest = settings["kernel"], {key: value for key, value in settings.items() if key != "kernel"}
    outputs = 4 if "group" not in rest else 2
    nodes = [node("ConvTranspose", ["image", "w"], ["y"], **rest), node("Relu", ["y"], ["z"])]
    module = assert_same(model_of(scored(nodes, "z"), {"w": weight(3, outputs, *kernel)}))
    ups = [one for one in module.config.nodes if isinstance(one, UpNode)]
    assert [one.subpixel for one in ups] == [rest == {"strides": [2, 2]}]
    assert ups[0].activation == "relu"


OPERATORS: dict[str, list[onnx.NodeProto]] = {
    "Elu": [node("Elu", ["x"], ["y"], alpha=0.7)],
    "HardSigmoid": [node("HardSigmoid", ["x"], ["y"])],
    "HardSwish": [node("HardSwish", ["x"], ["y"])],
    "Softplus": [node("Softplus", ["x"], ["y"])],
    "Selu": [node("Selu", ["x"], ["y"])],
    "Softmax": [node("Softmax", ["x"], ["y"], axis=1)],
    "LogSoftmax": [node("LogSoftmax", ["x"], ["y"], axis=-1)],
    "Erf": [node("Erf", ["x"], ["y"])],
    "PRelu": [node("PRelu", ["x", "slope"], ["y"])],
    "arithmetic": [node("Mul", ["x", "x"], ["a"]), node("Div", ["a", "two"], ["b"]), node("Pow", ["b", "two"], ["c"]),
                   node("Sub", ["c", "x"], ["d"]), node("Min", ["d", "two"], ["e"]), node("Max", ["e", "x"], ["y"])],
    "roots": [node("Abs", ["x"], ["a"]), node("Sqrt", ["a"], ["b"]), node("Exp", ["b"], ["c"]),
              node("Log", ["c"], ["d"]), node("Neg", ["d"], ["e"]), node("Reciprocal", ["c"], ["f"]),
              node("Sum", ["e", "f", "x"], ["y"])],
    "Clip": [node("Clip", ["x", "low"], ["y"])],
    "Where": [node("Greater", ["x", "low"], ["a"]), node("Where", ["a", "x", "two"], ["y"])],
    "Cast": [node("Less", ["x", "low"], ["a"]), node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
             node("Add", ["b", "x"], ["y"])],
    "MaxPool": [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0])],
    "MaxPool of unequal padding": [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2],
                                        pads=[0, 0, 1, 1])],
    "MaxPool upwards": [node("MaxPool", ["x"], ["y"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)],
    "MaxPool SAME": [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[3, 3], auto_pad="SAME_UPPER")],
    "AveragePool": [node("AveragePool", ["x"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
    "AveragePool that counts": [node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1],
                                     count_include_pad=1)],
    "GlobalAveragePool": [node("GlobalAveragePool", ["x"], ["y"])],
    "GlobalMaxPool": [node("GlobalMaxPool", ["x"], ["y"])],
    "Pad": [node("Pad", ["x", "pads"], ["y"])],
    "Pad by mirror": [node("Pad", ["x", "pads"], ["y"], mode="reflect")],
    "Pad by edge": [node("Pad", ["x", "pads"], ["y"], mode="edge")],
    "Resize": [node("Resize", ["x", "", "scales"], ["y"], mode="linear")],
    "Resize by corners": [node("Resize", ["x", "", "scales"], ["y"], mode="linear",
                               coordinate_transformation_mode="align_corners")],
    "Resize to the nearest": [node("Resize", ["x", "", "scales"], ["y"], mode="nearest", nearest_mode="floor",
                                   coordinate_transformation_mode="asymmetric")],
    "Resize to the nearest center": [node("Resize", ["x", "", "scales"], ["y"], mode="nearest")],
    "Resize by cubes": [node("Resize", ["x", "", "", "sizes"], ["y"], mode="cubic")],
    "Split": [node("Split", ["x", "parts"], ["a", "b"], axis=1), node("Concat", ["b", "a"], ["y"], axis=1)],
    "Slice": [node("Slice", ["x", "starts", "ends", "axes", "steps"], ["y"])],
    "Gather": [node("Gather", ["x", "order"], ["y"], axis=1)],
    "Gather one": [node("Gather", ["x", "one"], ["a"], axis=1), node("Unsqueeze", ["a", "axis"], ["y"])],
    "Reshape": [node("Reshape", ["x", "shape"], ["a"]), node("Transpose", ["a"], ["y"], perm=[0, 2, 1])],
    "Tile": [node("Tile", ["x", "repeats"], ["y"])],
    "Expand": [node("ReduceMax", ["x"], ["a"], axes=[1], keepdims=1), node("Expand", ["a", "full"], ["y"])],
    "InstanceNormalization": [node("InstanceNormalization", ["x", "gains", "shifts"], ["y"])],
    "BatchNormalization": [node("BatchNormalization", ["x", "gains", "shifts", "shifts", "gains"], ["y"])],
    "LayerNormalization": [node("LayerNormalization", ["x", "row", "row"], ["y"], axis=-1)],
    "LpNormalization": [node("LpNormalization", ["x"], ["y"], axis=1, p=2)],
    "DepthToSpace": [node("DepthToSpace", ["x"], ["y"], blocksize=2, mode="CRD")],
    "DepthToSpace by blocks": [node("DepthToSpace", ["x"], ["y"], blocksize=2)],
    "reductions": [node("ReduceMean", ["x"], ["a"], axes=[2], keepdims=1), node("ReduceMin", ["x"], ["b"], axes=[-2]),
                   node("ReduceSumSquare", ["x"], ["c"], axes=[2]), node("ReduceL1", ["x"], ["d"], axes=[2]),
                   node("ReduceLogSumExp", ["x"], ["e"], axes=[2]), node("Sum", ["a", "b", "c", "d", "e"], ["y"])],
    "TopK": [node("TopK", ["x", "three"], ["a", "i"], axis=1, largest=0),
             node("TopK", ["a", "three"], ["y", "j"])],
    "Einsum": [node("Einsum", ["x", "square"], ["a"], equation="bchw, hk -> bckw"),
               node("Einsum", ["a", "x"], ["y"], equation="bchw,bdhw->bcd")],
    "angles": [node("Atan", ["x"], ["a"]), node("Tan", ["a"], ["b"]), node("Sinh", ["a"], ["c"]),
               node("Cosh", ["a"], ["d"]), node("Sum", ["b", "c", "d"], ["y"])],
    "steps": [node("Floor", ["x"], ["a"]), node("Ceil", ["x"], ["b"]), node("Sign", ["x"], ["c"]),
              node("Round", ["x"], ["d"]), node("Sum", ["a", "b", "c", "d", "x"], ["y"])],
    "softer": [node("Celu", ["x"], ["a"], alpha=0.7), node("Softsign", ["x"], ["b"]),
               node("ThresholdedRelu", ["x"], ["c"], alpha=0.2), node("Sum", ["a", "b", "c"], ["y"])],
    "truth": [node("Greater", ["x", "low"], ["a"]), node("Less", ["x", "two"], ["b"]), node("And", ["a", "b"], ["c"]),
              node("Or", ["c", "b"], ["d"]), node("Where", ["d", "x", "two"], ["y"])],
    "ReduceProd": [node("ReduceProd", ["x"], ["a"], axes=[2, 3]), node("Add", ["a", "x"], ["y"])],
    "GatherND": [node("Transpose", ["x"], ["a"], perm=[1, 0, 2, 3]), node("GatherND", ["a", "column"], ["b"]),
                 node("Transpose", ["b"], ["y"], perm=[1, 0, 2, 3])],
    "Gather computed": [node("ArgMax", ["x"], ["i"], axis=2, keepdims=0), node("Squeeze", ["i", "zero"], ["j"]),
                        node("Squeeze", ["x", "zero"], ["a"]), node("Gather", ["a", "j"], ["b"], axis=2),
                        node("Unsqueeze", ["b", "zero"], ["y"])],
    "GatherElements": [node("ArgMin", ["x"], ["i"], axis=3), node("GatherElements", ["x", "i"], ["y"], axis=3)],
    "TopK places": [node("TopK", ["x", "three"], ["a", "i"], axis=2), node("GatherElements", ["x", "i"], ["b"], axis=2),
                    node("Add", ["a", "b"], ["y"])],
    "Dropout": [node("Dropout", ["x"], ["a"]), node("Identity", ["a"], ["y"])],
}  # fmt: skip
CONSTANTS: dict[str, Any] = {
    "slope": weight(4, 1, 1), "two": np.float32(2), "low": np.float32(0.1), "gains": np.abs(weight(4)) + 0.5,
    "shifts": np.abs(weight(4)) + 0.1, "row": weight(8), "pads": [0, 0, 1, 2, 0, 0, 3, 1], "parts": [1, 3],
    "scales": np.array([1, 1, 2, 1.5], np.float32), "sizes": [1, 4, 11, 5], "starts": [1, 0], "ends": [8, 2**62],
    "axes": [2, 3], "steps": [1, 3], "order": [2, 0, 3], "one": np.int64(2), "axis": [1], "shape": [0, 4, -1],
    "three": [3], "square": weight(8, 8), "repeats": [1, 1, 2, 1], "full": [1, 4, 8, 8],
    "column": [[2], [0], [3]], "zero": [0],
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    """Each operator between a convolution and the score."""
    nodes = [node("Conv", ["image", "w"], ["x"], pads=[1, 1, 1, 1]), *OPERATORS[name]]
    used = {name for one in nodes for name in one.input}
    weights = {"w": weight(4, 3, 3, 3)} | {key: np.asarray(value) for key, value in CONSTANTS.items() if key in used}
    assert_same(model_of(scored(nodes, "y"), weights))


def test_what_a_layer_and_the_score_both_read() -> None:
    """Whichever of the two comes later in the file, pruning knows that the score reads it."""
    heads = [node("Gemm", ["f", "wm"], ["m"]), node("Gemm", ["f", "wv"], ["v"])]
    for ordered in (heads, heads[::-1]):
        nodes = [
            node("Conv", ["image", "w"], ["x"], strides=[2, 2]), node("Elu", ["x"], ["e"]),
            node("Flatten", ["e"], ["f"]), *ordered, node("Gemm", ["m", "wd"], ["d"]),
            node("Concat", ["d", "v"], ["y"], axis=1),
        ]  # fmt: skip
        weights = {"w": weight(4, 3, 2, 2), "wm": weight(64, 5), "wv": -weight(64, 5), "wd": weight(5, 300)}
        module = assert_same(model_of(scored(nodes, "y"), weights))
        kinds = {one.name: getattr(one, "op", one.kind) for one in module.config.nodes}
        assert sorted(kinds[name] for name in module.config.score_reads) == ["Reshape", "linear"]


def test_rows_of_tokens_go_through_a_fully_connected_layer() -> None:
    """A matrix times three-dimensional results is a unit, so that it is quantized and stored like the others."""
    nodes = [
        node("Conv", ["image", "w"], ["x"], strides=[4, 4]), node("Reshape", ["x", "shape"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1]), node("MatMul", ["b", "m"], ["c"]),
        node("Add", ["c", "v"], ["d"]), node("MatMul", ["d", "k"], ["e"]),
    ]  # fmt: skip
    weights = {"w": weight(4, 3, 4, 4), "shape": np.array([0, 4, -1]), "m": weight(4, 6), "v": weight(6),
               "k": weight(6, 600)}  # fmt: skip
    module = assert_same(model_of(scored(nodes, "e"), weights))
    assert [one.features for one in module.config.nodes if isinstance(one, LinearNode)] == [(4, 6), (6, 600)]


def test_rows_of_tokens_stay_rows_behind_an_activation() -> None:
    """What reads the activation of a layer of tokens gets three dimensions; nothing reads the layer beside."""
    nodes = [
        node("Conv", ["image", "w"], ["x"], strides=[4, 4]), node("Reshape", ["x", "shape"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1]), node("MatMul", ["b", "m"], ["c"]), node("Relu", ["c"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=[0, 2, 1]), node("Mul", ["e", "f"], ["g"]),
    ]  # fmt: skip
    weights = {"w": weight(4, 3, 4, 4), "shape": np.array([0, 4, -1]), "m": weight(4, 300), "f": weight(1, 300, 1)}
    module = assert_same(model_of(scored(nodes, "g"), weights))
    assert [one.op for one in module.config.nodes if isinstance(one, CallNode)].count("FromRows") == 1


def test_a_batch_that_cannot_be_told_is_computed_one_by_one() -> None:
    """Where axis 0 is mixed with others, several pictures give what each gives alone."""
    nodes = [
        node("Conv", ["image", "w"], ["x"]), node("Transpose", ["x"], ["a"], perm=[1, 0, 2, 3]),
        node("ReduceMax", ["a"], ["b"], axes=[1, 2], keepdims=0), node("Softmax", ["b"], ["c"], axis=0),
    ]  # fmt: skip
    module = assert_same(model_of(scored(nodes, "c"), {"w": weight(4, 3, 3, 3)}))
    assert not module.config.batched


def test_a_node_that_differs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one, with what it is off by; what follows from it is not."""
    wrong = {**OPERATORS_OF_GRAPHS, "Sigmoid": lambda x: torch.sigmoid(x) + 0.01}
    monkeypatch.setattr(graph_module, "OPERATORS", wrong)
    nodes = [
        node("Conv", ["image", "w"], ["x"]),
        node("Sigmoid", ["x"], ["squashed"]),
        node("Exp", ["squashed"], ["y"]),
    ]
    with pytest.raises(
        InputRejected, match=r"not the same detector: the score .* first at Sigmoid 'squashed', by 0\.01"
    ):
        read(model_of(scored(nodes, "y"), {"w": weight(4, 3, 3, 3)}))


def test_what_a_file_expects_of_a_picture() -> None:
    """Scale, mean and deviation are computed in front of it."""
    model = model_of(scored([node("Conv", ["image", "w"], ["y"], pads=[1, 1, 1, 1])], "y"), {"w": weight(4, 3, 3, 3)})
    mean, std = (120.0, 115.0, 100.0), (58.0, 57.0, 56.0)
    module = read(model, OnnxOptions(preparation=Preparation(255.0, mean, std))).detector.module
    image = IMAGES[:1, :, :8, :8]
    expected = (image * 255 - np.reshape(mean, (1, 3, 1, 1))) / np.reshape(std, (1, 3, 1, 1))
    wanted = runtime(model, expected.astype(np.float32))
    np.testing.assert_allclose(module(torch.from_numpy(image))[0].detach(), wanted.ravel(), rtol=1e-4)


def test_gray_pictures_and_channels_that_come_last() -> None:
    """Color is turned to gray, and moved to where the file wants it."""
    gray = model_of(scored([node("Conv", ["image", "w"], ["y"])], "y"), {"w": weight(4, 1, 3, 3)}, shape=(1, 1, 8, 8))
    nodes = [node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]), node("Conv", ["x", "w"], ["y"])]
    last = model_of(scored(nodes, "y"), {"w": weight(4, 3, 3, 3)}, shape=(1, 8, 8, 3))
    image = IMAGES[:1, :, :8, :8]
    found = read(gray)
    luma = (image * np.reshape([0.299, 0.587, 0.114], (1, 3, 1, 1))).sum(1, keepdims=True).astype(np.float32)
    assert found.notes == ("it reads gray pictures: color is turned to gray before it",)
    own = found.detector.module(torch.from_numpy(image))[0].detach()
    np.testing.assert_allclose(own, runtime(gray, luma).ravel(), rtol=1e-4)
    own = read(last).detector.module(torch.from_numpy(image))[0].detach()
    np.testing.assert_allclose(own, runtime(last, image.transpose(0, 2, 3, 1)).ravel(), rtol=1e-4)


def test_lower_is_anomalous() -> None:
    """Scores and maps change their sign; a score of the map is its largest value after that."""
    data = exported(made("restoring"))
    plain, turned = (read(data, OnnxOptions(preparation=Preparation(lower_is_anomalous=x))) for x in (False, True))
    images = torch.from_numpy(IMAGES)
    for own, other in zip(turned.detector.module(images), plain.detector.module(images), strict=True):
        torch.testing.assert_close(own, -other)


def test_halves_are_read_as_floats() -> None:
    """A file in FP16 is a detector in FP32, and that is said."""
    model = model_of(
        scored([node("Conv", ["image", "w"], ["y"])], "y"), {"w": weight(4, 3, 3, 3).astype(np.float16)},
        kind=TensorProto.FLOAT16,
    )  # fmt: skip
    found = read(model)
    assert found.notes == ("FP16 weights were read as FP32",)
    own = found.detector.module(torch.from_numpy(IMAGES[:1, :, :8, :8]))[0].item()
    assert own == pytest.approx(float(runtime(model, IMAGES[:1, :, :8, :8].astype(np.float16))), rel=2e-3)


def test_preparations_that_are_none() -> None:
    """Three numbers for a gray picture, or a scale that turns pictures around: how it was asked is wrong."""
    gray = model_of(scored([node("Conv", ["image", "w"], ["y"])], "y"), {"w": weight(4, 1, 3, 3)}, shape=(1, 1, 8, 8))
    with pytest.raises(UsageError, match=r"--mean 0\.1,0\.2,0\.3: .* gray pictures; give one number"):
        read(gray, OnnxOptions(preparation=Preparation(mean=(0.1, 0.2, 0.3))))
    for wrong in ({"scale": -255.0}, {"std": (0.2, -0.2, 0.2)}, {"std": (0.2, 0.0, 0.2)}, {"scale": 0.0}):
        with pytest.raises(UsageError, match=r"--scale .* --std .*: expected numbers larger than 0"):
            Preparation(**wrong)


def test_dynamic_sizes() -> None:
    """A symbolic batch is one picture; symbolic sides are what the options say, or are asked for."""
    nodes = scored([node("Conv", ["image", "w"], ["y"])], "y")
    model = model_of(nodes, {"w": weight(4, 3, 3, 3)}, shape=("batch", 3, "height", "width"))
    with pytest.raises(InputRejected, match="--input-size HEIGHTxWIDTH"):
        read(model)
    assert read(model, OnnxOptions(input_size=(12, 10))).detector.config.input_size == (12, 10)
    fixed = model_of(nodes, {"w": weight(4, 3, 3, 3)}, shape=("batch", 3, 8, 8))
    with pytest.raises(InputRejected, match="is 8x8; --input-size cannot change that"):
        read(fixed, OnnxOptions(input_size=(12, 10)))
    assert read(fixed).detector.config.input_size == (8, 8)


def test_outputs_are_told_by_shape_or_by_name() -> None:
    """Two scores or none are refused with the option that says which; a map alone makes the score."""
    body = [node("Conv", ["image", "w"], ["map"], pads=[1, 1, 1, 1])]
    two = [*body, node("ReduceMax", ["map"], ["peak"], keepdims=0), node("ReduceMean", ["map"], ["mean"], keepdims=0)]
    weights = {"w": weight(1, 3, 3, 3)}
    found = read(model_of(body, weights, outputs=["map"]))
    assert found.notes == ("there is no score among the outputs: it is the largest value of 'map'",)
    score, places = found.detector.module(torch.from_numpy(IMAGES[:, :, :8, :8]))
    torch.testing.assert_close(score, places.flatten(1).amax(1))
    model = model_of(two, weights, outputs=["map", "peak", "mean"])
    with pytest.raises(InputRejected, match=r"2 outputs could be meant: peak .*, mean .* --score peak -o model\.pt"):
        read(model)
    assert read(model, OnnxOptions(score="mean", map="map")).notes == ("outputs that are not shipped: peak float32 ()",)
    with pytest.raises(InputRejected, match=re.escape("--score 'map' has the shape (1, 1, 8, 8); outputs are")):
        read(model, OnnxOptions(score="map"))
    with pytest.raises(InputRejected, match="--map 'heat' is no output"):
        read(model, OnnxOptions(score="mean", map="heat"))


def test_a_smaller_map_is_resized_to_the_picture() -> None:
    """Every artifact has a map of its pictures' size; the score is that of the file."""
    model = model_of(
        [node("Conv", ["image", "w"], ["map"], strides=[2, 2])], {"w": weight(1, 3, 2, 2)}, outputs=["map"]
    )
    score, places = read(model).detector.module(torch.from_numpy(IMAGES[:1, :, :8, :8]))
    assert places.shape == (1, 1, 8, 8)
    assert score.item() == pytest.approx(float(runtime(model, IMAGES[:1, :, :8, :8], "map").max()), rel=1e-4)


def test_where_integers_would_be_lost_there_is_a_place_to_round() -> None:
    """Between a resize and a convolution; not behind max pooling, which integers pass."""
    config = small_graph().config
    assert isinstance(config, GraphConfig)
    rounds = [one for one in config.nodes if isinstance(one, RoundNode)]
    made_by = {one.name: one for one in config.nodes}
    assert rounds[0].inputs == ("image",) and rounds[0].first
    assert [made_by[one.inputs[0]].op for one in rounds[1:]] == ["Resize", "Elu"]  # type: ignore[union-attr]
    pooled = [one.name for one in config.nodes if isinstance(one, CallNode) and one.op == "MaxPool"]
    assert any(isinstance(one, ConvNode) and one.inputs[0] in pooled for one in config.nodes)

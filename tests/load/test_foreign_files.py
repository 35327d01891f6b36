"""`detector_of_onnx`: what people's exports look like that are no plain (1, 3, H, W) -> score."""

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from budgetc.errors import InputRejected
from budgetc.load.onnx_graph import OnnxOptions
from tests.graphs import model_of, read, runtime, weight

IMAGES = np.random.default_rng(0).random((4, 3, 8, 8), np.float32)
node = helper.make_node


def scores(model: onnx.ModelProto, options: OnnxOptions | None = None) -> tuple[np.ndarray[Any, Any], tuple[str, ...]]:
    """Of the images, in budgetc's layers; and the notes."""
    found = read(model, options)
    return found.detector.module(torch.from_numpy(IMAGES))[0].detach().numpy(), found.notes


def test_a_batch_of_four_is_rewritten_for_one() -> None:
    """Constant shapes that hold the batch, alone or in a product, are those of one picture."""
    nodes = [
        node("Conv", ["image", "w"], ["x"], pads=[1, 1, 1, 1]), node("Reshape", ["x", "rows"], ["a"]),
        node("Reshape", ["a", "parts"], ["b"]), node("ReduceL2", ["b"], ["score"], axes=[1, 2], keepdims=0),
    ]  # fmt: skip
    weights = {"w": weight(4, 3, 3, 3), "rows": np.array([4 * 64, 4]), "parts": np.array([4, 64, 4])}
    model = model_of(nodes, weights, shape=(4, 3, 8, 8))
    own, notes = scores(model)
    np.testing.assert_allclose(own, runtime(model, IMAGES), rtol=1e-4)
    assert notes == ("it reads 4 pictures at once: rewritten for one",)


def test_a_batch_that_is_mixed_is_refused() -> None:
    """Where a picture's score depends on its neighbors."""
    nodes = [node("ReduceMean", ["image"], ["m"], axes=[0]), node("Sub", ["image", "m"], ["d"]),
             node("ReduceL2", ["d"], ["score"], axes=[1, 2, 3], keepdims=0)]  # fmt: skip
    with pytest.raises(InputRejected, match="a batch of 4 pictures, which its layers mix or count on; export it with"):
        read(model_of(nodes, shape=(4, 3, 8, 8)))


def bytes_model(*settings: Any, shape: tuple[int, ...] = (1, 3, 8, 8)) -> onnx.ModelProto:
    """Of UINT8 pictures and a score in FP32."""
    model = model_of(*settings, shape=shape)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.ClearField("value_info")
    return model


@pytest.mark.parametrize("last", [False, True])
def test_bytes_are_read_as_floats(last: bool) -> None:
    """A file that turns UINT8 to float itself reads pictures times 255, channels first or last."""
    turned = [node("Transpose", ["image"], ["t"], perm=[0, 3, 1, 2])] if last else [node("Identity", ["image"], ["t"])]
    nodes = [*turned, node("Cast", ["t"], ["f"], to=TensorProto.FLOAT), node("Conv", ["f", "w"], ["x"]),
             node("ReduceL2", ["x"], ["score"], keepdims=0)]  # fmt: skip
    model = bytes_model(nodes, {"w": weight(4, 3, 3, 3)}, shape=(1, 8, 8, 3) if last else (1, 3, 8, 8))
    whole = (IMAGES[:1] * 255).astype(np.uint8)
    found = read(model)
    own = found.detector.module(torch.from_numpy(whole.astype(np.float32) / 255))[0].item()
    wanted = runtime(model, whole.transpose(0, 2, 3, 1) if last else whole)
    assert own == pytest.approx(float(wanted), rel=1e-4)
    assert found.notes == ("it reads bytes: pictures are multiplied by 255 before it",)


def test_bytes_may_be_moved_about_by_thousands_of_nodes() -> None:
    """No file is deep enough to end in a recursion."""
    names = ["image", *(f"x{number}" for number in range(2000))]
    nodes = [node("Identity", [one], [other]) for one, other in pairwise(names)]
    nodes += [node("Cast", [names[-1]], ["f"], to=1), node("Conv", ["f", "w"], ["x"]),
              node("ReduceMax", ["x"], ["score"], keepdims=0)]  # fmt: skip
    assert read(bytes_model(nodes, {"w": weight(4, 3, 3, 3)})).notes


def test_bytes_that_are_computed_with_are_refused() -> None:
    """Integer arithmetic has no float form."""
    nodes = [node("Div", ["image", "two"], ["d"]), node("Cast", ["d"], ["f"], to=TensorProto.FLOAT),
             node("ReduceL2", ["f"], ["score"], keepdims=0)]  # fmt: skip
    with pytest.raises(InputRejected, match="is UINT8, expected float, or UINT8 that a Cast turns to float"):
        read(bytes_model(nodes, {"two": np.array(2, np.uint8)}))


def test_normal_noise_gives_way_to_its_mean() -> None:
    """The score of a VAE that samples is that of the posterior's mean, and this is said."""
    body = [node("Conv", ["image", "w"], ["m"], pads=[1, 1, 1, 1])]
    noisy = [*body, node("RandomNormalLike", ["m"], ["eps"], name="randn"), node("Exp", ["m"], ["s"]),
             node("Mul", ["eps", "s"], ["e"]), node("Add", ["m", "e"], ["z"])]  # fmt: skip
    score = node("ReduceL2", ["z"], ["score"], axes=[1, 2, 3], keepdims=0)
    plain = model_of([*body, node("Identity", ["m"], ["z"]), score], {"w": weight(4, 3, 3, 3)})
    own, notes = scores(model_of([*noisy, score], {"w": weight(4, 3, 3, 3)}))
    np.testing.assert_allclose(own, [float(runtime(plain, image[None])[0]) for image in IMAGES], rtol=1e-4)
    assert len(notes) == 1 and notes[0].startswith("RandomNormalLike 'randn' draws random numbers: their mean 0 stands")


def test_other_noise_is_refused() -> None:
    """Dropout that was exported in training mode has no mean to stand for it."""
    nodes = [node("RandomUniformLike", ["image"], ["u"], name="drop"), node("Add", ["image", "u"], ["x"]),
             node("ReduceL2", ["x"], ["score"], keepdims=0)]  # fmt: skip
    with pytest.raises(InputRejected, match=r"draws random numbers at RandomUniformLike 'drop': .*module\.eval\(\)"):
        read(model_of(nodes))


def test_one_of_several_numbers_is_the_score() -> None:
    """Of a classifier's two numbers the refusal says how to name one."""
    nodes = [node("GlobalAveragePool", ["image"], ["p"]), node("Flatten", ["p"], ["f"]),
             node("Gemm", ["f", "w"], ["g"]), node("Softmax", ["g"], ["classes"], axis=1)]  # fmt: skip
    model = model_of(nodes, {"w": weight(3, 2)}, outputs=["classes"])
    with pytest.raises(InputRejected, match=r"classes float32 \(1, 2\)\. Where one of .* --score 'classes\[1\]' -o"):
        read(model)
    with pytest.raises(InputRejected, match=r"--score 'classes\[2\]'.*has 2 numbers, which are counted from 0"):
        scores(model, OnnxOptions(score="classes[2]"))
    own, _ = scores(model, OnnxOptions(score="classes[1]"))
    wanted = [float(runtime(model, image[None], "classes")[0, 1]) for image in IMAGES]
    np.testing.assert_allclose(own, wanted, rtol=1e-4)


def test_ill_conditioned_results_are_compared_as_far_as_they_are_defined() -> None:
    """InstanceNorm of a flat picture multiplies rounding by hundreds: no reason to refuse the file."""
    nodes = [node("Conv", ["image", "w"], ["x"], pads=[1, 1, 1, 1])]
    for number in range(3):
        read_here = f"r{number - 1}" if number else "x"
        nodes += [node("InstanceNormalization", [read_here, "one", "zero"], [f"i{number}"]),
                  node("Conv", [f"i{number}", "v"], [f"r{number}"])]  # fmt: skip
    nodes.append(node("ReduceL2", ["r2"], ["score"], axes=[1, 2, 3], keepdims=0))
    weights = {"w": weight(8, 3, 3, 3), "v": weight(8, 8, 1, 1), "one": np.ones(8, np.float32),
               "zero": np.zeros(8, np.float32)}  # fmt: skip
    model = model_of(nodes, weights, shape=(1, 3, 64, 64))
    images = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)
    own = read(model).detector.module(torch.from_numpy(images))[0].detach().numpy()
    np.testing.assert_allclose(own, [float(runtime(model, image[None])[0]) for image in images], rtol=1e-4)


@pytest.mark.parametrize("flat", [False, True])
def test_attention_of_opset_23(flat: bool) -> None:
    """As the products and the softmax that it is, heads apart or side by side."""
    shape = [0, 2, 4, 12] if not flat else [0, 16, 6]
    heads: dict[str, Any] = {} if not flat else {"q_num_heads": 2, "kv_num_heads": 2}
    nodes = [node("Conv", ["image", "w"], ["x"], strides=[2, 2])]
    nodes += [node("Reshape", ["x", "shape"], ["r"]), node("Mul", ["r", "k"], ["key"])]
    nodes += [node("Attention", ["r", "key", "r"], ["y"], **heads), node("ReduceL2", ["y"], ["score"], keepdims=0)]
    weights = {"w": weight(6, 3, 2, 2), "shape": np.array(shape), "k": weight(shape[-1])}
    own, _ = scores(model := model_of(nodes, weights, opset=23))
    np.testing.assert_allclose(own, [float(runtime(model, image[None])) for image in IMAGES], rtol=1e-4)

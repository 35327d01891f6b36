"""What is stored in few bits beside convolutions: transposed ones, and large constants such as a memory bank."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from budgetc.core.plan import Fp16, Step, StoreBits
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.families import bundle, from_bundle
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from tests.graphs import model_of, read, runtime, weight
from tests.small import target, work_for

node = helper.make_node


def restoring() -> onnx.ModelProto:
    """Two transposed convolutions of the kinds that decoders have, with and without a bias."""
    nodes = [
        node("Conv", ["image", "w"], ["x"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["x"], ["r"]),
        node("ConvTranspose", ["r", "u", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("ConvTranspose", ["y", "v"], ["z"], pads=[1, 1, 1, 1]), node("Sub", ["z", "image"], ["d"]),
        node("ReduceL2", ["d"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]  # fmt: skip
    weights = {"w": weight(32, 3, 3, 3), "u": weight(32, 24, 4, 4) / 4, "b": weight(24), "v": weight(24, 3, 3, 3) / 4}
    return model_of(nodes, weights, shape=(1, 3, 16, 16))


def covariances() -> onnx.ModelProto:
    """Mahalanobis distances by a matrix of each place, as of a PaDiM."""
    rows = weight(64, 16, 16) / 8
    nodes = [
        node("Conv", ["image", "w"], ["x"], strides=[2, 2]), node("Reshape", ["x", "shape"], ["f"]),
        node("Sub", ["f", "mu"], ["z"]), node("Einsum", ["z", "inverse", "z"], ["d"], equation="bip,pij,bjp->bp"),
        node("ReduceMax", ["d"], ["score"], axes=[1], keepdims=0),
    ]  # fmt: skip
    inverse = np.einsum("pij,pkj->pik", rows, rows) + 0.1 * np.eye(16, dtype=np.float32)
    weights = {"w": weight(16, 3, 2, 2), "shape": np.array([0, 16, -1]), "mu": weight(1, 16, 64), "inverse": inverse}
    return model_of(nodes, weights, shape=(1, 3, 16, 16))


def hard_sigmoid() -> onnx.ModelProto:
    """A factor right behind a convolution, which a simplifier would take into its weight."""
    nodes = [
        node("Conv", ["image", "w", "b"], ["x"]), node("HardSigmoid", ["x"], ["y"], alpha=1 / 6),
        node("ReduceL2", ["y"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]  # fmt: skip
    return model_of(nodes, {"w": weight(48, 3, 4, 4), "b": weight(48)}, shape=(1, 3, 16, 16))


MODELS = {"restoring": restoring, "covariances": covariances, "hard sigmoid": hard_sigmoid}


def stored(detector: Detector, step: Step, effort: float = 1.0) -> Detector:
    return apply_step(detector, step, work_for(detector, effort=effort))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("step", [StoreBits(bits=8), StoreBits(bits=4), Fp16()], ids=lambda step: str(step)[:20])
def test_the_file_is_small_and_scores_as_torch(name: str, step: Step) -> None:
    """Nothing large is left in FP32, untrained structures have the price of trained ones, and a bundle keeps it all."""
    plain = read(MODELS[name]()).detector
    detector = stored(plain, step)
    file = export_detector(detector, target()).model
    large = [one.name for one in onnx.load_model_from_string(file).graph.initializer
             if one.data_type == onnx.TensorProto.FLOAT and np.prod(one.dims) > 256]  # fmt: skip
    assert not large
    assert abs(len(file) - len(export_detector(stored(plain, step, effort=0.0), target()).model)) < 2048
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    again = from_bundle(bundle(detector))
    wanted = score_images(again.deployed(), images)
    found = [float(runtime(file, image[None].astype(np.float32) / 255).ravel()[0]) for image in images]
    np.testing.assert_allclose(found, wanted, rtol=2e-3)


@pytest.mark.parametrize("name", ["restoring", "covariances"])
def test_fewer_bits_disturb_more(name: str) -> None:
    """Against the unchanged detector; a mean error of a transposed convolution is in its bias."""
    plain = read(MODELS[name]()).detector
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    before = plain.deployed()(images)[0]
    errors = [float((stored(plain, StoreBits(bits=bits)).deployed()(images)[0] / before - 1).abs().mean().detach())
              for bits in (3, 5, 8)]  # fmt: skip
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.01

"""Passes that know nothing of where a graph came from."""

import copy
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx.helper import make_node as node

from budgetc.core.plan import Distill, Fp16, Prune, Qat, Quantize, Step, StoreBits
from budgetc.detectors.detector import as_input, score_images
from budgetc.detectors.families import bundle, from_bundle
from budgetc.detectors.graph import Graph, GraphConfig
from budgetc.detectors.layers import units
from budgetc.export.gate import fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from budgetc.passes.graphs import imitate_graph
from budgetc.passes.quantize import quantize
from budgetc.passes.sensitivity import score_perturbation, spread_of_signed
from budgetc.training.losses import relative_errors
from tests.graphs import MODULES, model_of, read, small_graph, weight
from tests.small import target, textures, work_for

IMAGES = textures(8, seed=9)
PLANS: dict[str, tuple[Step, ...]] = {
    "unchanged": (),
    "fp16": (Fp16(),),
    "quantize": (Quantize(),),
    "quantize all": (Quantize(first_convolution=True, bias_correction=True),),
    "quantize few": (Quantize(last_layers=False, depthwise=False, float_layers=1),),
    "store-bits": (StoreBits(bits=4),),
    "quantize, store-bits": (Quantize(), StoreBits(bits=3)),
    "quantize, qat": (Quantize(), Qat(epochs=1)),
    "distill": (Distill(student=0.5, epochs=1),),
    "prune, quantize": (Prune(keep=0.5, epochs=1), Quantize()),
    "quantize, prune by knapsack": (Quantize(), Prune(allocation="knapsack", keep=0.9, importance="taylor", epochs=1)),
    "distill, prune, quantize, store-bits": (
        Distill(student=0.75, epochs=1),
        Prune(keep=0.5, epochs=1),
        Quantize(),
        StoreBits(bits=4),
    ),
}


def through_file(model: bytes) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    pictures = IMAGES.astype(np.float32) / 255
    return np.array([session.run(["score"], {"image": picture[None]})[0][0] for picture in pictures])


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("plan", PLANS)
def test_the_file_scores_as_torch_does(kind: str, plan: str, tmp_path: Path) -> None:
    """The exporter finds every integer kernel that was asked for, and every weight in the bits that were."""
    detector = small_graph(kind)
    work = work_for(detector)
    for step in PLANS[plan]:
        detector = apply_step(detector, step, work)
    model = export_detector(detector, target()).model
    own, found = score_images(detector.deployed(), IMAGES), through_file(model)
    integer = any(isinstance(step, Quantize) for step in PLANS[plan])
    assert np.abs(own - found).max() <= (0.03 if integer else 1e-3) * np.ptp(own)
    if plan == "quantize":
        layers = sum(known.compute == "int8" for known in detector.formats.values())
        kernels = fused_kernels(model)
        assert sum(kernels[name] for name in ("QLinearConv", "QGemm", "QLinearAdd")) == layers > 1


def test_each_branch_keeps_its_own_scale() -> None:
    """What is read by a concatenation, a sum and a layer behind a resize is each rounded where it was written."""
    detector = small_graph()
    found = quantize(detector, Quantize(), work_for(detector))
    rounded = {name for name, known in found.formats.items() if known.output is not None}
    # All units but the place behind the picture, whose convolution stays in FP32.
    assert rounded == {name for name, _ in units(detector.module)} - {"layers.n0"}


def test_what_the_score_reads() -> None:
    """QAT compares the layers' results in front of the score, not the score's own steps."""
    for kind, count in (("restoring", 1), ("student-teacher", 4), ("latent", 1)):
        module = small_graph(kind).module
        assert isinstance(module, Graph) and isinstance(module.config, GraphConfig)
        features = module.features(as_input(IMAGES))
        assert len(features) == count
        assert all(len(one) == len(IMAGES) for one in features)


def test_scores_with_a_sign() -> None:
    """Logits have no logarithm: what counts is the change over their spread."""
    nodes = [node("Conv", ["image", "w"], ["x"], strides=[4, 4]), node("Relu", ["x"], ["r"]),
             node("Conv", ["r", "v"], ["y"]), node("ReduceMean", ["y"], ["score"], keepdims=0)]  # fmt: skip
    model = model_of(nodes, {"w": weight(8, 3, 4, 4), "v": -np.abs(weight(4, 8, 1, 1))}, shape=(1, 3, 32, 32))
    detector = read(model).detector
    work = work_for(detector)
    found = quantize(detector, Quantize(), work)
    layers = {name: known for name, known in found.formats.items() if known.weight_scale}
    plain = score_images(detector.deployed(), IMAGES)
    spread = spread_of_signed(plain)
    assert spread == pytest.approx(float(plain.std())) and spread_of_signed(-plain) is None
    moved = score_perturbation(detector, layers, IMAGES)
    assert layers and all(0 < value < 0.5 for value in moved.values())
    stored = apply_step(detector, StoreBits(bits=5), work)
    after = score_images(stored.deployed(), IMAGES)
    assert torch.isfinite(torch.from_numpy(after)).all() and np.abs(after - plain).max() < spread


@pytest.mark.parametrize("kind", MODULES)
def test_narrower_graphs_are_whole(kind: str) -> None:
    """Fewer weights, the same outputs to imitate, a configuration that says so, and a bundle that comes back."""
    detector = small_graph(kind)
    narrow = apply_step(detector, Prune(keep=0.5, epochs=0), work_for(detector))
    assert narrow.parameters() < 0.9 * detector.parameters()
    old, new = detector.module, narrow.module
    assert isinstance(old, Graph) and isinstance(new, Graph) and isinstance(narrow.config, GraphConfig)
    picture = as_input(IMAGES)
    assert [one.shape for one in new.features(picture)] == [one.shape for one in old.features(picture)]
    assert new.present() == narrow.config
    again = from_bundle(bundle(narrow))
    np.testing.assert_array_equal(score_images(again.deployed(), IMAGES), score_images(narrow.deployed(), IMAGES))


def test_training_comes_near() -> None:
    """A graph whose weights moved learns again what the score of the unchanged one reads."""
    detector = small_graph("latent")
    work, old, picture = work_for(detector), detector.module, as_input(IMAGES)
    moved = detector.with_module(copy.deepcopy(old))
    generator = torch.Generator().manual_seed(0)
    for one in moved.module.parameters():
        one.data += 0.1 * one.std() * torch.randn(one.shape, generator=generator)

    def distance() -> float:
        assert isinstance(moved.module, Graph) and isinstance(old, Graph)
        with torch.no_grad():
            return float(relative_errors(moved.module.features(picture), old.features(picture)))

    before = distance()
    imitate_graph(moved, work.effort_of(30, 1e-3, "training"), work)
    assert distance() < 0.6 * before

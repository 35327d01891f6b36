"""Channels of transposed convolutions, read and written, go like those of others."""

import numpy as np
import torch
from onnx import helper

from budgetc.core.plan import Prune, StoreBits
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.families import bundle, from_bundle
from budgetc.detectors.graph import GraphConfig
from budgetc.detectors.graph.config import UpNode
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from budgetc.passes.pruning.probe import terms
from budgetc.passes.pruning.subject import subject_of
from tests.graphs import model_of, read, runtime, weight
from tests.small import target, work_for

node = helper.make_node


def autoencoder() -> Detector:
    """Two halvings, two doublings by 4x4 kernels, and the error of the restored picture."""
    nodes = [
        node("Conv", ["image", "a"], ["x"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["x"], ["p"]),
        node("Conv", ["p", "b"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["y"], ["q"]),
        node("ConvTranspose", ["q", "c", "bias"], ["u"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Relu", ["u"], ["r"]),
        node("ConvTranspose", ["r", "d"], ["v"], strides=[2, 2], pads=[1, 1, 1, 1]), node("Sub", ["v", "image"], ["e"]),
        node("ReduceL2", ["e"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]  # fmt: skip
    weights = {"a": weight(16, 3, 3, 3), "b": weight(24, 16, 3, 3), "c": weight(24, 16, 4, 4), "bias": weight(16),
               "d": weight(16, 3, 4, 4)}  # fmt: skip
    return read(model_of(nodes, weights, shape=(1, 3, 16, 16))).detector


def test_a_decoder_is_narrowed() -> None:
    """Half of the weights go, the file is as the bundle, and the last layer keeps the channels of the picture."""
    detector = autoencoder()
    work = work_for(detector, effort=0.3)
    found = apply_step(detector, Prune(keep=0.5, round_to=4, epochs=1), work)
    assert found.parameters() < 0.6 * detector.parameters()
    assert isinstance(found.config, GraphConfig)
    first, last = [one.channels for one in found.config.nodes if isinstance(one, UpNode)]
    assert first[0] < 24 and first[1] == last[0] < 16 and last[1] == 3
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    stored = apply_step(found, StoreBits(bits=8), work)
    again, file = from_bundle(bundle(stored)), export_detector(stored, target()).model
    wanted = [float(runtime(file, image[None].astype(np.float32) / 255)[0]) for image in images]
    np.testing.assert_allclose(score_images(again.deployed(), images), wanted, rtol=1e-3)


def test_what_channels_of_a_decoder_cost() -> None:
    """A transposed convolution multiplies all of its weights at every place of what it reads."""
    subject = subject_of(autoencoder(), "student")
    groups = subject.groups()
    assert [(group.width, len(group.consumers)) for group in groups] == [(16, 1), (24, 1), (16, 1)]
    widths = {group.root: group.width for group in groups}
    weights = macs = 0
    for term in terms(subject, groups):
        times = int(np.prod([widths[root] for root in term.groups]))
        weights, macs = weights + times * term.weights, macs + times * term.macs
    layers = [
        unit for unit in subject.network.modules() if isinstance(unit, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
    ]
    assert weights == sum(layer.weight.numel() for layer in layers)
    assert macs == 16 * 27 * 64 + 24 * 144 * 16 + 24 * 16 * 16 * 16 + 16 * 3 * 16 * 64

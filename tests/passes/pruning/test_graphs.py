"""Channels of somebody else's network: only those go that nothing but layers knows of."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx.helper import make_node as node

from budgetc.core.plan import Prune, Quantize
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.families import bundle, from_bundle
from budgetc.errors import UsageError
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from budgetc.passes.pruning.groups import Survey, survey
from budgetc.passes.pruning.subject import subject_of
from tests.graphs import MODULES, model_of, read, small_graph, weight
from tests.small import target, textures, work_for

IMAGES = textures(8, seed=9)


def surveyed(detector: Detector) -> Survey:
    subject = subject_of(detector, "student")
    return survey(subject.network, subject.example, subject.forward, trusted=False)


def test_what_can_go_of_a_network_of_all_kinds() -> None:
    """Through sums, depthwise filters and resizing; not what joins a sub-pixel convolution or feeds the score."""
    found = surveyed(small_graph("restoring"))
    assert [(group.width, len(group.members)) for group in found.groups] == [(16, 3), (24, 1), (8, 1)]
    assert sorted(found.reasons.values()) == [
        "feeds an output", "moves its channels to places", "stands in a concatenation beside what no layer wrote",
    ]  # fmt: skip


def test_flattened_channels_can_go() -> None:
    """In front of a fully connected layer, as in an encoder."""
    found = surveyed(small_graph("latent"))
    assert [group.width for group in found.groups] == [16, 16]
    assert {name: inputs.shape[1] for name, inputs in found.groups[1].consumers.items()}.popitem()[1] == 64


# What stands between two convolutions of 8 channels, and why those of the first stay.
FIXED: dict[str, tuple[list[onnx.NodeProto], dict[str, Any], str]] = {
    "gains": ([node("Tanh", ["x"], ["a"]), node("Mul", ["a", "g"], ["y"])], {"g": weight(1, 8, 1, 1)}, "of fixed size"),
    "norm": ([node("InstanceNormalization", ["x", "g", "g"], ["y"])], {"g": weight(8)}, "of fixed size"),
    "halves": ([node("Split", ["x", "s"], ["a", "b"], axis=1), node("Concat", ["b", "a"], ["y"], axis=1)],
               {"s": np.array([2, 6])}, "in a concatenation"),
    "shuffle": ([node("Reshape", ["x", "a"], ["p"]), node("Transpose", ["p"], ["q"], perm=[0, 2, 1, 3, 4]),
                 node("Reshape", ["q", "b"], ["y"])],
                {"a": np.array([0, 2, 4, 8, 8]), "b": np.array([0, 8, 8, 8])}, "of fixed size"),
    "softmax": ([node("Softmax", ["x"], ["y"], axis=1)], {}, "tells channels apart"),
    "groups": ([node("Conv", ["x", "g"], ["y"], group=2)], {"g": weight(8, 4, 1, 1)}, "several groups"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FIXED)
def test_what_no_layer_knows_of_stays(kind: str) -> None:
    """With the reason; every group that is offered can really go."""
    between, weights, reason = FIXED[kind]
    nodes = [node("Conv", ["image", "w"], ["x"], pads=[1, 1, 1, 1]), *between, node("Relu", ["y"], ["r"]),
             node("Conv", ["r", "v"], ["z"]), node("Relu", ["z"], ["u"]), node("Conv", ["u", "t"], ["m"]),
             node("ReduceMax", ["m"], ["score"], keepdims=0)]  # fmt: skip
    known = {"w": weight(8, 3, 3, 3), "v": weight(8, 8, 1, 1), "t": weight(2, 8, 1, 1), **weights}
    found = surveyed(read(model_of(nodes, known)).detector)
    (first, *_) = found.reasons
    assert reason in found.reasons[first]
    assert found.groups, "the second convolution's channels are free"


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("step", [Prune(keep=0.5, epochs=1), Prune(keep=0.8, allocation="knapsack", epochs=0)], ids=str)
def test_a_narrower_graph(kind: str, step: Prune) -> None:
    """Is smaller, comes back from its bundle, and is exported; the graph that was passed in is unchanged."""
    detector = small_graph(kind)
    before = score_images(detector.deployed(), IMAGES)
    pruned = apply_step(detector, step, work_for(detector))
    assert pruned.parameters() < detector.parameters()
    np.testing.assert_array_equal(before, score_images(detector.deployed(), IMAGES))
    again = from_bundle(bundle(pruned))
    wanted = score_images(pruned.deployed(), IMAGES)
    np.testing.assert_allclose(score_images(again.deployed(), IMAGES), wanted, rtol=1e-5)
    assert len(export_detector(pruned, target()).model) < len(export_detector(detector, target()).model)


def test_the_price_is_that_of_the_trained_network() -> None:
    """Bare, it has the same shapes."""
    detector = small_graph("restoring")
    bare = apply_step(detector, Prune(keep=0.5), work_for(detector, effort=0.0))
    trained = apply_step(detector, Prune(keep=0.5, epochs=1), work_for(detector))
    assert [w.shape for w in bare.module.parameters()] == [w.shape for w in trained.module.parameters()]


def test_it_is_quantized_again() -> None:
    """After INT8, a pruned graph has the formats of its own activations."""
    detector = small_graph("restoring")
    work = work_for(detector)
    pruned = apply_step(apply_step(detector, Quantize(), work), Prune(keep=0.5, epochs=4), work)
    assert pruned.quantization == Quantize()
    file = export_detector(pruned, target()).model
    assert len(file) < len(export_detector(apply_step(detector, Quantize(), work), target()).model)


def test_nothing_to_remove_is_said() -> None:
    """A knapsack that asks for less than there can be names what is possible."""
    detector = small_graph("student-teacher")
    with pytest.raises(UsageError, match=r"the narrowest network has .* keep more"):
        apply_step(detector, Prune(keep=0.3, allocation="knapsack", epochs=0), work_for(detector))


def test_every_removal_is_exact() -> None:
    """Without channels that nobody reads, the network computes the same."""
    from budgetc.passes.pruning.groups import layer_of, narrow

    for kind in MODULES:
        subject = subject_of(small_graph(kind), "student")
        for group in subject.groups():
            with torch.no_grad():
                for name, inputs in group.consumers.items():
                    layer_of(subject.network.get_submodule(name)).weight[:, inputs[[1, 3]].flatten()] = 0.0
        before = subject.forward(subject.network, subject.example)
        removed = {group.root: [1, 3] for group in subject.groups()}
        narrow(subject.network, removed, subject.example, subject.forward)
        for a, b in zip(before, subject.forward(subject.network, subject.example), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

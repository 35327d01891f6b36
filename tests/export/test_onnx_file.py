"""The exported file as a whole."""

from dataclasses import replace

import onnx
import pytest
import torch

from budgetc.core.plan import Fp16, Quantize
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.detectors.families import build
from budgetc.detectors.gaussian import GaussianConfig
from budgetc.detectors.rounding import ActivationFormat
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.export.onnx_file import export_detector
from budgetc.passes.fp16 import fp16
from budgetc.passes.quantize import quantize
from tests.export.single import tensors
from tests.small import FAMILIES, SIZE, lively, plain, small, small_stfpm, small_vae, target, work_for


def _rounded(detector: Detector) -> Detector:
    return fp16(quantize(detector, Quantize(), work_for(detector)), Fp16())


@pytest.mark.parametrize("opset", [13, 15, 17])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_has_the_opset_of_the_target(family: str, opset: int) -> None:
    """Exactly that one and no other domain, at an IR version the target reads, INT8 and FP16 included."""
    wanted = target(max_opset=opset, max_ir_version=8)
    model = onnx.load_model_from_string(export_detector(_rounded(small(family)), wanted).model)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", opset)]
    assert model.ir_version <= 8


@pytest.mark.parametrize("family", FAMILIES)
def test_all_shapes_are_static(family: str) -> None:
    """Batch 1, the size of the configuration, and outputs as DESIGN declares them."""
    detector = small(family)
    graph = onnx.load_model_from_string(export_detector(detector, target()).model).graph
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)}
    of_a_map = {"map": [1, 1, *detector.config.input_size]}
    second = {"vae": {"kl": [1, 4]}, "flow_vae": {"d_h": [1], "d_v": [1]}}.get(family, of_a_map)
    assert shapes == {"image": list(detector.config.input_shape), "score": [1], **second}
    assert not {"Shape", "NonZero", "If", "Loop"} & {node.op_type for node in graph.node}


def test_the_decoder_of_a_vae_is_not_in_the_file() -> None:
    """Weights in the file are those of the encoder, its BatchNorm folded away."""
    detector = small_vae()
    exported = export_detector(detector, target())
    stored = sum(t.size for t in tensors(exported.model).values() if t.ndim > 1)
    encoder = detector.module.encoder
    weights = [w for w in encoder.parameters() if w.dim() > 1]  # type: ignore[union-attr]
    assert stored == sum(weight.numel() for weight in weights)
    assert exported.outputs == ("score", "kl")


def test_stages_after_the_last_tap_are_never_built() -> None:
    """A ResNet whose last tap is layer1 has no layer2, neither in torch nor in the file."""
    teacher = BackboneConfig(arch="resnet18", taps=(1,))
    detector = lively(build("stfpm", StfpmConfig(
        input_size=SIZE, teacher=teacher,
        student=BackboneConfig(arch="plain", widths=(8, 64), depth=0, taps=(1,)),
    )))  # fmt: skip
    module = detector.module
    assert isinstance(module, Stfpm) and len(module.teacher.stages) == 1
    exported = export_detector(detector, target())
    assert exported.parameters < 170_000  # layer1 and stem have 157,504 with BatchNorm


def test_inner_names_cost_no_bytes() -> None:
    """Renamed tensors: nothing of torch's dotted names is left in the file."""
    data = export_detector(small_stfpm(), target()).model
    assert b"student" not in data and b"conv.weight" not in data


@pytest.mark.parametrize("family", FAMILIES)
def test_exporting_leaves_the_detector_as_it_was(family: str) -> None:
    """Folding and halving happen in a copy."""
    detector = _rounded(small(family))
    before = weights_digest(detector.module)
    export_detector(detector, target())
    assert weights_digest(detector.module) == before


def test_exporting_twice_gives_the_same_bytes() -> None:
    """Digests of files can be compared."""
    detector = _rounded(small_stfpm())
    assert export_detector(detector, target()).model == export_detector(detector, target()).model


@pytest.mark.parametrize("family", FAMILIES)
def test_structure_is_about_shapes_and_formats_only(family: str) -> None:
    """Other weights keep the digest; INT8 changes it."""
    first = small(family)
    torch.manual_seed(99)
    other = lively(build(family, first.config))
    digests = [export_detector(d, target()).structure for d in (first, other, _rounded(first), _rounded(other))]
    assert digests[0] == digests[1] != digests[2] == digests[3]


def test_another_input_size_is_another_structure() -> None:
    """The same weights on a larger picture cost more time."""
    sizes = ((32, 32), (64, 64))
    made = [build("gaussian", GaussianConfig(input_size=size, backbone=plain(8, 8))) for size in sizes]
    small_one, large_one = (export_detector(one, target()).structure for one in made)
    assert small_one != large_one


def test_equal_activation_formats_are_not_merged() -> None:
    """Bytes follow from the structure alone: two layers whose calibration gave one scale keep a constant each."""
    detector = _rounded(small_stfpm())
    same = replace(detector, formats={
        name: replace(known, output=known.output and ActivationFormat(0.05, 0))
        for name, known in detector.formats.items()
    })  # fmt: skip
    assert len(export_detector(detector, target()).model) == len(export_detector(same, target()).model)

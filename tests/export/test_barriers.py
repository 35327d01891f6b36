"""Float layers between integer ones."""

from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from budgetc.core.plan import Quantize
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.detector import Detector, as_input, score_images
from budgetc.detectors.families import build
from budgetc.detectors.gaussian import GaussianConfig
from budgetc.export import onnx_file
from budgetc.export.gate import fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.quantize import quantize
from tests.export.single import run_file
from tests.small import SIZE, lively, small_stfpm, small_vae, target, textures, work_for

INTEGER = ("QLinearConv", "QGemm")
KINDS = {
    "conv relu": ("stfpm", "student.stages.0.1"),
    "conv leaky": ("vae", "encoder.blocks.1"),
    "linear leaky": ("vae", "encoder.hidden.0"),
    "1x1 relu6": ("efficientnet", "backbone.stages.1.1.expand"),
    "depthwise": ("efficientnet", "backbone.stages.1.1.depthwise"),
    "padded depthwise": ("efficientnet", "backbone.stages.1.0.depthwise"),
    "1x1 without activation": ("efficientnet", "backbone.stages.1.1.project"),
}


def _detector(which: str) -> Detector:
    if which != "efficientnet":
        return {"stfpm": small_stfpm, "vae": small_vae}[which]()
    torch.manual_seed(0)
    backbone = BackboneConfig(arch="efficientnet_lite0", taps=(2,))
    return lively(build("gaussian", GaussianConfig(input_size=SIZE, backbone=backbone)))


def _mixed(kind: str, bits: int = 32) -> tuple[Detector, Detector]:
    """All in INT8, and the same with one layer in FP32."""
    which, name = KINDS[kind]
    detector = _detector(which)
    whole = quantize(detector, Quantize(), work_for(detector))
    known = replace(whole.formats[name], compute="fp32", weight_scale=(), stored_bits=bits, before_activation=None)  # type: ignore[arg-type]
    return whole, replace(whole, formats={**whole.formats, name: known})


def _integer(model: bytes) -> int:
    found: Counter[str] = fused_kernels(model)
    return sum(found[kind] for kind in INTEGER)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("bits", [16, 32])
def test_a_float_layer_between_integer_ones_stays_one(kind: str, bits: int) -> None:
    """One integer kernel less runs, and the file's scores are those of the network in torch."""
    whole, mixed = _mixed(kind, bits)
    images, file = textures(6, seed=5), export_detector(mixed, target()).model
    assert _integer(file) == _integer(export_detector(whole, target()).model) - 1
    expected = score_images(mixed.deployed(), images)
    found = np.concatenate([run_file(file, as_input(images[i : i + 1]).numpy())[0] for i in range(len(images))])
    assert np.abs(found - expected).max() <= 0.05 * np.ptp(expected)


def test_without_a_barrier_the_runtime_quantizes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the barrier is for: should a later onnxruntime leave such layers alone, it can go."""
    _, mixed = _mixed("conv relu")
    kept = _integer(export_detector(mixed, target()).model)
    monkeypatch.setattr(onnx_file, "keep_in_float", lambda model: 0)
    assert _integer(export_detector(mixed, target()).model) == kept + 1


def test_files_without_such_layers_have_no_barrier() -> None:
    """A first convolution reads no integers: nobody takes it for one."""
    whole, _ = _mixed("conv relu")
    model = onnx.load_model_from_string(export_detector(whole, target()).model)
    assert "Max" not in {node.op_type for node in model.graph.node}

"""Transposed convolutions and the sub-pixel form that has integer kernels."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import as_input, score_images
from budgetc.detectors.layers import units
from budgetc.detectors.reverse_distillation import ReverseConfig, subpixel_form
from budgetc.detectors.upsampling import SubpixelUnit, TransposedUnit, UpKernel, subpixel_weight, to_subpixel
from budgetc.export.gate import fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.quantize import quantize
from tests.export.single import run_file
from tests.small import small_reverse, target, textures, work_for


@given(
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)), size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.sampled_from([2, 4]), seed=st.integers(0, 99),
)  # fmt: skip
def test_the_rearranged_weight_computes_the_same(
    channels: tuple[int, int], size: tuple[int, int], kernel: int, seed: int
) -> None:
    """A convolution and a move of channels to places, for any weight, width and (odd) size, edges included."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(*channels, kernel, kernel, generator=generator, dtype=torch.float64)
    x = torch.randn(2, channels[0], *size, generator=generator, dtype=torch.float64)
    expected = F.conv_transpose2d(x, weight, stride=2, padding=kernel // 2 - 1)
    found = F.pixel_shuffle(F.conv2d(x, subpixel_weight(weight), padding=kernel // 2 - 1), 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kernel", [2, 4])
@pytest.mark.parametrize("norm", [False, True])
@torch.no_grad()
def test_a_unit_converts_with_its_normalization(kernel: UpKernel, norm: bool) -> None:
    """Before and after folding, all four agree."""
    torch.manual_seed(0)
    old, new = TransposedUnit(3, 5, kernel, norm=norm).eval(), SubpixelUnit(3, 5, kernel, norm=norm).eval()
    if isinstance(old.norm, torch.nn.BatchNorm2d):
        for name, value in old.norm.named_parameters():
            value.copy_(torch.linspace(0.5, 2, 5) * (1 if name == "weight" else -1))
        old.norm.get_buffer("running_mean").normal_()
        old.norm.get_buffer("running_var").uniform_(0.5, 2)
    to_subpixel(old, new)
    x = torch.randn(2, 3, 4, 6)
    expected = old(x)
    assert expected.shape == (2, 5, 8, 12) and expected.max() > 0
    torch.testing.assert_close(new(x), expected, rtol=1e-5, atol=1e-5)
    old.fold()
    new.fold()
    assert not any(isinstance(child, torch.nn.BatchNorm2d) for unit in (old, new) for child in unit.modules())
    torch.testing.assert_close(old(x), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(new(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", ["plain", "separable", "basic", "bottleneck"])
@pytest.mark.parametrize("up_kernel", [2, 4])
@torch.no_grad()
def test_a_detector_scores_the_same_in_both_forms(block: str, up_kernel: int) -> None:
    """Scores and maps within 1e-5, in torch and in the files; the converted one keeps its threshold."""
    detector = small_reverse(block=block, up_kernel=up_kernel, upsampling="transposed")
    converted, images = subpixel_form(detector), textures(4, seed=3)
    assert isinstance(converted.config, ReverseConfig) and converted.config.upsampling == "subpixel"
    assert not any(isinstance(unit, TransposedUnit) for _, unit in units(converted.module))
    image = as_input(images)
    for mine, theirs in zip(converted.deployed()(image), detector.deployed()(image), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)
    files = [export_detector(one, target()).model for one in (detector, converted)]
    kinds = [{node.op_type for node in onnx.load_model_from_string(file).graph.node} for file in files]
    assert "ConvTranspose" in kinds[0] and "ConvTranspose" not in kinds[1]
    scores = [run_file(file, image.numpy())[0] for file in files]
    np.testing.assert_allclose(scores[0], scores[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(scores[0], score_images(detector.deployed(), images), rtol=0, atol=1e-5)


def test_a_converted_detector_is_converted_once() -> None:
    """The other form, and every other family, is handed back as it is."""
    detector = small_reverse()
    assert subpixel_form(detector) is detector


@pytest.mark.parametrize("block", ["plain", "separable", "basic", "bottleneck"])
def test_everything_but_the_first_layer_runs_in_integer_kernels(block: str) -> None:
    """Sub-pixel convolutions, what is behind their move, additions of moved maps and the concatenation included."""
    detector = small_reverse(block=block)
    rounded = quantize(detector, Quantize(), work_for(detector))
    kernels = fused_kernels(export_detector(rounded, target()).model)
    assert kernels["ConvTranspose"] == 0
    convolutions = sum(hasattr(unit, "conv") for _, unit in units(detector.module))
    assert kernels["QLinearConv"] == convolutions - 1  # the first reads the picture
    # Two more smooth the map in FP32, as the score head does everything.
    assert kernels["Conv"] == 1 + 2
    assert kernels["QLinearConcat"] == 1


def test_a_transposed_convolution_has_no_integer_kernel() -> None:
    """What the sub-pixel form is for: in onnxruntime the rounded transposed form computes those layers in FP32."""
    detector = small_reverse(upsampling="transposed")
    rounded = quantize(detector, Quantize(), work_for(detector))
    assert fused_kernels(export_detector(rounded, target()).model)["ConvTranspose"] == 2

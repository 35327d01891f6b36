"""INT8 files: what onnxruntime computes is what fake quantization computed in torch."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import as_input
from budgetc.detectors.layers import ConvUnit, units
from budgetc.errors import BudgetcError
from budgetc.export.gate import INTEGER_KERNELS, check_kernels, fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.quantize import quantize
from tests.export.single import SIDE, quantized, run_file, single, tensors
from tests.small import target, textures, work_for

KINDS = (
    "conv", "conv relu6", "conv leaky", "1x1 without activation", "one channel", "depthwise", "linear",
    "linear leaky", "residual",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_integer_kernels_give_what_torch_gave(kind: str) -> None:
    """The same integers; a float sum in another order, or the runtime's addition of two, may flip one in a thousand."""
    detector = quantized(kind)
    image = as_input(textures(4, seed=5, size=(SIDE, SIDE)))
    with torch.no_grad():
        expected = detector.deployed()(image).numpy()
    (found,) = run_file(export_detector(detector, target()).model, image.numpy())
    outputs = [known.output for known in detector.formats.values()]
    assert outputs[-1] is not None
    steps = np.abs(found - expected) / outputs[-1].scale
    assert steps.max() <= 1.01
    assert (steps > 0.01).mean() < 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_every_quantized_layer_is_an_integer_kernel(kind: str) -> None:
    """No convolution, linear layer or addition is left in FP32 in the graph that the runtime executes."""
    detector = quantized(kind)
    kernels = fused_kernels(export_detector(detector, target()).model)
    assert sum(kernels[name] for name in INTEGER_KERNELS) == sum(f.compute == "int8" for f in detector.formats.values())
    assert not {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "Relu", "Clip"} & set(kernels)


@pytest.mark.parametrize("kind", ["conv", "conv relu6", "depthwise"])
def test_a_layer_whose_output_is_always_zero_is_an_integer_kernel(kind: str) -> None:
    """As in a bare structure, whose channels nobody chose: its scale must not let the activation bind."""
    detector = single(kind)
    last = [unit for _, unit in units(detector.module)][-1]
    assert isinstance(last, ConvUnit) and isinstance(last.norm, torch.nn.BatchNorm2d)
    last.norm.bias.data.fill_(-100)
    dead = quantize(detector, Quantize(first_convolution=True), work_for(detector))
    layers = sum(isinstance(unit, ConvUnit) for _, unit in units(detector.module))
    check_kernels(export_detector(dead, target()).model, layers)


def test_a_layer_that_would_run_in_fp32_is_found() -> None:
    """Without a rounded result there is no integer kernel, and the export says so instead of shipping it."""
    detector = quantized("conv")
    name = "layers.a"
    broken = replace(detector, formats={**detector.formats, name: replace(detector.formats[name], output=None)})
    with pytest.raises(BudgetcError, match="1 layers are quantized, but the runtime fuses only 0"):
        export_detector(broken, target())


def test_the_gate_counts_kernels_in_any_file() -> None:
    """A float file has none."""
    model = export_detector(single("conv"), target()).model
    check_kernels(model, 0)
    with pytest.raises(BudgetcError, match="2 layers are quantized"):
        check_kernels(model, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_lie_in_the_file_as_integers(kind: str) -> None:
    """No matrix or kernel of more than one dimension is stored in floating point."""
    weights = [t for t in tensors(export_detector(quantized(kind), target()).model).values() if t.ndim > 1]
    assert weights and all(weight.dtype == np.int8 for weight in weights)


@pytest.mark.parametrize("levels", [63, 127])
def test_stored_integers_span_the_levels_of_the_target(levels: int) -> None:
    """7 bits where products of 8 would saturate, 8 bits elsewhere, symmetric in both."""
    stored = tensors(export_detector(quantized("conv", levels=levels), target()).model)
    kernel = next(t for t in stored.values() if t.ndim == 4)
    per_channel = np.abs(kernel.astype(np.int32)).reshape(len(kernel), -1).max(1)
    assert (per_channel == levels).all()
    assert all(not t.any() for t in stored.values() if t.dtype == np.int8 and t.ndim == 1)  # weight zero points


@pytest.mark.parametrize("kind", ["conv", "conv relu6", "depthwise", "residual"])
def test_activations_are_unsigned_from_zero_after_clipping(kind: str) -> None:
    """The last Q of the graph has a U8 zero point of 0."""
    data = export_detector(quantized(kind), target()).model
    graph, stored = onnx.load_model_from_string(data).graph, tensors(data)
    last = [node for node in graph.node if node.op_type == "QuantizeLinear"][-1]
    zero = stored[last.input[2]]
    assert zero.dtype == np.uint8 and zero == 0

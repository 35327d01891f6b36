"""Number formats and fake quantization."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import weights_digest
from budgetc.detectors.layers import units
from budgetc.detectors.rounding import (
    ActivationFormat,
    FakeQuantize,
    NumberFormat,
    activation_format,
    rounded_copy,
    weight_scales,
)
from budgetc.passes.quantize import quantize
from tests.small import SIZE, small_vae, work_for


@given(low=st.floats(-1e3, 0), high=st.floats(0, 1e3))
def test_zero_is_exact_in_every_activation_format(low: float, high: float) -> None:
    """Padding and dead ReLUs are zeros: the zero point is a U8 number whose value is 0."""
    chosen = activation_format(low, high)
    assert 0 <= chosen.zero_point <= 255
    rounding = FakeQuantize(NumberFormat("int8", output=chosen))
    assert rounding.output(torch.zeros(1)).item() == 0


def test_what_is_never_negative_has_zero_point_zero() -> None:
    """onnxruntime fuses a ReLU into the integer kernel only with zero point 0; all 255 steps serve the range."""
    assert activation_format(0.7, 5.1) == ActivationFormat(5.1 / 255, 0)


@given(low=st.floats(-100, 0), high=st.floats(0.001, 100), share=st.floats(0, 1))
def test_values_in_the_range_move_by_half_a_step(low: float, high: float, share: float) -> None:
    """Nothing inside the observed range is clipped by more than the rounding of the zero point."""
    chosen = activation_format(low, high)
    x = torch.tensor([low + share * (high - low)])
    moved = (FakeQuantize(NumberFormat("int8", output=chosen)).output(x) - x).abs().item()
    assert moved <= chosen.scale * 1.01


@pytest.mark.parametrize("levels", [63, 127])
def test_the_largest_weight_of_a_channel_takes_all_levels(levels: int) -> None:
    """Each output channel has its own scale: its largest weight over the levels of the target."""
    weight = torch.tensor([[1.0, -2.0], [0.1, 0.05]])
    assert weight_scales(weight, levels) == pytest.approx((2 / levels, 0.1 / levels))


def test_a_dead_channel_has_a_usable_scale() -> None:
    """All weights zero: the scale is positive, and the weights stay zero."""
    scales = weight_scales(torch.zeros(2, 3), 63)
    rounding = FakeQuantize(NumberFormat("int8", scales))
    assert min(scales) > 0
    assert not rounding.weight(torch.zeros(2, 3)).any()


def test_rounded_weights_are_whole_steps_of_their_channel() -> None:
    """The fake-quantized weight over its scale is an integer within the levels."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    scales = weight_scales(weight, 63)
    steps = FakeQuantize(NumberFormat("int8", scales)).weight(weight) / torch.tensor(scales).view(-1, 1, 1, 1)
    assert (steps - steps.round()).abs().max() < 1e-3
    assert steps.abs().max().round() == 63


def test_halves_round_to_what_fp16_holds() -> None:
    """A weight that is stored in 16 bits is exactly its FP16 value, and learns as if it were not rounded."""
    weight = torch.randn(8, 4, requires_grad=True)
    rounded = FakeQuantize(NumberFormat("fp32", stored_bits=16)).weight(weight)
    assert torch.equal(rounded, weight.detach().half().float())
    rounded.sum().backward()
    assert torch.equal(weight.grad, torch.ones(8, 4))  # type: ignore[arg-type]


def test_gradients_pass_inside_the_range_only() -> None:
    """Straight-through: 1 where the value is representable, 0 where it is clipped."""
    x = torch.tensor([-1.0, 0.5, 3.0], requires_grad=True)
    FakeQuantize(NumberFormat("int8", output=activation_format(0, 1))).output(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 0]


def test_a_rounded_copy_leaves_the_original_untouched() -> None:
    """Weights, rounding and outputs of the module that was copied stay as they were; the copy's outputs differ."""
    detector = small_vae()
    formats = quantize(detector, Quantize(first_convolution=True), work_for(detector)).formats
    before, image = weights_digest(detector.module), torch.rand(2, 3, *SIZE)
    with torch.no_grad():
        outputs = detector.module.deployed()(image)[0]  # type: ignore[operator]
        copy = rounded_copy(detector.module, formats)
        assert not torch.equal(copy.deployed()(image)[0], outputs)  # type: ignore[operator]
        assert torch.equal(detector.module.deployed()(image)[0], outputs)  # type: ignore[operator]
    assert weights_digest(detector.module) == before
    assert all(unit.rounding is None for _, unit in units(detector.module))


def test_a_rounded_copy_without_formats_rounds_nothing() -> None:
    """What training under rounding leaves behind becomes a float network again."""
    detector = small_vae()
    formats = quantize(detector, Quantize(), work_for(detector)).formats
    plain = rounded_copy(rounded_copy(detector.module, formats), {})
    assert all(unit.rounding is None for _, unit in units(plain))

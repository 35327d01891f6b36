"""Number formats, and the fake quantization that gives torch the runtime's arithmetic.

Activations are U8 per tensor with zero point 0 wherever nothing negative occurs, weights S8 per
output channel. onnxruntime fuses exactly this into integer kernels (QLinearConv, QGemm).
How a weight computes and how it lies in the file are two things: a file holds codes of 2 to 8 bits whatever computes.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit, LinearUnit, Unit, units

StoredBits = Literal[2, 3, 4, 5, 6, 8, 16, 32]
_U8_MAX = 255
_S8_MIN, _S8_MAX = -128, 127
_BIAS_STEP = 2.0**-20
"""Least weight scale over bias: leaves 11 bits of an INT32 to the steps of inputs below one."""


@dataclass(frozen=True, slots=True)
class ActivationFormat:
    """U8 per tensor: value = scale * (stored - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How one unit computes, and how its weight lies in the file."""

    compute: Literal["fp32", "int8"]
    weight_scale: tuple[float, ...] = ()
    """Scale of each output channel where the weight is stored in 8 bits or fewer; else empty."""
    output: ActivationFormat | None = None
    """How the unit's result is rounded; None leaves it in FP32."""
    before_activation: ActivationFormat | None = None
    """Same for the result of the layer where its activation cannot be fused."""
    stored_bits: StoredBits = 32
    levels: tuple[int, ...] = ()
    """The integers that the codes of fewer than 8 bits stand for, ascending: weight = scale * level."""
    half_vectors: bool = False
    """Scales and bias are FP16 in the file."""


def activation_format(low: float, high: float) -> ActivationFormat:
    """U8 format of values in [low, high]; 0 is always exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    # What is always zero has any scale that lets no activation bind, or the runtime would keep that as a layer of its
    # own; a tiny one would make the steps of the next layer's bias overflow.
    scale = max((high - low) / _U8_MAX, 1e-8) if high > low else 1 / _U8_MAX
    return ActivationFormat(scale, round(-low / scale))


def weight_scales(weight: Tensor, levels: int, bias: Tensor | None = None) -> tuple[float, ...]:
    """Scale per output channel so that the largest weight takes `levels` steps (63 or 127)."""
    largest = weight.detach().abs().flatten(1).amax(1)
    return tuple((largest / levels).clamp(min=least_scales(bias, len(weight))).tolist())


def least_scales(bias: Tensor | None, channels: int) -> Tensor:
    """(channels,) smallest weight scales with which the bias, an INT32 in units of weight and input step, stays finite.

    Only channels whose weights are almost zero come near: nothing is lost by coarser steps there.
    """
    least = torch.full((channels,), 1e-8)
    return least if bias is None else torch.maximum(least, bias.detach().abs() * _BIAS_STEP)


class FakeQuantize(nn.Module):
    """Rounds as the integer kernel will; gradients pass straight through inside the range."""

    def __init__(self, number_format: NumberFormat) -> None:
        super().__init__()
        self.number_format = number_format
        scale = torch.tensor(number_format.weight_scale, dtype=torch.float32)
        self.register_buffer("weight_scale", scale, persistent=False)
        self.register_buffer("weight_zero", torch.zeros(len(scale), dtype=torch.int32), persistent=False)

    def weight(self, weight: Tensor) -> Tensor:
        """(out, ...) rounded per output channel, or to FP16 where it is stored so."""
        known = self.number_format
        if known.stored_bits == 16:
            return weight + (weight.half().float() - weight).detach()
        if known.stored_bits == 32 and known.compute == "fp32":
            return weight
        scale = self.get_buffer("weight_scale")
        if known.levels:
            return _to_levels(weight, scale, known.levels)
        return torch.fake_quantize_per_channel_affine(
            weight, scale, self.get_buffer("weight_zero"), 0, _S8_MIN, _S8_MAX
        )

    def bias(self, bias: Tensor | None) -> Tensor | None:
        """(out,) as it is stored; INT8 kernels round it further, to steps of their sums."""
        if bias is None or not self.number_format.half_vectors:
            return bias
        return bias + (bias.half().float() - bias).detach()

    def before_activation(self, x: Tensor) -> Tensor:
        """Rounded where a format is given."""
        return _rounded(x, self.number_format.before_activation)

    def output(self, x: Tensor) -> Tensor:
        """Rounded where a format is given."""
        return _rounded(x, self.number_format.output)


def _to_levels(weight: Tensor, scale: Tensor, levels: tuple[int, ...]) -> Tensor:
    """(out, ...) at the nearest level; gradients pass straight through, but not beyond the outermost levels."""
    table = torch.tensor(levels, dtype=torch.float32)
    scale = scale.view(-1, *[1] * (weight.ndim - 1))
    inside = torch.minimum(torch.maximum(weight, table[0] * scale), table[-1] * scale)
    return inside + (table[level_codes(weight.detach() / scale, table)] * scale - inside).detach()


def level_codes(values: Tensor, table: Tensor) -> Tensor:
    """Index of the nearest of ascending levels, for every value."""
    return torch.bucketize(values.contiguous(), (table[1:] + table[:-1]) / 2)


def _rounded(x: Tensor, wanted: ActivationFormat | None) -> Tensor:
    if wanted is None:
        return x
    return torch.fake_quantize_per_tensor_affine(x, wanted.scale, wanted.zero_point, 0, _U8_MAX)


def rounded_copy(module: nn.Module, formats: Mapping[str, NumberFormat]) -> nn.Module:
    """A copy of the module whose named units round as their formats say."""
    result = copy.deepcopy(module)
    for name, unit in units(result):
        unit.rounding = FakeQuantize(formats[name]) if name in formats else None
    return result


def unit_weight(unit: Unit) -> Tensor | None:
    """The weight as it is deployed, BatchNorm folded; None where there is none."""
    return unit.folded()[0] if isinstance(unit, ConvUnit | LinearUnit) else None


def unit_bias(unit: Unit) -> Tensor | None:
    """The bias as it is deployed; None where there is none."""
    return unit.folded()[1] if isinstance(unit, ConvUnit | LinearUnit) else None

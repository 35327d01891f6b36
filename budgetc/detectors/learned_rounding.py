"""Fake quantization whose ranges learn with the weights."""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from budgetc.detectors.layers import units
from budgetc.detectors.rounding import ActivationFormat, FakeQuantize, NumberFormat, rounded_copy, unit_weight

_PLACES = ("output", "before_activation")


class LearnedRounding(FakeQuantize):
    """Rounds as its format says at first; then scales of activations are learned, and those of weights follow them.

    Esser et al., "Learned Step Size Quantization" (ICLR 2020, arXiv 1902.08153), of logarithms, so that one learning
    rate suits all. The largest weight of a channel keeps the step it had: what the target's kernels can hold stays so.
    """

    def __init__(self, known: NumberFormat, weight: Tensor | None) -> None:
        super().__init__(known)
        found = {place: getattr(known, place) for place in _PLACES}
        self.log_scales = nn.ParameterDict(
            {place: nn.Parameter(torch.tensor(math.log(one.scale))) for place, one in found.items() if one is not None}
        )
        scale = self.get_buffer("weight_scale")
        share = scale if weight is None or not len(scale) else scale / _largest(weight)
        self.register_buffer("share", share, persistent=False)

    @property
    def rounds(self) -> bool:
        """Whether anything of the unit is INT8."""
        return self.number_format.compute == "int8" or len(self.log_scales) > 0

    def weight(self, weight: Tensor) -> Tensor:
        """(out, ...) rounded per output channel."""
        if self.number_format.weight_scale:
            self.weight_scale = self.get_buffer("share") * _largest(weight)
        return super().weight(weight)

    def before_activation(self, x: Tensor) -> Tensor:
        """Rounded where a format is given."""
        return self._learned("before_activation", x)

    def output(self, x: Tensor) -> Tensor:
        """Rounded where a format is given."""
        return self._learned("output", x)

    def _learned(self, place: str, x: Tensor) -> Tensor:
        if place not in self.log_scales:
            return x
        known: ActivationFormat = getattr(self.number_format, place)
        zero = torch.tensor([float(known.zero_point)])
        scale = self.log_scales[place].exp().view(1)
        # What torch.ao's own learnable quantizer calls; the public operators have no gradient for the scale.
        rounded: Tensor = torch._fake_quantize_learnable_per_tensor_affine(x, scale, zero, 0, 255, 1.0)
        return rounded

    def settled(self, weight: Tensor | None) -> NumberFormat:
        """The format that was learned for what the weight has become."""
        known = self.number_format
        scales = known.weight_scale
        if weight is not None and scales:
            scales = tuple((self.get_buffer("share") * _largest(weight)).tolist())
        places = {
            place: replace(getattr(known, place), scale=math.exp(scale.item()))
            for place, scale in self.log_scales.items()
        }
        return replace(known, weight_scale=scales, **places)


def _largest(weight: Tensor) -> Tensor:
    """(out, ...) -> (out,)."""
    return weight.detach().abs().flatten(1).amax(1).clamp(min=1e-8)


def learning_copy(module: nn.Module, formats: Mapping[str, NumberFormat]) -> nn.Module:
    """A copy of the module whose named units round and learn how.

    The others round nothing, but fold their BatchNorm as these do: its statistics stay as they are.
    """
    result = rounded_copy(module, {})
    for name, unit in units(result):
        unit.rounding = LearnedRounding(formats.get(name, NumberFormat("fp32")), unit_weight(unit))
    return result


def settle(module: nn.Module) -> tuple[nn.Module, dict[str, NumberFormat]]:
    """The float network and the formats that a `learning_copy` has learned, of all units."""
    formats = {
        name: unit.rounding.settled(unit_weight(unit))
        for name, unit in units(module)
        if isinstance(unit.rounding, LearnedRounding)
    }
    return rounded_copy(module, {}), formats

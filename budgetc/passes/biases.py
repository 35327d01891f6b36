"""Biases of quantized layers: corrected by what rounding shifts, and rounded as the runtime rounds them."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.detectors.detector import Detector, as_input, deployed_part
from budgetc.detectors.layers import ConvUnit, LinearUnit, Unit, units
from budgetc.detectors.rounding import rounded_copy, unit_bias
from budgetc.passes.readers import sources_of


@torch.no_grad()
def correct_biases(detector: Detector, images: NDArray[np.uint8]) -> nn.Module:
    """The float network of a quantized detector, with biases that give every rounded layer the mean of the float one.

    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (ICCV 2019, arXiv
    1906.04721), appendix D: the empirical correction. Layers are corrected in the order they compute, each with the
    shift of those before it taken out: one forward pass, since all pictures go through together.

    Args:
        detector: has the formats; its network is left alone.
        images: (n, 3, height, width) normals.
    """
    batch = as_input(images)
    plain = copy.deepcopy(detector.module).eval()
    wanted: dict[str, Tensor] = {}
    for name, unit in _layers(plain, detector):
        unit.activation.register_forward_pre_hook(lambda _, x, name=name: wanted.update({name: _mean(x[0])}))
    deployed_part(plain)(batch)
    rounded, shifts = rounded_copy(detector.module, detector.formats).eval(), dict[str, Tensor]()

    def correct(name: str, x: Tensor) -> Tensor:
        shifts[name] = wanted[name] - _mean(x)
        return x + shifts[name].view(1, -1, *[1] * (x.dim() - 2))

    for name, unit in _layers(rounded, detector):
        unit.activation.register_forward_pre_hook(lambda _, x, name=name: correct(name, x[0]))
    deployed_part(rounded)(batch)
    corrected = copy.deepcopy(detector.module)
    for name, unit in units(corrected):
        if name in shifts:
            bias_of(unit).add_(shifts[name])
    return corrected


@torch.no_grad()
def round_biases(detector: Detector, image: NDArray[np.uint8]) -> nn.Module:
    """The float network of a quantized detector, the biases of its integer layers whole steps of their sums.

    An integer kernel adds a bias of 32 bits in steps of input scale times weight scale. With few inputs, as in
    depthwise layers, that is up to a sixth of a step of the result, and torch would not know what the runtime rounds
    off (measured on magnetic tiles: scores of the file and of torch were twice as far apart).

    Args:
        detector: has the formats; its network is left alone.
        image: (1, 3, height, width), any.
    """
    rounded = copy.deepcopy(detector.module)
    sources = sources_of(rounded, image)
    for name, unit in units(rounded):
        known, inputs = detector.formats.get(name), [detector.formats.get(one) for one in sources.get(name, ())]
        if known is None or not known.weight_scale or len(inputs) != 1:
            continue
        (source,) = inputs
        if source is not None and source.output is not None:
            step = torch.tensor(known.weight_scale, dtype=torch.float64) * source.output.scale
            bias = unit_bias(unit)
            if bias is None:  # of a transposed convolution, which no integer kernel computes
                continue
            bias_of(unit).add_(((bias / step).round() * step - bias).float())
    return rounded


def _layers(module: nn.Module, detector: Detector) -> list[tuple[str, Unit]]:
    return [
        (name, unit)
        for name, unit in units(module)
        if isinstance(unit, (ConvUnit, LinearUnit)) and name in detector.formats
    ]


def _mean(x: Tensor) -> Tensor:
    """(b, c, ...) -> (c,)."""
    return x.transpose(0, 1).flatten(1).mean(1)


def bias_of(unit: Unit) -> Tensor:
    """What a constant added to it adds to the layer's result."""
    match unit:
        case ConvUnit():
            bias = unit.norm.bias if isinstance(unit.norm, nn.BatchNorm2d) else unit.conv.bias
        case LinearUnit():
            bias = unit.linear.bias
        case _:
            bias = None
    assert isinstance(bias, Tensor), "every layer of a unit has a bias or a BatchNorm"
    return bias.data

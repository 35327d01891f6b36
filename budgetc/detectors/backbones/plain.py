"""A plain stack of 3x3 convolutions in any width: what small students and teachers are made of."""

from torch import nn

from budgetc.detectors.backbones.config import BackboneConfig
from budgetc.detectors.layers import ConvUnit


def plain_stages(config: BackboneConfig) -> list[nn.Module]:
    """One stage a width up to the last tap: a stride-2 convolution, then `depth` stride-1 ones, all 3x3 with ReLU."""
    stages: list[nn.Module] = []
    inputs = config.inputs
    for width in config.widths[: config.stage_count]:
        layers = _layers(inputs, width, stride=2, config=config)
        for _ in range(config.depth):
            layers += _layers(width, width, stride=1, config=config)
        stages.append(nn.Sequential(*layers))
        inputs = width
    return stages


def _layers(inputs: int, outputs: int, *, stride: int, config: BackboneConfig) -> list[nn.Module]:
    """One convolution, or a depthwise and a 1x1 one: Howard et al., "MobileNets" (arXiv 1704.04861), section 3.1."""
    if not config.separable or inputs == 3:
        return [ConvUnit(inputs, outputs, 3, stride=stride, norm=config.norm)]
    return [
        ConvUnit(inputs, inputs, 3, stride=stride, groups=inputs, norm=config.norm),
        ConvUnit(inputs, outputs, 1, norm=config.norm),
    ]

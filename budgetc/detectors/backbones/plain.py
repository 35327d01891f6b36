"""A plain stack of 3x3 convolutions in any width: what small students and teachers are made of."""

from torch import nn

from budgetc.detectors.layers import ConvUnit


def plain_stages(widths: tuple[int, ...], depth: int, *, norm: bool) -> list[nn.Module]:
    """One stage a width: a stride-2 convolution, then `depth` stride-1 ones, all 3x3 with ReLU."""
    stages: list[nn.Module] = []
    inputs = 3
    for width in widths:
        layers = [ConvUnit(inputs, width, 3, stride=2, norm=norm)]
        layers += [ConvUnit(width, width, 3, norm=norm) for _ in range(depth)]
        stages.append(nn.Sequential(*layers))
        inputs = width
    return stages

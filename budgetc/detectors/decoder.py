"""Blocks that a feature map goes down and up through: of a residual network, and plain ones."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from budgetc.detectors.backbones.resnet import BasicBlock, Bottleneck
from budgetc.detectors.layers import AddUnit, ConvUnit
from budgetc.detectors.upsampling import UpKernel, Upsampling, up_unit

Block = Literal["bottleneck", "basic", "plain", "separable"]
"""Residual blocks of Wide-ResNet-50-2 and of ResNet-18; convolutions alone, dense or a depthwise and a 1x1 one each."""


@dataclass(frozen=True, slots=True)
class Style:
    """What all blocks of a network have in common."""

    block: Block
    upsampling: Upsampling
    up_kernel: UpKernel


def down_stage(inputs: int, outputs: int, depth: int, style: Style) -> nn.Sequential:
    """`depth` blocks, the first of stride 2: (b, in, h, w) -> (b, out, h / 2, w / 2)."""
    return nn.Sequential(_block(inputs, outputs, 2, style.block), *_more(outputs, depth, style.block))


def up_stage(inputs: int, outputs: int, depth: int, style: Style) -> nn.Sequential:
    """`depth` blocks, the first of which doubles the sides: (b, in, h, w) -> (b, out, 2h, 2w)."""
    return nn.Sequential(_up_block(inputs, outputs, style), *_more(outputs, depth, style.block))


class UpBasic(nn.Module):
    """`BasicBlock` with a transposed convolution in place of a strided one."""

    def __init__(self, inputs: int, outputs: int, style: Style) -> None:
        super().__init__()
        self.conv1 = up_unit(inputs, outputs, style.upsampling, style.up_kernel)
        self.conv2 = ConvUnit(outputs, outputs, 3, activation="none")
        self.upsample = up_unit(inputs, outputs, style.upsampling, style.up_kernel, activation="none")
        self.add = AddUnit()

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, 2h, 2w)."""
        result: Tensor = self.add(self.conv2(self.conv1(x)), self.upsample(x))
        return result


class UpBottleneck(nn.Module):
    """`Bottleneck` with a transposed convolution in place of a strided one."""

    def __init__(self, inputs: int, outputs: int, style: Style) -> None:
        super().__init__()
        width = outputs // 2
        self.conv1 = ConvUnit(inputs, width, 1)
        self.conv2 = up_unit(width, width, style.upsampling, style.up_kernel)
        self.conv3 = ConvUnit(width, outputs, 1, activation="none")
        self.upsample = up_unit(inputs, outputs, style.upsampling, style.up_kernel, activation="none")
        self.add = AddUnit()

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, 2h, 2w)."""
        result: Tensor = self.add(self.conv3(self.conv2(self.conv1(x))), self.upsample(x))
        return result


def _more(width: int, depth: int, block: Block) -> list[nn.Module]:
    return [_block(width, width, 1, block) for _ in range(depth - 1)]


def _up_block(inputs: int, outputs: int, style: Style) -> nn.Module:
    match style.block:
        case "bottleneck":
            return UpBottleneck(inputs, outputs, style)
        case "basic":
            return UpBasic(inputs, outputs, style)
        case "plain" | "separable":
            return up_unit(inputs, outputs, style.upsampling, style.up_kernel)


def _block(inputs: int, outputs: int, stride: int, block: Block) -> nn.Module:
    match block:
        case "bottleneck":
            return Bottleneck(inputs, outputs, stride, norm=True)
        case "basic":
            return BasicBlock(inputs, outputs, stride, norm=True)
        case "plain":
            return ConvUnit(inputs, outputs, 3, stride=stride)
        case "separable":
            depthwise = ConvUnit(inputs, inputs, 3, stride=stride, groups=inputs)
            return nn.Sequential(depthwise, ConvUnit(inputs, outputs, 1))

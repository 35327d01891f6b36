"""ResNet-18 and Wide-ResNet-50-2 as torchvision computes them, without the classifier.

He et al. 2016 (arXiv 1512.03385), tables 1 and figure 5; Zagoruyko & Komodakis 2016 (arXiv 1605.07146).
The stride of a bottleneck sits on its 3x3 convolution ("v1.5"), as in the published weights.
"""

from typing import Literal

from torch import Tensor, nn

from budgetc.detectors.layers import AddUnit, ConvUnit

STEM_WIDTH = 64
BLOCKS: dict[str, tuple[int, ...]] = {"resnet18": (2, 2, 2, 2), "wide_resnet50_2": (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (b, in, h, w) -> (b, out, h / stride, w / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, norm: bool) -> None:
        super().__init__()
        self.conv1 = ConvUnit(inputs, outputs, 3, stride=stride, norm=norm)
        self.conv2 = ConvUnit(outputs, outputs, 3, norm=norm, activation="none")
        self.downsample = _shortcut(inputs, outputs, stride, norm=norm)
        self.add = AddUnit()

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h / stride, w / stride)."""
        result: Tensor = self.add(self.conv2(self.conv1(x)), self.downsample(x))
        return result


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; twice as wide inside as ResNet-50's."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, norm: bool) -> None:
        super().__init__()
        width = outputs // 2
        self.conv1 = ConvUnit(inputs, width, 1, norm=norm)
        self.conv2 = ConvUnit(width, width, 3, stride=stride, norm=norm)
        self.conv3 = ConvUnit(width, outputs, 1, norm=norm, activation="none")
        self.downsample = _shortcut(inputs, outputs, stride, norm=norm)
        self.add = AddUnit()

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, h / stride, w / stride)."""
        result: Tensor = self.add(self.conv3(self.conv2(self.conv1(x))), self.downsample(x))
        return result


def resnet_stem(*, norm: bool) -> nn.Module:
    """7x7 stride-2 convolution and max pooling: (b, 3, H, W) -> (b, 64, H / 4, W / 4)."""
    return nn.Sequential(ConvUnit(3, STEM_WIDTH, 7, stride=2, norm=norm), nn.MaxPool2d(3, stride=2, padding=1))


def resnet_stages(arch: Literal["resnet18", "wide_resnet50_2"], count: int, *, norm: bool) -> list[nn.Module]:
    """The first `count` of layer1, layer2, layer3, layer4."""
    stages: list[nn.Module] = []
    inputs = STEM_WIDTH
    for index, blocks in enumerate(BLOCKS[arch][:count]):
        outputs = (64 if arch == "resnet18" else 256) * 2**index
        block = BasicBlock if arch == "resnet18" else Bottleneck
        layers = [block(inputs, outputs, 1 if index == 0 else 2, norm=norm)]
        layers += [block(outputs, outputs, 1, norm=norm) for _ in range(blocks - 1)]
        stages.append(nn.Sequential(*layers))
        inputs = outputs
    return stages


def _shortcut(inputs: int, outputs: int, stride: int, *, norm: bool) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return ConvUnit(inputs, outputs, 1, stride=stride, norm=norm, activation="none")

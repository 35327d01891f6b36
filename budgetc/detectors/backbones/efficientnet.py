"""EfficientNet-Lite0 without the classifier: Tan & Le 2019 (arXiv 1905.11946), table 1, lite variant.

No squeeze-and-excitation, ReLU6 throughout. The published weights want TensorFlow's "same" padding of
strided convolutions, one-sided on even sizes: with it the classifier is surer of photographs it knows
(72 crops of three scikit-image photographs, mean entropy 1.76 nats; 1.91 with symmetric padding).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.layers import AddUnit, ConvUnit

NORM_EPS = 1e-3
STEM_WIDTH = 32
# stage -> (expansion, kernel, output channels, stride of its first block, blocks)
STAGES: tuple[tuple[int, int, int, int, int], ...] = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 2, 3),
    (6, 5, 112, 1, 3),
    (6, 5, 192, 2, 4),
    (6, 3, 320, 1, 1),
)


class SamePad(nn.Module):
    """Zeros before a strided, unpadded convolution so that it yields ceil(size / stride); more at the end."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) -> the same with margins of zeros."""
        left, right = self._margins(int(x.shape[-1]))
        top, bottom = self._margins(int(x.shape[-2]))
        return F.pad(x, (left, right, top, bottom))

    def _margins(self, size: int) -> tuple[int, int]:
        total = max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)
        return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """Widen, filter each channel, project; shortcut where shapes allow (Sandler et al. 2018, arXiv 1801.04381)."""

    def __init__(self, shape: tuple[int, int], *, expansion: int, kernel: int, stride: int, norm: bool) -> None:
        super().__init__()
        inputs, outputs = shape
        width = inputs * expansion
        self.expand = nn.Identity() if expansion == 1 else _unit(inputs, width, 1, norm=norm)
        self.pad = SamePad(kernel, stride) if stride > 1 else nn.Identity()
        self.depthwise = ConvUnit(
            width,
            width,
            kernel,
            stride=stride,
            padding=0 if stride > 1 else None,
            groups=width,
            norm=norm,
            eps=NORM_EPS,
            activation="relu6",
        )
        self.project = ConvUnit(width, outputs, 1, norm=norm, eps=NORM_EPS, activation="none")
        self.add = AddUnit(activation="none") if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, h, w) -> (b, out, ceil(h / stride), ceil(w / stride))."""
        result: Tensor = self.project(self.depthwise(self.pad(self.expand(x))))
        return result if self.add is None else self.add(result, x)


def efficientnet_stem(*, norm: bool) -> nn.Module:
    """3x3 stride-2 convolution: (b, 3, H, W) -> (b, 32, ceil(H / 2), ceil(W / 2))."""
    conv = ConvUnit(3, STEM_WIDTH, 3, stride=2, padding=0, norm=norm, eps=NORM_EPS, activation="relu6")
    return nn.Sequential(SamePad(3, 2), conv)


def efficientnet_stages(count: int, *, norm: bool) -> list[nn.Module]:
    """The first `count` of the seven stages; strides 2, 4, 8, 16, 16, 32, 32 of the input."""
    stages: list[nn.Module] = []
    inputs = STEM_WIDTH
    for expansion, kernel, outputs, stride, blocks in STAGES[:count]:
        layers = []
        for index in range(blocks):
            step = stride if index == 0 else 1
            layers.append(
                InvertedResidual((inputs, outputs), expansion=expansion, kernel=kernel, stride=step, norm=norm)
            )
            inputs = outputs
        stages.append(nn.Sequential(*layers))
    return stages


def _unit(inputs: int, outputs: int, kernel: int, *, norm: bool) -> ConvUnit:
    return ConvUnit(inputs, outputs, kernel, norm=norm, eps=NORM_EPS, activation="relu6")

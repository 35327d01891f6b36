"""Doubling the sides of a feature map by learned weights, in two forms that compute the same.

onnxruntime has no integer kernel for ConvTranspose. A transposed convolution of stride 2 writes each of the four
sub-pixels of a place by its own part of the kernel, so it is a convolution to four times the channels and a move of
these to their places: Shi et al., "Is the deconvolution layer the same as a convolutional layer?" (arXiv 1609.07009).
"""

from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.layers import Activation, ConvUnit, Unit, folding_of

Upsampling = Literal["transposed", "subpixel"]
UpKernel = Literal[2, 4]
_PHASES = 4


class TransposedUnit(Unit):
    """Transposed convolution of stride 2, optional BatchNorm, activation: (b, in, h, w) -> (b, out, 2h, 2w).

    Its weight computes in FP32, but may be stored in fewer bits: `SubpixelUnit` is the form for integer kernels.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: UpKernel = 2, *, norm: bool = True, activation: Activation = "relu"
    ) -> None:
        super().__init__(activation)
        self.conv = nn.ConvTranspose2d(inputs, outputs, kernel, 2, _margin(kernel), bias=not norm)
        self.norm: nn.Module = nn.BatchNorm2d(outputs) if norm else nn.Identity()

    def fold(self) -> None:
        """Replace transposed convolution and BatchNorm by the one that computes the same."""
        if isinstance(self.norm, nn.BatchNorm2d):
            weight, bias = self.folded()
            assert bias is not None, "a folded BatchNorm always leaves a bias"
            self.conv.weight = nn.Parameter(weight.detach().clone())
            self.conv.bias = nn.Parameter(bias.detach().clone())
            self.norm = nn.Identity()

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight, (in, out / groups, k, k), and bias, with the BatchNorm folded in."""
        if not isinstance(self.norm, nn.BatchNorm2d):
            return self.conv.weight, self.conv.bias
        gain, shift = folding_of(self.norm)
        return self.conv.weight * gain[None, :, None, None], shift

    def forward(self, x: Tensor) -> Tensor:
        if self.rounding is None:
            return self.finish(self.norm(self.conv(x)))
        weight, bias = self.folded()
        return self.finish(self.transposed(x, self.rounding.weight(weight), self.rounding.bias(bias)))

    def transposed(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """What its layer computes with another weight and bias, before the activation."""
        conv = self.conv
        sides = conv.stride, conv.padding, conv.output_padding
        return F.conv_transpose2d(x, weight, bias, *sides, conv.groups, conv.dilation)  # type: ignore[arg-type]


class SubpixelUnit(ConvUnit):
    """Convolution to four times the channels, BatchNorm, activation, and their move: (b, in, h, w) -> (b, out, 2h, 2w).

    Channel 4c + 2i + j of the convolution is channel c at row 2y + i and column 2x + j.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: UpKernel = 2, *, norm: bool = True, activation: Activation = "relu"
    ) -> None:
        super().__init__(inputs, _PHASES * outputs, 2 * _margin(kernel) + 1, norm=norm, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        return _to_places(super().forward(x))


def up_unit(
    inputs: int, outputs: int, form: Upsampling, kernel: UpKernel, *, norm: bool = True, activation: Activation = "relu"
) -> Unit:
    """The unit of a form."""
    unit = TransposedUnit if form == "transposed" else SubpixelUnit
    return unit(inputs, outputs, kernel, norm=norm, activation=activation)


def subpixel_weight(weight: Tensor) -> Tensor:
    """(in, out, k, k) of a transposed convolution of stride 2 and padding k / 2 - 1 -> (4 out, in, k - 1, k - 1).

    Output 2q + a reads input q + d by the kernel's element a + padding - 2d, where there is one.
    """
    kernel = weight.shape[2]
    margin = _margin(kernel)
    size = 2 * margin + 1
    found = weight.new_zeros(weight.shape[1], _PHASES, weight.shape[0], size, size)
    for (i, j), (y, x) in product(product(range(2), repeat=2), product(range(-margin, margin + 1), repeat=2)):
        row, column = i + margin - 2 * y, j + margin - 2 * x
        if 0 <= row < kernel and 0 <= column < kernel:
            found[:, 2 * i + j, :, y + margin, x + margin] = weight[:, :, row, column].T
    return found.flatten(0, 1)


@torch.no_grad()
def to_subpixel(old: TransposedUnit, new: SubpixelUnit) -> None:
    """Give `new` what `old` has learned; four channels of a BatchNorm are each what their one was."""
    state = old.state_dict()
    converted = {
        name: value if value.dim() == 0 else value.repeat_interleave(_PHASES) for name, value in state.items()
        if name != "conv.weight"
    }  # fmt: skip
    new.load_state_dict({"conv.weight": subpixel_weight(state["conv.weight"]), **converted})


def _margin(kernel: int) -> int:
    """Padding with which sides exactly double."""
    return kernel // 2 - 1


def _to_places(x: Tensor) -> Tensor:
    """(b, 4c, h, w) -> (b, c, 2h, 2w).

    As `F.pixel_shuffle`, by operators that onnxruntime moves its Q/DQ pairs through: behind its DepthToSpace the next
    layer computes in FP32 (measured with 1.32).
    """
    batch, channels, height, width = (int(side) for side in x.shape)
    parts = x.reshape(batch, channels // _PHASES, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(batch, channels // _PHASES, 2 * height, 2 * width)

"""Networks that describe patches of a picture, and the dense form that describes all patches at once.

Bergmann et al., "Uninformed Students" (CVPR 2020), appendix: three receptive fields. Up to the output stride, pooling
halves the grid, as in the patch network; then windows move by one place and later layers are dilated, so that
the same numbers come out at every place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit, InputUnit

Field = Literal[17, 33, 65]
"""Side of the patch that one descriptor is of, in pixels."""
Stride = Literal[1, 2, 4, 8]
"""Pixels from one described patch to the next."""
Patched = Literal["leaky", "relu"]
"""Activations: with the published slope of .005, or with none, which integer kernels fuse with a convolution."""
LEAKY_SLOPE = 5e-3
_POOL = 0
_LAYERS: dict[Field, tuple[int, ...]] = {
    17: (6, 5, 5, 4),
    33: (5, _POOL, 5, _POOL, 2, 4),
    65: (5, _POOL, 5, _POOL, 5, _POOL, 4, 1),
}
"""Sides of unpadded convolutions, and 2 x 2 pooling; a 1x1 convolution to the descriptor follows."""
WIDTHS: dict[Field, tuple[int, ...]] = {
    17: (128, 256, 256, 128),
    33: (128, 256, 256, 128),
    65: (128, 128, 256, 256, 128),
}
"""Published channels of the convolutions before the descriptor."""


def reach(field: Field) -> int:
    """Side in pixels of what a descriptor depends on: pooling of odd sides leaves out the last ones of a patch."""
    seen, step = 1, 1
    for kernel in _LAYERS[field]:
        seen += (1 if kernel == _POOL else kernel - 1) * step
        step *= 2 if kernel == _POOL else 1
    return seen


@dataclass(frozen=True, slots=True)
class PatchShape:
    """What a patch network is built from."""

    field: Field
    widths: tuple[int, ...]
    descriptor: int
    stride: Stride
    activation: Patched
    norm: bool


class PatchNetwork(nn.Module):
    """(b, 3, H, W) normalized -> descriptors (b, d, h, w), h = (H - reach) // stride + 1; no padding."""

    def __init__(self, shape: PatchShape) -> None:
        super().__init__()
        self.input = InputUnit()
        self.layers = nn.Sequential(*_layers(shape))
        self.out = ConvUnit(shape.widths[-1], shape.descriptor, 1, norm=False, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        """One descriptor a place; a patch of the receptive field has one place."""
        result: Tensor = self.out(self.layers(self.input(x)))
        return result


def _layers(shape: PatchShape) -> Iterator[nn.Module]:
    kinds, widths = _LAYERS[shape.field], iter(shape.widths)
    last = max(number for number, kernel in enumerate(kinds) if kernel > 1)
    inputs, step, dilation = 3, 1, 1
    for number, kernel in enumerate(kinds):
        if kernel == _POOL and 2 * step <= shape.stride:
            step *= 2
            yield nn.MaxPool2d(2)
        elif kernel == _POOL:
            yield nn.MaxPool2d(2, stride=1, dilation=dilation)
            dilation *= 2
        else:
            outputs = next(widths)
            # Behind the last window only a part of the places is wanted where no pooling left them out.
            stride = shape.stride // step if number == last else 1
            yield ConvUnit(
                inputs, outputs, kernel, stride=stride, padding=0, dilation=dilation, norm=shape.norm,
                activation=shape.activation, slope=LEAKY_SLOPE,
            )  # fmt: skip
            inputs = outputs

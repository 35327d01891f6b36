"""The two networks of EfficientAD, from units: a patch description network, and an autoencoder of its features.

Batzner, Heckler & König, "EfficientAD: Accurate Visual Anomaly Detection at Millisecond-Level Latencies" (WACV 2024),
tables 5 and 6. Poolings and resizes are units as well: what they return is rounded, or the convolution behind them
would read FP32 and compute in it.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit, InputUnit, Unit

Size = tuple[int, int]
_HALVINGS = 5
_NECK = 8
"""Sides of what the last convolution of an encoder reads at 256 pixels."""
_DROPPED = 0.2


class PoolUnit(Unit):
    """Means over 2 x 2 places; with `padding` a rim of zeros counts too: (b, c, h, w) -> (b, c, h', w')."""

    def __init__(self, *, padding: bool) -> None:
        super().__init__("none")
        self.padding = int(padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(F.avg_pool2d(x, 2, 2, self.padding))


class ResizeUnit(Unit):
    """Bilinear, pixels as areas: (b, c, h, w) -> (b, c, *size)."""

    def __init__(self, size: Size) -> None:
        super().__init__("none")
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(F.interpolate(x, size=self.size, mode="bilinear", align_corners=False))


class PatchDescriptionNetwork(nn.Module):
    """PDN-S: (b, 3, H, W), normalized -> a list of (b, outputs_i, h, w), each of what 33 x 33 pixels show.

    With `padding` h = H / 4 where that is whole, else 8 places fewer. Each output is a convolution of its own, so that
    each has a scale of its own in INT8.
    """

    def __init__(
        self, hidden: tuple[int, int, int], outputs: tuple[int, ...], *, padding: bool, norm: bool = False
    ) -> None:
        super().__init__()
        first, second, third = hidden
        margin, self.padding = int(padding), padding
        self.input = InputUnit()
        self.conv1 = ConvUnit(3, first, 4, padding=3 * margin, norm=norm)
        self.pool1 = PoolUnit(padding=padding)
        self.conv2 = ConvUnit(first, second, 4, padding=3 * margin, norm=norm)
        self.pool2 = PoolUnit(padding=padding)
        self.conv3 = ConvUnit(second, third, 3, padding=margin, norm=norm)
        self.outputs = nn.ModuleList(
            ConvUnit(third, channels, 4, padding=0, norm=False, activation="none") for channels in outputs
        )

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels of its hidden layers, as pruning left them."""
        return self.conv1.conv.out_channels, self.conv2.conv.out_channels, self.conv3.conv.out_channels

    @property
    def channels(self) -> int:
        """Of its first output."""
        return int(self.outputs[0].get_parameter("conv.weight").shape[0])

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.pool1(self.conv1(self.input(x)))
        x = self.conv3(self.pool2(self.conv2(x)))
        return [output(x) for output in self.outputs]


class Autoencoder(nn.Module):
    """(b, 3, H, W), normalized -> (b, outputs, *grid): a teacher's features from one embedding of the whole picture.

    The sides of the decoder's maps follow those of the picture by the released code's rule, 3, 8, 15, 32, 63 and 127 at
    256 pixels; what would be below one place is one. The last convolution of the encoder spans what five halvings
    leave, at most 8 x 8 places as published: of 64 pixels 2 x 2.
    """

    def __init__(self, encoder: tuple[int, ...], decoder: int, outputs: int, *, size: Size, grid: Size) -> None:
        super().__init__()
        self.input = InputUnit()
        inputs = (3, *encoder[:-1])
        halving = [ConvUnit(a, b, 4, stride=2, padding=1, norm=False)
                   for a, b in zip(inputs[:-1], encoder[:-1], strict=True)]  # fmt: skip
        span = min(_NECK, *(side >> _HALVINGS for side in size))
        self.encoder = nn.Sequential(
            *halving, ConvUnit(inputs[-1], encoder[-1], span, padding=0, norm=False, activation="none")
        )
        self.resizes = nn.ModuleList(ResizeUnit(one) for one in (*_decoder_sizes(size), grid))
        widths = (encoder[-1], *[decoder] * len(self.resizes))
        kernels = [(4, 2)] * (len(self.resizes) - 1) + [(3, 1)]
        self.decoder = nn.ModuleList(
            ConvUnit(a, b, kernel, padding=padding, norm=False)
            for a, b, (kernel, padding) in zip(widths, widths[1:], kernels, strict=False)
        )
        self.output = ConvUnit(decoder, outputs, 3, norm=False, activation="none")

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder(self.input(x))
        for number, (resize, conv) in enumerate(zip(self.resizes, self.decoder, strict=True), 1):
            x = conv(resize(x))
            if self.training and number < len(self.decoder):
                x = F.dropout(x, _DROPPED)
        restored: Tensor = self.output(x)
        return restored


def patch_side(side: int, *, padding: bool) -> int:
    """Places of a patch description network's output along a side of so many pixels."""
    margin = int(padding)
    for _ in range(2):
        side = (side + 6 * margin - 3 + 2 * margin) // 2
    return side + 2 * margin - 2 - 3


def _decoder_sizes(size: Size) -> list[Size]:
    height, width = size
    rule = [(64, 1), (32, 0), (16, 1), (8, 0), (4, 1), (2, 1)]
    return [(max(1, height // part - less), max(1, width // part - less)) for part, less in rule]

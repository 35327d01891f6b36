"""Units of a network: a weighted layer with its normalization, activation and rounding.

All networks of budgetc are built from these, so that folding, calibration and fake quantization
each have one place. A unit without `rounding` is plain float torch.
"""

from collections.abc import Iterator
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["relu", "relu6", "leaky", "elu", "none"]
LEAKY_SLOPE = 0.1


class Rounding(Protocol):
    """What happens to the numbers of a unit: observed during calibration, rounded afterwards."""

    def weight(self, weight: Tensor) -> Tensor:
        """The folded weight, (out, in / groups, kh, kw) or (out, in)."""

    def bias(self, bias: Tensor | None) -> Tensor | None:
        """The folded bias, (out,)."""

    def before_activation(self, x: Tensor) -> Tensor:
        """The result of the layer, where the runtime cannot fuse its activation."""

    def output(self, x: Tensor) -> Tensor:
        """What the next unit reads."""


def activation_module(kind: Activation, slope: float = LEAKY_SLOPE) -> nn.Module:
    """The torch module of an activation; `slope` is of a leaky one."""
    match kind:
        case "relu":
            return nn.ReLU()
        case "relu6":
            return nn.ReLU6()
        case "leaky":
            return nn.LeakyReLU(slope)
        case "elu":
            return nn.ELU()
        case "none":
            return nn.Identity()


class Unit(nn.Module):
    """Base of what can be rounded. `fuses`: the runtime computes layer and activation in one integer kernel."""

    rounding: Rounding | None
    fuses: bool
    head: bool
    """A part of the score: always computes in FP32, and keeps its channels."""

    def __init__(self, activation: Activation, *, head: bool = False, slope: float = LEAKY_SLOPE) -> None:
        super().__init__()
        self.rounding = None
        self.head = head
        self.activation = activation_module(activation, slope)
        self.fuses = activation not in ("leaky", "elu")

    def fold(self) -> None:
        """Take BatchNorm into the layer, where there is one."""

    def finish(self, x: Tensor) -> Tensor:
        """Activation and rounding of the layer's result."""
        if self.rounding is None:
            return self._activate(x)
        if not self.fuses:
            x = self.rounding.before_activation(x)
        return self.rounding.output(self._activate(x))

    def _activate(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(x)
        return result


class ConvUnit(Unit):
    """Convolution, optional BatchNorm, activation: (b, in, h, w) -> (b, out, h', w')."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | tuple[int, int] | None = None,
        dilation: int = 1,
        groups: int = 1,
        norm: bool = True,
        eps: float = 1e-5,
        activation: Activation = "relu",
        slope: float = LEAKY_SLOPE,
        head: bool = False,
    ) -> None:
        super().__init__(activation, head=head, slope=slope)
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=not norm)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=eps) if norm else nn.Identity()

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias with the BatchNorm's running statistics, its own eps and its bias folded in."""
        weight, bias = self.conv.weight, self.conv.bias
        if not isinstance(self.norm, nn.BatchNorm2d):
            return weight, bias
        gain, shift = folding_of(self.norm)
        return weight * gain[:, None, None, None], shift if bias is None else bias * gain + shift

    def fold(self) -> None:
        """Replace convolution and BatchNorm by the one convolution that computes the same."""
        if not isinstance(self.norm, nn.BatchNorm2d):
            return
        weight, bias = self.folded()
        assert bias is not None, "a folded BatchNorm always leaves a bias"
        self.conv.weight = nn.Parameter(weight.detach().clone())
        self.conv.bias = nn.Parameter(bias.detach().clone())
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.rounding is None:
            return self.finish(self.norm(self.conv(x)))
        weight, bias = self.folded()
        conv = self.conv
        weight, bias = self.rounding.weight(weight), self.rounding.bias(bias)
        return self.finish(F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups))


class LinearUnit(Unit):
    """Fully connected layer and activation: (b, in) -> (b, out)."""

    def __init__(self, inputs: int, outputs: int, *, activation: Activation = "none", head: bool = False) -> None:
        super().__init__(activation, head=head)
        self.linear = nn.Linear(inputs, outputs)

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias: there is no BatchNorm to fold."""
        return self.linear.weight, self.linear.bias

    def forward(self, x: Tensor) -> Tensor:
        if self.rounding is None:
            return self.finish(self.linear(x))
        weight, bias = self.folded()
        return self.finish(F.linear(x, self.rounding.weight(weight), self.rounding.bias(bias)))


class AddUnit(Unit):
    """Residual addition and activation: two of (b, c, h, w) -> one."""

    def __init__(self, *, activation: Activation = "relu") -> None:
        super().__init__(activation)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.finish(x + y)


class ConcatUnit(Unit):
    """Feature maps side by side, one rounding for all: list of (b, c_i, h, w) -> (b, sum of c_i, h, w)."""

    def __init__(self) -> None:
        super().__init__("none")

    def forward(self, *parts: Tensor) -> Tensor:
        return self.finish(torch.cat(parts, 1))


class InputUnit(Unit):
    """Where the network reads its input; only there to be rounded when the first layer runs in INT8."""

    def __init__(self) -> None:
        super().__init__("none")

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x)


class RoundUnit(Unit):
    """Where a layer reads what no unit wrote; only there to be rounded when that layer runs in INT8."""

    def __init__(self) -> None:
        super().__init__("none")

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x)


def units(module: nn.Module) -> Iterator[tuple[str, Unit]]:
    """All units with their dotted names, in definition order."""
    for name, child in module.named_modules():
        if isinstance(child, Unit):
            yield name, child


def fold_norms(module: nn.Module) -> None:
    """Fold every BatchNorm of a module in place."""
    for _, unit in units(module):
        unit.fold()


def folding_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(c,) factor and (c,) addend that a BatchNorm is in evaluation mode."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None, "the networks keep running statistics"
    gain = norm.weight / torch.sqrt(variance + norm.eps)
    return gain, norm.bias - mean * gain


def conform(module: nn.Module, shapes: dict[str, tuple[int, ...]]) -> None:
    """Resize a module's layers in place to the channel counts of a state dict.

    Structured pruning keeps the topology and changes channel counts only, so the shapes of the
    weights say everything a narrower network needs.
    """
    for name, child in module.named_modules():
        shape = shapes.get(f"{name}.weight")
        if shape is None or not isinstance(child, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d)):
            continue
        if tuple(child.weight.shape) == shape:
            continue
        child.weight = nn.Parameter(torch.zeros(shape))
        if child.bias is not None:
            child.bias = nn.Parameter(torch.zeros(shape[isinstance(child, nn.ConvTranspose2d)]))
        if isinstance(child, nn.ConvTranspose2d):
            child.in_channels, child.out_channels = shape[:2]
        elif isinstance(child, nn.Conv2d):
            depthwise = child.groups > 1
            child.groups = shape[0] if depthwise else 1
            child.out_channels, child.in_channels = shape[0], shape[0] if depthwise else shape[1]
        elif isinstance(child, nn.Linear):
            child.out_features, child.in_features = shape
        else:
            child.num_features = shape[0]
            child.running_mean, child.running_var = torch.zeros(shape), torch.ones(shape)

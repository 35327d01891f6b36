"""What is left makes up for what went: least squares on what the readers of a group read, no gradient step.

He, Zhang & Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017), section 3.1; channels are
chosen greedily, each for what it explains beyond those before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit, LinearUnit
from budgetc.passes.pruning.groups import Group, Layer, layer_of
from budgetc.passes.pruning.subject import Subject, batches

_RIDGE = 1e-3
"""Of the mean variance: keeps the old weights where pictures say nothing."""
_PLACES = 100
"""Most places of a picture that are read, spread evenly."""
_MOST_INPUTS = 4608
"""Of one output: a square of 8 bytes each must fit in memory. 3x3 of 512 channels."""


@dataclass(frozen=True, slots=True)
class Reads:
    """Statistics of what one layer reads, unfolded to rows of in / groups x kernel, over places of all pictures."""

    mean: Tensor
    """(in,) float64."""
    covariance: Tensor
    """(in, in) float64."""


@torch.no_grad()
def read_statistics(subject: Subject, groups: Sequence[Group], images: NDArray[np.uint8]) -> dict[str, Reads]:
    """Name of every unit that reads a group -> statistics of its input; those that read too much are left out."""
    network = subject.network
    names = [name for name in dict.fromkeys(name for group in groups for name in group.consumers)
             if _is_linear_in_patches(layer_of(network.get_submodule(name)))]  # fmt: skip
    sums = dict[str, tuple[int, Tensor, Tensor]]()

    def watch(name: str) -> object:
        layer = _solved(network.get_submodule(name))

        def hook(_unit: nn.Module, inputs: tuple[Tensor]) -> None:
            rows = _rows(layer, inputs[0])
            count, total, squares = sums.get(name, (0, torch.zeros(()), torch.zeros(())))
            sums[name] = (count + len(rows), total + rows.sum(0), squares + rows.T @ rows)

        return hook

    handles = [network.get_submodule(name).register_forward_pre_hook(watch(name)) for name in names]  # type: ignore[arg-type]
    for part in batches(images):
        subject.judge(part)
    for handle in handles:
        handle.remove()
    return {name: _statistics(*found) for name, found in sums.items()}


def _is_linear_in_patches(layer: Layer) -> bool:
    """Whether an output is one weighted sum of few enough inputs; of transposed convolutions each place has its own."""
    return not isinstance(layer, nn.ConvTranspose2d) and layer.weight[0].numel() <= _MOST_INPUTS


def _solved(unit: nn.Module) -> nn.Conv2d | nn.Linear:
    layer = layer_of(unit)
    assert not isinstance(layer, nn.ConvTranspose2d), "nothing is read of these"
    return layer


def _statistics(count: int, total: Tensor, squares: Tensor) -> Reads:
    mean = total / count
    return Reads(mean, squares / count - torch.outer(mean, mean))


def _rows(layer: nn.Conv2d | nn.Linear, read: Tensor) -> Tensor:
    """(rows, in x kernel) float64: what one output of the layer is a linear function of."""
    if isinstance(layer, nn.Linear):
        return read.double()
    assert isinstance(layer.padding, tuple) and layer.groups == 1
    places = F.unfold(read, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    step = max(1, places.shape[2] // _PLACES)
    return places[:, :, ::step].transpose(1, 2).flatten(0, 1).double()


def _columns(layer: nn.Conv2d | nn.Linear, inputs: Tensor) -> Tensor:
    """(width, b) inputs of a layer -> (width, b x kernel) columns of its unfolded rows."""
    if isinstance(layer, nn.Linear):
        return inputs
    kernel = layer.kernel_size[0] * layer.kernel_size[1]
    return (inputs[:, :, None] * kernel + torch.arange(kernel)).flatten(1)


@torch.no_grad()
def reconstruct(network: nn.Module, group: Group, removed: Sequence[int], reads: Mapping[str, Reads]) -> None:
    """Change the readers of a group in place so that they return what they did, as well as they can, without `removed`.

    Weights of removed channels become 0. The mean that they added goes into the bias, or into BatchNorm's mean.
    """
    for name, inputs in group.consumers.items():
        if name not in reads:
            continue
        unit, found = network.get_submodule(name), reads[name]
        layer = _solved(unit)
        weight = layer.weight.flatten(1).double()
        gone = torch.zeros(weight.shape[1], dtype=torch.bool)
        gone[_columns(layer, inputs)[list(removed)].flatten()] = True
        kept = found.covariance[~gone][:, ~gone]
        ridge = _RIDGE * kept.diagonal().mean().clamp(min=1e-12) * torch.eye(len(kept), dtype=torch.float64)
        target = found.covariance[~gone] @ weight.T + ridge @ weight[:, ~gone].T
        solved = torch.zeros_like(weight)
        solved[:, ~gone] = torch.linalg.solve(kept + ridge, target).T
        _shift(unit, ((weight - solved) @ found.mean).float())
        layer.weight.copy_(solved.float().reshape(layer.weight.shape))


def _shift(unit: nn.Module, missing: Tensor) -> None:
    """Add what the layer no longer adds on average."""
    assert isinstance(unit, (ConvUnit, LinearUnit))
    bias = layer_of(unit).bias
    if bias is not None:
        bias += missing
        return
    assert isinstance(unit, ConvUnit) and isinstance(unit.norm, nn.BatchNorm2d)
    assert unit.norm.running_mean is not None
    unit.norm.running_mean -= missing


@torch.no_grad()
def explained(network: nn.Module, group: Group, reads: Mapping[str, Reads]) -> Tensor:
    """(width,) the order in which channels are chosen, the first having the largest number.

    Each in turn explains most of what the readers of the group return beyond what those before it explain: pivoted
    Cholesky decomposition of the covariance, the pivot chosen by the outputs.
    """
    residuals = [_residual(_solved(network.get_submodule(name)), inputs, reads[name])
                 for name, inputs in group.consumers.items() if name in reads]  # fmt: skip
    rank, left = torch.zeros(group.width), torch.ones(group.width, dtype=torch.bool)
    for place in range(group.width, 0, -1):
        gain = torch.stack([one.gains() for one in residuals]).sum(0)
        chosen = int(gain.masked_fill(~left, -1.0).argmax())
        rank[chosen], left[chosen] = place, False
        for one in residuals:
            one.explain(chosen)
    return rank


class _Residual:
    """Covariance of a layer's inputs, and with its outputs, beyond what the chosen channels explain."""

    def __init__(self, covariance: Tensor, cross: Tensor, columns: Tensor) -> None:
        self._columns = columns
        self._floor = float(1e-6 * covariance.diagonal().mean().clamp(min=1e-12))
        self._covariance, self._cross = covariance, cross

    def gains(self) -> Tensor:
        """(width,) variance of the outputs that each channel would explain, its columns taken one by one."""
        gain = self._cross.square().sum(0) / self._covariance.diagonal().clamp(min=self._floor)
        return gain[self._columns].sum(1)

    def explain(self, channel: int) -> None:
        """Take out what a channel explains."""
        for column in self._columns[channel].tolist():
            spread = float(self._covariance[column, column])
            if spread <= self._floor:
                continue
            row, effect = self._covariance[column].clone(), self._cross[:, column].clone()
            self._covariance -= torch.outer(row, row / spread)
            self._cross -= torch.outer(effect, row / spread)


def _residual(layer: nn.Conv2d | nn.Linear, inputs: Tensor, found: Reads) -> _Residual:
    weight = layer.weight.flatten(1).double()
    return _Residual(found.covariance.clone(), weight @ found.covariance, _columns(layer, inputs))

"""Weights to levels so that a layer's results change least, not the weights themselves.

Frantar et al., "GPTQ" (arXiv 2210.17323, algorithm 1) on the second moments of a layer's inputs: what rounding one
weight did to the results, the weights not yet rounded take back. Means are left to the bias (Nagel et al., arXiv
1906.04721, section 4.2), so moments are central.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit, LinearUnit
from budgetc.detectors.rounding import level_codes
from budgetc.detectors.stored import StoredUnit, TableUnit
from budgetc.detectors.upsampling import TransposedUnit
from budgetc.passes.biases import bias_of

_DAMPING = 0.01
"""Share of the mean variance added to every one: inputs that calibration hardly saw are not trusted."""
_ROWS = 4096
"""Most input patches that moments are taken over."""
_CLIPS = 10
"""Tried ranges of a channel, from a part of its largest weight to all of it."""
_BLOCK = 128


def best_scales(weight: Tensor, table: Tensor, least: Tensor) -> tuple[float, ...]:
    """Scales of the output channels, FP16 values, with the least square error of the weights at their nearest levels.

    Args:
        weight: (out, ...).
        table: ascending levels.
        least: (out,) smallest scales allowed.
    """
    rows = weight.flatten(1)
    largest = rows.abs().amax(1) / table.abs().max()
    best, lowest = torch.zeros(len(rows)), torch.full((len(rows),), torch.inf)
    narrowest = min(0.1 + 0.1 * math.log2(len(table)), 0.9)  # the fewer levels, the more pays to cut off the tails
    for clip in torch.linspace(narrowest, 1.0, _CLIPS):
        scale = torch.maximum(largest * clip, least).half().float()
        error = (nearest(rows, scale[:, None], table) - rows).square().sum(1)
        best, lowest = torch.where(error < lowest, scale, best), torch.minimum(error, lowest)
    return tuple(best.tolist())


def nearest(weight: Tensor, scale: Tensor, table: Tensor) -> Tensor:
    """Each weight at the level that is nearest to it."""
    return table[level_codes(weight / scale, table)] * scale


@torch.no_grad()
def round_weights(unit: StoredUnit, inputs: Tensor | None, scale: Tensor, table: Tensor) -> None:
    """Put the unit's folded weight on levels in place, and the mean error of its results into its bias.

    Args:
        unit: in evaluation mode.
        inputs: what it reads, (n, in, h, w) or (n, in); None of a table, which reads nothing.
        scale: (out,) of its output channels; of transposed convolutions (in,), of tables (rows,).
        table: ascending levels.
    """
    if not isinstance(unit, ConvUnit | LinearUnit):
        _to_nearest(unit, inputs, scale, table)
        return
    assert inputs is not None, "layers read something"
    weight = unit.folded()[0].detach()
    groups = unit.conv.groups if isinstance(unit, ConvUnit) else 1
    rows = _patches(unit, inputs, groups)
    mean = rows.mean(1)
    centered = rows - mean[:, None]
    moments = centered.transpose(1, 2) @ centered / rows.shape[1]
    grouped = weight.reshape(groups, len(weight) // groups, -1)
    rounded = _compensated(grouped, moments, scale.view(groups, -1), table)
    shift = ((grouped - rounded) @ mean[:, :, None]).flatten()
    _put(unit, rounded.reshape(weight.shape), shift)


def _to_nearest(unit: TransposedUnit | TableUnit, inputs: Tensor | None, scale: Tensor, table: Tensor) -> None:
    """Each weight at its nearest level, and the mean error of a transposed convolution into its bias."""
    weight = unit.folded()[0].detach()
    rounded = nearest(weight, scale.view(-1, *[1] * (weight.dim() - 1)), table)
    if isinstance(unit, TableUnit):
        unit.table.weight.copy_(rounded)
        return
    assert inputs is not None, "layers read something"
    unit.fold()
    shift = unit.transposed(inputs, weight - rounded).mean((0, 2, 3))
    unit.conv.weight.copy_(rounded)
    unit.conv.bias = nn.Parameter(shift if unit.conv.bias is None else unit.conv.bias + shift)


def _patches(unit: ConvUnit | LinearUnit, inputs: Tensor, groups: int) -> Tensor:
    """(groups, rows, inputs of one result): what each result is a weighted sum of."""
    if isinstance(unit, LinearUnit):
        return inputs[None]
    conv = unit.conv
    columns = inputs.flatten(2)
    if conv.kernel_size != (1, 1) or conv.stride != (1, 1):
        columns = F.unfold(inputs, conv.kernel_size, conv.dilation, conv.padding, conv.stride)  # type: ignore[arg-type]
    places = min(columns.shape[2], max(1, _ROWS // len(inputs)))
    columns = columns[:, :, torch.linspace(0, columns.shape[2] - 1, places).long()]
    split = columns.reshape(len(inputs), groups, -1, places)
    return split.permute(1, 0, 3, 2).reshape(groups, -1, split.shape[2])


def _compensated(weight: Tensor, moments: Tensor, scale: Tensor, table: Tensor) -> Tensor:
    """(groups, out, in) on levels: column by column, the largest variance first, errors passed on."""
    count = weight.shape[2]
    variances = moments.diagonal(dim1=1, dim2=2)
    damped = moments + torch.diag_embed((_DAMPING * variances.mean(1, keepdim=True) + 1e-9).expand_as(variances))
    order = variances.mean(0).argsort(descending=True)
    damped = damped[:, order][:, :, order].double()
    upper = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True).float()
    left, result = weight[:, :, order].clone(), torch.zeros_like(weight)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        errors = torch.zeros_like(left[:, :, start:stop])
        for at in range(start, stop):
            column = left[:, :, at]
            result[:, :, at] = nearest(column, scale, table)
            errors[:, :, at - start] = (column - result[:, :, at]) / upper[:, at, at, None]
            left[:, :, at:stop] -= errors[:, :, at - start, None] * upper[:, None, at, at:stop]
        left[:, :, stop:] -= errors @ upper[:, start:stop, stop:]
    return result[:, :, order.argsort()]


def _put(unit: ConvUnit | LinearUnit, weight: Tensor, shift: Tensor) -> None:
    """Write a folded weight back, and add to the bias."""
    bias_of(unit).add_(shift)
    if isinstance(unit, LinearUnit):
        unit.linear.weight.copy_(weight)
        return
    if not isinstance(unit.norm, nn.BatchNorm2d):
        unit.conv.weight.copy_(weight)
        return
    assert unit.norm.running_var is not None, "the networks keep running statistics"
    gain = (unit.norm.weight / torch.sqrt(unit.norm.running_var + unit.norm.eps)).view(-1, 1, 1, 1)
    unit.conv.weight.copy_(torch.where(gain.abs() > 1e-12, weight / gain, unit.conv.weight))

"""Rounding that keeps results, against rounding that keeps weights."""

import pytest
import torch
from torch import nn

from budgetc.detectors.layers import ConvUnit, LinearUnit
from budgetc.detectors.levels import levels_of
from budgetc.passes.round_weights import best_scales, nearest, round_weights

TABLE = torch.tensor(levels_of(3, 127), dtype=torch.float32)


def unit_of(kind: str) -> ConvUnit | LinearUnit:
    """A layer with weights and, where it has one, a BatchNorm that is not the identity."""
    torch.manual_seed(3)
    if kind == "linear":
        return LinearUnit(24, 12).eval()
    groups = 12 if kind == "depthwise" else 1
    unit = ConvUnit(12, 12, 3, groups=groups, norm=kind != "bare", stride=2 if kind == "strided" else 1)
    if isinstance(unit.norm, nn.BatchNorm2d):
        unit.norm.running_mean, unit.norm.running_var = torch.randn(12), torch.rand(12) + 0.5
        nn.init.uniform_(unit.norm.weight, 0.5, 2.0)
        nn.init.normal_(unit.norm.bias)
    return unit.eval()


def inputs_of(kind: str) -> torch.Tensor:
    """Correlated, and not centered: as activations are."""
    generator = torch.Generator().manual_seed(4)
    shape = (400, 24) if kind == "linear" else (12, 12, 9, 9)
    raw = torch.randn(shape, generator=generator)
    return torch.relu(raw + 2 * raw.mean(1, keepdim=True) + 0.5)


@pytest.mark.parametrize("kind", ["linear", "dense", "strided", "depthwise", "bare"])
@torch.no_grad()
def test_results_change_less_than_by_the_nearest_levels(kind: str) -> None:
    """On the inputs it was given, and every weight lies on a level."""
    unit, inputs = unit_of(kind), inputs_of(kind)
    weight = unit.folded()[0].clone()
    scale = torch.tensor(best_scales(weight, TABLE, torch.full((len(weight),), 1e-6)))
    spread = scale.view(-1, *[1] * (weight.ndim - 1))
    before = unit(inputs)
    naive = unit_of(kind)
    plain = nearest(weight, spread, TABLE)
    gain = torch.where(naive.folded()[0] == 0, 1, plain / naive.folded()[0])
    (naive.linear if isinstance(naive, LinearUnit) else naive.conv).weight.mul_(gain)
    round_weights(unit, inputs, scale, TABLE)
    rounded = unit.folded()[0]
    assert torch.allclose(rounded, nearest(rounded, spread, TABLE), atol=1e-5)
    error, worse = (unit(inputs) - before).square().mean(), (naive(inputs) - before).square().mean()
    assert error < 0.9 * worse


@torch.no_grad()
def test_the_mean_of_the_results_stays() -> None:
    """What rounding shifts, the bias takes back."""
    unit, inputs = unit_of("linear"), inputs_of("linear")
    before = unit(inputs).mean(0)
    weight = unit.folded()[0].clone()
    round_weights(unit, inputs, torch.tensor(best_scales(weight, TABLE, torch.full((12,), 1e-6))), TABLE)
    assert torch.allclose(unit(inputs).mean(0), before, atol=1e-4)


def test_scales_are_halves_and_no_smaller_than_allowed() -> None:
    """A channel of zeros too."""
    weight = torch.cat([torch.randn(3, 8), torch.zeros(1, 8)])
    scale = torch.tensor(best_scales(weight, TABLE, torch.full((4,), 2.0**-12)))
    assert torch.equal(scale, scale.half().float())
    assert float(scale.min()) == 2.0**-12

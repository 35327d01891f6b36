"""What of a network lies in a file in as many bits as a format says, whatever it computes in."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit, LinearUnit, Unit, units
from budgetc.detectors.upsampling import TransposedUnit


class Table(nn.Module):
    """Numbers that no training changes, under the name `weight` as those of a layer."""

    weight: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(shape))


class TableUnit(Unit):
    """A constant large enough to be stored as weights are, such as a memory bank or covariances: () -> its shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__("none", head=True)
        self.table = Table(shape)

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """The numbers, and no bias."""
        return self.table.weight, None

    def forward(self) -> Tensor:
        return self.table.weight if self.rounding is None else self.rounding.weight(self.table.weight)


StoredUnit = ConvUnit | LinearUnit | TransposedUnit | TableUnit
LAYER_NAMES = ("conv", "linear", "table")
"""What a unit calls the module that holds its weight."""


def stored_units(module: nn.Module) -> Iterator[tuple[str, StoredUnit]]:
    """Units with numbers to store, with their dotted names, in definition order."""
    return ((name, unit) for name, unit in units(module) if isinstance(unit, StoredUnit))


def holder_of(unit: StoredUnit) -> nn.Conv2d | nn.ConvTranspose2d | nn.Linear | Table:
    """The module that holds the weight of a unit."""
    match unit:
        case LinearUnit():
            return unit.linear
        case TableUnit():
            return unit.table
        case _:
            return unit.conv

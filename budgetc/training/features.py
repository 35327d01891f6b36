"""Outputs of a frozen network over many pictures, computed once."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budgetc.detectors.detector import as_input


@torch.no_grad()
def outputs_of(network: Callable[[Tensor], list[Tensor]], images: NDArray[np.uint8], batch: int = 32) -> list[Tensor]:
    """Every output over all images: list of (n, ...), channels last where four-dimensional.

    Args:
        network: (b, 3, H, W) in [0, 1] -> list of (b, ...); must be in evaluation mode.
        images: (n, 3, H, W) uint8.
    """
    parts = [network(as_input(images[start : start + batch])) for start in range(0, len(images), batch)]
    return [torch.cat(column) for column in zip(*parts, strict=True)]

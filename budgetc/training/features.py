"""Outputs of a frozen network over many pictures, computed once."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budgetc.detectors.detector import as_input

Keep = Callable[[Callable[[], list[Tensor]]], list[Tensor]]
_MOST_BYTES = 2**31
"""Of outputs that are kept."""


@torch.no_grad()
def outputs_of(network: Callable[[Tensor], list[Tensor]], images: NDArray[np.uint8], batch: int = 32) -> list[Tensor]:
    """Every output over all images: list of (n, ...), channels last where four-dimensional.

    Args:
        network: (b, 3, H, W) in [0, 1] -> list of (b, ...); must be in evaluation mode.
        images: (n, 3, H, W) uint8.
    """
    parts = [network(as_input(images[start : start + batch])) for start in range(0, len(images), batch)]
    return [torch.cat(column) for column in zip(*parts, strict=True)]


def computed(compute: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Outputs that nobody keeps for another time."""
    return compute()


def recalled(
    network: Callable[[Tensor], list[Tensor]], images: NDArray[np.uint8], *, keep: Keep = computed
) -> Callable[[Tensor], list[Tensor]]:
    """Indices of pictures -> every output for them: computed once for all, or each time where all would be too large.

    Args:
        network: as in `outputs_of`; frozen.
        images: (n, 3, H, W) uint8.
        keep: computes what is kept, or knows it.
    """
    with torch.no_grad():
        one = network(as_input(images[:1]))
    if sum(output.nbytes for output in one) * len(images) <= _MOST_BYTES:
        known = keep(lambda: outputs_of(network, images))
        return lambda indices: [output[indices] for output in known]

    @torch.no_grad()
    def again(indices: Tensor) -> list[Tensor]:
        return network(as_input(images[indices.numpy()]))

    return again

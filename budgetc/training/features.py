"""Outputs of a frozen network over many pictures: computed once, where they can be kept."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budgetc.detectors.detector import as_input

Network = Callable[[Tensor], list[Tensor]]
"""(b, 3, H, W) in [0, 1] -> outputs of (b, ...); frozen."""
Recall = Callable[[Tensor], list[Tensor]]
"""Indices of pictures, (b,) -> every output for them, (b, ...) each."""
Keep = Callable[[Callable[[], list[Tensor]]], list[Tensor]]
MOST_BYTES = 4 * 2**30
"""Of outputs that are kept."""


@torch.no_grad()
def outputs_of(network: Network, images: NDArray[np.uint8], batch: int = 32) -> list[Tensor]:
    """Every output over all images: list of (n, ...), channels last where the network's outputs are.

    Args:
        network: must be in evaluation mode.
        images: (n, 3, H, W) uint8.
        batch: pictures at once.
    """
    found = list[Tensor]()
    for start, outputs in zip(range(0, len(images), batch), batches_of(network, images, batch), strict=True):
        if not found:
            found = [_room(len(images), output) for output in outputs]
        for whole, output in zip(found, outputs, strict=True):
            whole[start : start + batch] = output
    return found


@torch.no_grad()
def batches_of(network: Network, images: NDArray[np.uint8], batch: int = 32) -> Iterator[list[Tensor]]:
    """Every output, batch by batch: for what needs them once."""
    for start in range(0, len(images), batch):
        yield network(as_input(images[start : start + batch]))


def _room(count: int, like: Tensor) -> Tensor:
    """(count, ...) in the layout of `like`: two copies of everything would not fit where one just does."""
    last = like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty((count, *like.shape[1:]), dtype=like.dtype, device=like.device, memory_format=layout)


def computed(compute: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Outputs that nobody keeps for another time."""
    return compute()


def recalled(network: Network, images: NDArray[np.uint8], *, keep: Keep = computed) -> Recall:
    """Every output for some of the images: computed once for all, or each time where all would be too large.

    Args:
        network: as in `outputs_of`.
        images: (n, 3, H, W) uint8.
        keep: computes what is kept, or knows it.
    """
    with torch.no_grad():
        one = network(as_input(images[:1]))
    if sum(output.nbytes for output in one) * len(images) <= MOST_BYTES:
        known = keep(lambda: outputs_of(network, images))
        return lambda indices: [output[indices] for output in known]

    @torch.no_grad()
    def again(indices: Tensor) -> list[Tensor]:
        return network(as_input(images[indices.numpy()]))

    return again

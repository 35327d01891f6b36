"""Who reads whose result."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.detectors.detector import as_input, deployed_part
from budgetc.detectors.layers import units


def sources_of(module: nn.Module, image: NDArray[np.uint8]) -> dict[str, set[str]]:
    """Unit -> the units whose results it reads, for all of the deployed part but its head.

    Found in autograd's graph of one forward pass: pooling, padding and reshaping in between are no matter.

    Args:
        module: of a family; left alone.
        image: (1, 3, height, width).
    """
    traced = copy.deepcopy(module).eval()
    read, made = dict[str, tuple[Tensor, ...]](), dict[object, str]()

    def note(name: str, inputs: tuple[Tensor, ...], result: Tensor) -> Tensor:
        result = result * 1  # a node of its own, also where a unit hands on what it read
        read[name], made[result.grad_fn] = inputs, name
        return result

    for name, unit in units(traced):
        if not unit.head:
            unit.register_forward_hook(lambda _, inputs, result, name=name: note(name, inputs, result))
    with torch.enable_grad():
        deployed_part(traced)(as_input(image).requires_grad_())
    return {name: {found for x in inputs for found in _made_by(x, made)} for name, inputs in read.items()}


def _made_by(x: Tensor, made: dict[object, str]) -> set[str]:
    """The nearest units before a tensor."""
    found, known, to_visit = set[str](), set[object](), [x.grad_fn]
    while to_visit:
        node = to_visit.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if node in made:
            found.add(made[node])
        else:
            to_visit += [one for one, _ in node.next_functions]
    return found


def read_by_heads_alone(module: nn.Module, image: NDArray[np.uint8]) -> set[str]:
    """Names of the units whose result goes into the score head without passing another unit."""
    sources = sources_of(module, image)
    return set(sources) - {name for read in sources.values() for name in read}

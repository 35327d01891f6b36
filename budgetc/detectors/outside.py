"""What a detector of somebody else's must offer to `budgetc import --detector package.module:factory`."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

Scored = Tensor | tuple[Tensor, ...] | Mapping[str, Tensor]


class OutsideDetector(Protocol):
    """A `torch.nn.Module` that is called with pictures and returns how anomalous they are.

    It may also have `input_size`, (height, width), where `--input-size` is not given, and `output_names`, a tuple,
    where it returns several tensors whose shapes do not tell score and map apart (`--score` and `--map` choose).

    A function without arguments, the factory, returns it, with its weights or for those of a state_dict. It is called
    in a child process, and its graph for one picture is all that budgetc keeps: whatever passes do afterwards (distill,
    prune, quantize, store in fewer bits) they do to that graph, and learn from what it computes. So its `forward` must
    not decide by values of the picture, nor draw random numbers: graph and module are compared on two pictures.
    """

    def __call__(self, image: Tensor, /) -> Scored:
        """Score pictures.

        Args:
            image: (b, 3, H, W) RGB in [0, 1]; normalize inside.

        Returns:
            The score (b,), higher is more anomalous; or the map (b, 1, h, w), whose largest value is the score; or
            both, as a tuple, a named tuple, a dictionary or a dataclass. Other tensors are not shipped.
        """
        ...

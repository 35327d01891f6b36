"""What passes share."""

import torch
from torch import Tensor, nn

from budgetc.passes.work import OutputCache


def test_outputs_are_computed_once() -> None:
    """A second pass that asks the same network gets what is there."""
    cache, owner, calls = OutputCache(), nn.Identity(), list[int]()

    def compute() -> list[Tensor]:
        calls.append(1)
        return [torch.zeros(4)]

    assert cache.get(owner, "all", compute)[0] is cache.get(owner, "all", compute)[0]
    assert len(calls) == 1


def test_the_oldest_outputs_go_first_and_the_newest_always_stay() -> None:
    """Bounded by bytes: features of large pictures take gigabytes."""
    cache, owners = OutputCache(most_bytes=100), [nn.Identity() for _ in range(3)]
    made = list[int]()

    def get(number: int, size: int) -> None:
        def compute() -> list[Tensor]:
            made.append(number)
            return [torch.zeros(size)]

        cache.get(owners[number], "all", compute)

    get(0, 10)  # 40 bytes
    get(1, 12)  # 88 together
    get(0, 10)
    get(2, 50)  # 200 alone
    get(2, 50)
    get(0, 10)
    assert made == [0, 1, 2, 0]

"""What a pass works with beside the detector and its step."""

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.detectors.detector import Detector
from budgetc.training.features import MOST_BYTES, Network, Recall, recalled
from budgetc.training.loop import Curve, Effort, Progress, silent
from budgetc.training.pictures import Pictures

Size = tuple[int, int]


class OutputCache:
    """Outputs of frozen networks over all training pictures, kept for those that were computed last."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        """Forget the oldest outputs once all together take more than `most_bytes`; the newest always stay."""
        self._most_bytes = most_bytes
        self._entries: dict[tuple[int, str], tuple[nn.Module, list[Tensor]]] = {}

    def get(self, owner: nn.Module, name: str, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """The outputs of `owner` over the pictures called `name`; computed on the first call."""
        key = (id(owner), name)
        if key not in self._entries:
            # The entry holds its owner, so that the id cannot be given to another module.
            self._entries[key] = (owner, compute())
            while len(self._entries) > 1 and self.bytes() > self._most_bytes:
                del self._entries[next(iter(self._entries))]
        return self._entries[key][1]

    def bytes(self) -> int:
        """Of all that is kept."""
        return sum(output.nbytes for _, outputs in self._entries.values() for output in outputs)


Value = TypeVar("Value")


class Remember(Protocol):
    """What probing a network found, computed once."""

    def __call__(self, key: str, kind: type[Value], compute: Callable[[], Value]) -> Value:
        """What is known under the fingerprint `key`, as a `kind`; else what `compute` returns."""


def remember_in(known: dict[str, object]) -> Remember:
    """Kept in memory alone."""

    def remember(key: str, kind: type[Value], compute: Callable[[], Value]) -> Value:
        if key not in known:
            known[key] = compute()
        found: Value = known[key]  # type: ignore[assignment]  # a key names one kind
        return found

    return remember


@dataclass(frozen=True, slots=True)
class Work:
    """Data, effort and memory that all passes of a compilation share."""

    pictures: Callable[[Size], Pictures]
    """Training normals at an input size."""
    calibration: Callable[[Size], NDArray[np.uint8]]
    """Calibration normals at an input size, (n, 3, height, width)."""
    baseline: Detector
    """The unchanged detector: what distillation imitates."""
    weight_levels: int
    """INT8 weights span +-this many steps on the target."""
    effort: float
    """Share of a step's epochs that is trained; 0 builds the bare structure, for its price."""
    seed: int
    cache: OutputCache
    trained: MutableMapping[str, nn.Module] = field(default_factory=dict)
    """Networks that several candidates share, by fingerprint of how they were trained."""
    curves: list[Curve] = field(default_factory=list)
    """What each training of the current step did; the caller empties it."""
    progress: Progress = silent
    probed: Remember = field(default_factory=lambda: remember_in({}))
    """What probing found, by fingerprint of everything it depends on."""

    def effort_of(self, epochs: int, learning_rate: float, label: str) -> Effort:
        """The settings of a step, scaled to the present rung: at least one epoch of any that were asked for."""
        scaled = 0 if epochs * self.effort == 0 else max(1, round(epochs * self.effort))
        return Effort(scaled, learning_rate, self.seed, patience=max(4, scaled // 3), label=label)

    def outputs(self, owner: nn.Module, network: Network, size: Size) -> Recall:
        """Outputs of a frozen network over normal and then damaged pictures, n + m in all."""
        pictures = self.pictures(size)
        images = np.concatenate([pictures.normal, pictures.damaged])
        return self.kept(owner, f"all at {size}", network, images)

    def kept(self, owner: nn.Module, name: str, network: Network, images: NDArray[np.uint8]) -> Recall:
        """Outputs of a frozen network over the pictures called `name`; another candidate gets the same."""
        return recalled(network, images, keep=lambda compute: self.cache.get(owner, name, compute))

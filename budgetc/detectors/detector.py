"""What flows through the passes: a network with its number formats and its threshold."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.core.dataset import Motion
from budgetc.core.frozen import Frozen
from budgetc.core.plan import Quantize
from budgetc.detectors.rounding import NumberFormat, rounded_copy


class DetectorConfig(Frozen):
    """What every family's configuration says."""

    input_size: tuple[int, int]
    """(height, width) of the network's input."""

    @property
    def channels(self) -> int:
        """Of what the network reads: those of a picture."""
        return 3

    @property
    def motion(self) -> Motion | None:
        """What is read of successive frames; None where it is one picture."""
        return None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the outputs that the score is made of, (b,) each."""
        return ()

    @property
    def stem_channels(self) -> int:
        """Channels that a first convolution reads."""
        return self.channels

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Of one sample: (1, channels, height, width)."""
        return (1, self.channels, *self.input_size)


class DetectorModule(Protocol):
    """What every family's network offers beside `nn.Module`."""

    def deployed(self) -> nn.Module:
        """The part that is shipped: (1, channels, H, W) in [0, 1] -> outputs named by `output_names`."""

    output_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Detector:
    """A trained or untrained detector. Passes return new ones and never mutate their input.

    `module` is plain float torch; `formats` says per unit of `module` how the deployed form rounds.
    A higher score is more anomalous, in every family.
    """

    family: str
    config: DetectorConfig
    module: nn.Module
    formats: Mapping[str, NumberFormat] = field(default_factory=dict)
    quantization: Quantize | None = None
    """The settings behind INT8 formats: a pass that changes the network calibrates again by them."""
    threshold: float | None = None

    def deployed(self) -> nn.Module:
        """The shipped part in evaluation mode, fake-quantized where `formats` says so."""
        return deployed_part(rounded_copy(self.module, self.formats)).eval()

    def parameters(self) -> int:
        """Weights of the shipped part."""
        return sum(weight.numel() for weight in self.deployed().parameters())

    def with_module(self, module: nn.Module, config: DetectorConfig | None = None) -> "Detector":
        """The same family with another float network; formats and threshold must be fitted again."""
        return Detector(self.family, config or self.config, module)


def deployed_part(module: nn.Module) -> nn.Module:
    """The part of a family's network that is shipped: itself, not a copy."""
    part: nn.Module = module.deployed()  # type: ignore[operator]  # every family's module has it
    return part


@torch.no_grad()
def score_images(part: nn.Module, images: NDArray[np.uint8], batch: int = 16) -> NDArray[np.float32]:
    """Scores of the deployed part.

    Args:
        part: what `Detector.deployed()` returned.
        images: (n, channels, height, width) uint8.

    Returns:
        (n,) float32.
    """
    scores = [part(as_input(images[start : start + batch]))[0] for start in range(0, len(images), batch)]
    return torch.cat(scores).numpy() if scores else np.zeros(0, np.float32)


def lowest_score(part: nn.Module) -> float:
    """The score of a picture that nothing is odd about; what is above it is a distance, whose ratios count."""
    return float(getattr(part, "lowest_score", 0.0))


def as_input(images: NDArray[np.uint8]) -> Tensor:
    """(n, channels, h, w) uint8 -> float32 in [0, 1], channels last for speed on the CPU."""
    return (torch.from_numpy(images).float() / 255).contiguous(memory_format=torch.channels_last)


def weights_digest(module: nn.Module | Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and values of all weights."""
    digest = hashlib.sha256()
    weights = module.state_dict() if isinstance(module, nn.Module) else module
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""Variational autoencoders: `vae` of pictures, `flow_vae` of motion."""

from collections.abc import Sequence

from budgetc.compiler.untrained.starting import shape_of, start
from budgetc.detectors.detector import Detector
from budgetc.detectors.flow_vae import FlowVaeConfig
from budgetc.detectors.vae import VaeConfig


def new_vae(
    input_size: tuple[int, int], *, widths: Sequence[int] = (128, 64, 32, 16),
    hidden: Sequence[int] = (2048, 1000, 250), latents: int = 30, beta: float = 1.4,
    prototypes: int = 0, seed: int = 0,
) -> Detector:  # fmt: skip
    """An untrained beta-VAE: channels of its blocks, sizes of its linear layers, latent variables.

    With `prototypes` it is scored by the distance to the nearest of so many clusters of normals, else by the KL.

    Raises:
        UsageError: a shape that cannot be.
    """
    with shape_of("vae"):
        config = VaeConfig(
            input_size=input_size, widths=tuple(widths), hidden=tuple(hidden), latents=latents, beta=beta,
            prototypes=prototypes,
        )  # fmt: skip
    return start("vae", config, seed)


def new_flow_vae(
    input_size: tuple[int, int], *, widths: Sequence[int] = (32, 64, 128, 256), latents: int = 12, fields: int = 6,
    seed: int = 0,
) -> Detector:  # fmt: skip
    """An untrained flow VAE: channels of its convolutions, latent variables of a direction, fields read at once.

    Frames are resized so that fields of `input_size` are the published share of them; paddings follow.

    Raises:
        UsageError: a shape that cannot be.
    """
    with shape_of("flow_vae"):
        config = FlowVaeConfig(input_size=input_size, widths=tuple(widths), latents=latents, fields=fields)
    return start("flow_vae", config, seed)

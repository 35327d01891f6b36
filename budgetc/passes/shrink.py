"""Smaller configurations of a network, and a first guess at their weights."""

import torch
from torch import nn

from budgetc.detectors.backbones import BackboneConfig, tap_strides, tap_widths
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import UsageError

CHANNEL_STEP = 8
"""Kernels work on blocks of 8 channels; other widths cost the time of the next multiple."""


def narrowed(channels: int, ratio: float) -> int:
    """`ratio` of the channels, at a multiple of 8, never more than there are."""
    wanted = max(CHANNEL_STEP, round(channels * ratio / CHANNEL_STEP) * CHANNEL_STEP)
    return min(channels, wanted)


def plain_backbone(old: BackboneConfig, ratio: float, tap_channels: tuple[int, ...] = ()) -> BackboneConfig:
    """A plain backbone whose taps lie at the strides of the old one's, `ratio` as wide.

    `tap_channels` adds 1x1 adapters to that many channels where the taps have others.

    Raises:
        UsageError: two taps share a stride, which stages of a plain network never do.
    """
    if old.arch == "plain":
        widths, taps, depth = tuple(narrowed(width, ratio) for width in old.widths), old.taps, old.depth
    else:
        strides = tap_strides(old)
        if len(set(strides)) < len(strides):
            raise UsageError(
                f"taps {old.taps} of {old.arch} have strides {strides}; distilling to a plain network needs a "
                "different stride for each: import the detector with other taps"
            )
        taps = tuple(stride.bit_length() - 2 for stride in strides)
        at_tap = dict(zip(taps, tap_widths(old), strict=True))
        widths, wide, depth = (), 0, 1
        for stage in reversed(range(taps[-1] + 1)):
            wide = at_tap.get(stage, max(CHANNEL_STEP, wide // 2))
            widths = (narrowed(wide, ratio), *widths)
    new = BackboneConfig(arch="plain", widths=widths, depth=depth, taps=taps)
    if not tap_channels or tap_widths(new) == tap_channels:
        return new
    return new.model_copy(update={"tap_channels": tap_channels})


def plain_gaussian(old: BackboneConfig, ratio: float) -> BackboneConfig:
    """A plain backbone with one tap, at the stride of the old one's coarsest and `ratio` as wide."""
    return plain_backbone(old.model_copy(update={"taps": old.taps[-1:]}), ratio)


def narrow_vae(old: VaeConfig, ratio: float, *, drop_hidden: bool = False) -> VaeConfig:
    """Encoder with `ratio` of the channels and of the hidden units, or without these; the latent space stays."""
    return old.model_copy(
        update={
            "widths": tuple(narrowed(width, ratio) for width in old.widths),
            "hidden": () if drop_hidden else tuple(narrowed(size, ratio) for size in old.hidden),
            "decoder": False,
        }
    )


@torch.no_grad()
def warm_start(new: nn.Module, old: nn.Module) -> int:
    """Copy the leading slice of every weight of the same name and rank; returns how many were copied."""
    known, copied = old.state_dict(), 0
    for name, weight in new.state_dict().items():
        source = known.get(name)
        if source is None or source.dim() != weight.dim() or weight.dim() == 0:
            continue
        if any(mine > theirs for mine, theirs in zip(weight.shape, source.shape, strict=True)):
            continue
        weight.copy_(source[tuple(slice(0, size) for size in weight.shape)])
        copied += 1
    return copied

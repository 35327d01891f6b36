"""Smaller configurations of a network, and a first guess at their weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import ValidationError
from torch import nn

from budgetc.core.admissible import foreign_setting
from budgetc.core.plan import Direct, Distill, Smaller
from budgetc.detectors.backbones import Backbone, BackboneConfig, build_backbone, tap_strides, tap_widths
from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig
from budgetc.detectors.flow_vae import FlowVaeConfig
from budgetc.detectors.layers import ConvUnit, conform, units
from budgetc.detectors.reverse_distillation import ReverseConfig, ReverseDistillation
from budgetc.detectors.stfpm import Stfpm, StfpmConfig, trunk_of
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import UsageError

CHANNEL_STEP = 8
"""Kernels work on blocks of 8 channels; other widths cost the time of the next multiple."""
_EFFICIENTAD_STRIDE = 32
"""Of the autoencoder's embedding."""
Size = tuple[int, int]


def refuse_foreign(detector: Detector, step: Distill | Direct) -> None:
    """Nothing is ignored in silence.

    Raises:
        UsageError: a setting that the detector's family has no use for is not as it usually is.
    """
    reason = foreign_setting(step, detector.family)
    if reason is not None:
        raise UsageError(reason)


def narrowed(channels: int, ratio: float) -> int:
    """`ratio` of the channels, at a multiple of 8 unless all stay, never more than there are."""
    if ratio == 1.0:
        return channels
    wanted = max(CHANNEL_STEP, round(channels * ratio / CHANNEL_STEP) * CHANNEL_STEP)
    return min(channels, wanted)


def scaled_size(size: Size, ratio: float, stride: int) -> Size:
    """(height, width) times `ratio`, at multiples of `stride`: at least one of it, never more than there was."""
    if ratio == 1.0:
        return size
    height, width = (min(max(stride, round(side * ratio / stride) * stride), side) for side in size)
    return height, width


def plain_backbone(old: BackboneConfig, step: Smaller, ratio: float, *, start: int = 0) -> BackboneConfig:
    """A plain backbone from stage `start` on whose taps lie at the strides of the old one's, `ratio` as wide.

    Raises:
        UsageError: two taps share a stride, which stages of a plain network never do.
    """
    if old.arch == "plain":
        known, taps, depth = dict(enumerate(old.widths, old.start)), old.taps, old.depth
    else:
        strides = tap_strides(old)
        if len(set(strides)) < len(strides):
            raise UsageError(
                f"taps {old.taps} of {old.arch} have strides {strides}; distilling to a plain network needs a "
                "different stride for each: import the detector with other taps"
            )
        taps = tuple(stride.bit_length() - 2 for stride in strides)
        known, depth = dict(zip(taps, tap_widths(old), strict=True)), 1
    widths: tuple[int, ...] = ()
    wide = 0
    for stage in reversed(range(start, taps[-1] + 1)):
        wide = known.get(stage, max(CHANNEL_STEP, wide // 2))
        widths = (narrowed(wide, ratio), *widths)
    return BackboneConfig(
        arch="plain", widths=widths, depth=depth if step.depth is None else step.depth, taps=taps, start=start,
        separable=step.backbone == "separable",
    )  # fmt: skip


def plain_teacher(old: BackboneConfig, step: Smaller) -> BackboneConfig:
    """A plain teacher of dense convolutions: what a student is made of makes no difference to it."""
    return plain_backbone(old, Smaller(), step.teacher or 1.0)


def smaller_stfpm(old: StfpmConfig, network: Stfpm, step: Smaller) -> StfpmConfig:
    """The configuration after a step: `network` says what pruning left, `old` the rest.

    Raises:
        UsageError: the trunk that is to be shared reaches a tap, or is none of whole stages.
    """
    teacher = old.teacher if step.teacher is None else plain_teacher(old.teacher, step)
    start, inputs = _trunk_end(teacher, network if step.teacher is None else None, step.shared)
    student = plain_backbone(present(network.student), step, step.student, start=start)
    extra: dict[str, object] = {"inputs": inputs}
    if tap_widths(student) != tap_widths(teacher):
        extra["tap_channels"] = tap_widths(teacher)
    size = scaled_size(old.input_size, step.input, max(tap_strides(teacher)))
    return old.model_copy(
        update={"teacher": teacher, "student": student.model_copy(update=extra), "shared": step.shared,
                "input_size": size}
    )  # fmt: skip


def smaller_reverse(old: ReverseConfig, network: ReverseDistillation, step: Smaller) -> ReverseConfig:
    """The configuration after a step: a plain decoder, `student` as wide; `network` says what pruning left of the neck.

    Adapters map its maps to the channels of the teacher's.
    """
    teacher = old.teacher if step.teacher is None else plain_teacher(old.teacher, step)
    size = scaled_size(old.input_size, step.input, old.least_side)
    known = old.depths if old.block in ("plain", "separable") else (2,) * len(old.depths)
    return ReverseConfig.model_validate(old.model_dump() | {
        "teacher": teacher,
        "widths": tuple(narrowed(width, step.student) for width in old.widths),
        "neck": narrowed(_outputs(network.student.neck), step.student),
        "block": step.backbone,
        "depths": known if step.depth is None else (1 + step.depth,) * len(old.depths),
        "neck_depth": 1,
        "input_size": size,
        "smoothing": old.smoothing * size[0] / old.input_size[0],
    })  # fmt: skip


def smaller_efficientad(old: EfficientAdConfig, network: EfficientAd, step: Smaller) -> EfficientAdConfig:
    """The configuration after a step: `network` says what pruning left; student and autoencoder shrink alike."""
    autoencoder = network.student.autoencoder
    encoder = [_outputs(unit) for _, unit in units(autoencoder.encoder)]
    decoder = max(_outputs(unit) for _, unit in units(autoencoder.decoder))
    teacher = (*network.teacher.widths, network.teacher.channels)
    return EfficientAdConfig.model_validate(old.model_dump() | {
        "teacher": tuple(narrowed(width, step.teacher or 1.0) for width in teacher),
        "student": tuple(narrowed(width, step.student) for width in network.student.patches.widths),
        "encoder": tuple(narrowed(width, step.student) for width in encoder),
        "decoder": narrowed(decoder, step.student),
        "input_size": scaled_size(old.input_size, step.input, _EFFICIENTAD_STRIDE),
    })  # fmt: skip


def _trunk_end(teacher: BackboneConfig, network: Stfpm | None, shared: int) -> tuple[int, int]:
    """The halvings and the channels of what a student reads: a picture's, or those of a trunk."""
    if shared == 0:
        return 0, 3
    first = teacher.first_stage
    if first + shared - 1 >= teacher.taps[0]:
        raise UsageError(
            f"shared: {shared} stages reach tap {teacher.taps[0]} of the teacher; share at most "
            f"{teacher.taps[0] - first}, or drop that tap first (truncate.first)"
        )
    trunk = trunk_of(teacher, shared)
    # A pruned teacher is narrower than its configuration says.
    channels = tap_widths(trunk)[0] if network is None else _outputs(network.teacher.stages[shared - 1])
    return tap_strides(trunk)[0].bit_length() - 1, channels


def present(network: Backbone) -> BackboneConfig:
    """The configuration of a network with the widths that pruning left it, where it is a plain one."""
    config = network.config
    if config.arch != "plain":
        return config
    return config.model_copy(update={"widths": tuple(_outputs(stage) for stage in network.stages)})


def _outputs(stage: nn.Module) -> int:
    """Channels of its last convolution; a shortcut beside it has as many."""
    return [unit for _, unit in units(stage) if isinstance(unit, ConvUnit)][-1].conv.out_channels


def retapped(network: Backbone, taps: tuple[int, ...]) -> Backbone:
    """The same layers up to the last of some of its taps, which alone are returned; the given one is unchanged."""
    old = network.config
    kept = [old.taps.index(tap) for tap in taps]
    channels = tuple(old.tap_channels[index] for index in kept) if old.tap_channels else ()
    new = build_backbone(old.model_copy(update={"taps": taps, "tap_channels": channels}))
    weights = dict(network.state_dict())
    for position, index in enumerate(kept):
        for name in [name for name in network.state_dict() if name.startswith(f"adapters.{index}.")]:
            weights[f"adapters.{position}.{name.split('.', 2)[2]}"] = network.state_dict()[name]
    weights = {name: weight for name, weight in weights.items() if name in new.state_dict()}
    conform(new, {name: tuple(weight.shape) for name, weight in weights.items()})
    new.load_state_dict(weights)
    return new.eval()


def plain_gaussian(old: BackboneConfig, step: Smaller) -> BackboneConfig:
    """A plain backbone with one tap, at the stride of the old one's coarsest."""
    return plain_backbone(old.model_copy(update={"taps": old.taps[-1:]}), step, step.student)


def narrow_vae(old: VaeConfig, step: Smaller) -> VaeConfig:
    """Encoder with a share of the channels and of the hidden units, or without these, and of the latent dimensions."""
    return old.model_copy(
        update={
            "input_size": scaled_size(old.input_size, step.input, 2 ** len(old.widths)),
            "widths": tuple(narrowed(width, step.student) for width in old.widths),
            "hidden": () if step.drop_hidden else tuple(narrowed(size, step.student) for size in old.hidden),
            "latents": max(1, round(old.latents * step.latents)),
            "decoder": False,
        }
    )


def narrow_flow_vae(old: FlowVaeConfig, step: Smaller) -> FlowVaeConfig:
    """Encoders with a share of the channels that read fields of a share of the side, which are computed of frames as
    much smaller; the latent variables stay.

    Raises:
        UsageError: the fields would be too small.
    """
    widths = tuple(narrowed(width, step.student) for width in old.widths)
    motion = old.motion.at(scaled_size(old.input_size, step.input, 1))
    kept = old.model_dump(include={"fields", "latents"} | ({"paddings"} if step.input == 1.0 else set()))
    with large_enough(step):
        return FlowVaeConfig(
            input_size=motion.size, frame_size=motion.frame_size, largest=motion.largest, widths=widths, decoder=False,
            **kept,
        )  # fmt: skip


@contextmanager
def large_enough(step: Smaller) -> Iterator[None]:
    """Within it, a configuration that cannot be is of an input that the step made too small.

    Raises:
        UsageError: instead of a ValidationError, in the words of the configuration.
    """
    try:
        yield
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"{getattr(step, 'step', 'step')}.input: {step.input:g} is too small: {said}") from error


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

"""What a backbone is made of: architecture, widths, and the stages it returns."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from budgetc.core.frozen import Frozen

Architecture = Literal["resnet18", "wide_resnet50_2", "efficientnet_lite0", "plain"]
Width = Annotated[int, Field(ge=1, le=8192)]

STAGE_WIDTHS: dict[str, tuple[int, ...]] = {
    "resnet18": (64, 128, 256, 512),
    "wide_resnet50_2": (256, 512, 1024, 2048),
    "efficientnet_lite0": (16, 24, 40, 80, 112, 192, 320),
}
STAGE_STRIDES: dict[str, tuple[int, ...]] = {
    "resnet18": (4, 8, 16, 32),
    "wide_resnet50_2": (4, 8, 16, 32),
    "efficientnet_lite0": (2, 4, 8, 16, 16, 32, 32),
}
IMAGENET_NORMALIZATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# EfficientNet-Lite was trained on (x - 127) / 128.
LITE_NORMALIZATION = ((127 / 255,) * 3, (128 / 255,) * 3)
Channels3 = tuple[float, float, float]


class BackboneConfig(Frozen):
    """A feature network; stages after the last tap are never built."""

    arch: Architecture
    widths: Annotated[tuple[Width, ...], Field(max_length=8)] = ()
    """`plain` only: channels of each stage from the first; stage i (counted from 0) has stride 2^(i+1)."""
    depth: Annotated[int, Field(ge=0, le=16)] = 1
    """`plain` only: 3x3 stride-1 convolutions of a stage after its stride-2 one."""
    separable: bool = False
    """`plain` only: every convolution but one that reads a picture is a depthwise and a 1x1 one."""
    start: Annotated[int, Field(ge=0, le=7)] = 0
    """`plain` only: the number of the first stage, where it reads features of stride 2^start in place of a picture."""
    inputs: Width = 3
    """`plain` only: channels of what the first stage reads."""
    taps: Annotated[tuple[int, ...], Field(min_length=1, max_length=8)]
    """Stages that are returned, ascending. `plain` counts from 0, the published ones from 1 (layer1 is 1)."""
    tap_channels: tuple[Width, ...] = ()
    """When given, a 1x1 linear convolution (adapter) maps each tap to that many channels."""
    norm: bool = True
    """Whether convolutions are followed by BatchNorm; False once they are folded."""

    @property
    def first_stage(self) -> int:
        """The number of the first stage."""
        return self.start if self.arch == "plain" else 1

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Output channels of every stage of the whole architecture."""
        return self.widths if self.arch == "plain" else STAGE_WIDTHS[self.arch]

    @property
    def stage_count(self) -> int:
        """How many stages are built: up to the last tap."""
        return self.taps[-1] - self.first_stage + 1

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.arch == "plain") != bool(self.widths):
            raise ValueError("widths: needed for arch plain, and only there")
        if self.arch != "plain" and (self.separable or self.start or self.inputs != 3):
            raise ValueError(f"separable, start, inputs: for arch plain, not for {self.arch}")
        if self.start == 0 and self.inputs != 3:
            raise ValueError(f"inputs: {self.inputs} channels without a start: a picture has 3")
        first, last = self.first_stage, self.first_stage + len(self.stage_widths) - 1
        if list(self.taps) != sorted(set(self.taps)):
            raise ValueError(f"taps: {self.taps} must ascend without repetition")
        if self.taps[0] < first or self.taps[-1] > last:
            raise ValueError(f"taps: {self.taps} must lie in {first}..{last}, the stages of {self.arch}")
        if self.tap_channels and len(self.tap_channels) != len(self.taps):
            raise ValueError(f"tap_channels: {len(self.tap_channels)} given for {len(self.taps)} taps")
        return self


def tap_widths(config: BackboneConfig) -> tuple[int, ...]:
    """Channels of each returned feature map."""
    if config.tap_channels:
        return config.tap_channels
    return tuple(config.stage_widths[tap - config.first_stage] for tap in config.taps)


def normalization(arch: Architecture) -> tuple[Channels3, Channels3]:
    """Mean and standard deviation of RGB in [0, 1] that the published weights of an architecture expect."""
    return LITE_NORMALIZATION if arch == "efficientnet_lite0" else IMAGENET_NORMALIZATION


def tap_strides(config: BackboneConfig) -> tuple[int, ...]:
    """Input pixels per feature-map pixel of each tap; sizes round up: h_i = ceil(H / stride)."""
    if config.arch == "plain":
        return tuple(2 ** (tap + 1) for tap in config.taps)
    return tuple(STAGE_STRIDES[config.arch][tap - 1] for tap in config.taps)

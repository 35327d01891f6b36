"""Reverse distillation: a decoder restores a teacher's features from a narrow embedding, and fails to on anomalies.

Deng & Li, "Anomaly Detection via Reverse Distillation from One-Class Embedding" (CVPR 2022). The map is the sum over
scales of 1 - cosine, as in the paper's text; unlike STFPM's product it needs no factor to survive FP16. anomalib can
multiply the scales instead: that map is a power of two times its product, as STFPM's is.
"""

import math
from functools import reduce
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from budgetc.detectors.backbones import Backbone, BackboneConfig, build_backbone, tap_strides, tap_widths
from budgetc.detectors.backbones.config import Width
from budgetc.detectors.decoder import Block, Style, down_stage, up_stage
from budgetc.detectors.detector import Detector, DetectorConfig
from budgetc.detectors.halves import half_safe_map, map_gain
from budgetc.detectors.layers import ConcatUnit, ConvUnit
from budgetc.detectors.stfpm import IMAGENET_MEAN, IMAGENET_STD, Stfpm, scale_maps
from budgetc.detectors.upsampling import SubpixelUnit, TransposedUnit, UpKernel, Upsampling, to_subpixel

_REACH = 4.0
"""Standard deviations after which a Gaussian is cut off, as scipy's filter and anomalib's do."""
Depth = Annotated[int, Field(ge=1, le=16)]


class ReverseConfig(DetectorConfig):
    """A backbone, and the network that restores its taps from what all of them become in a bottleneck."""

    teacher: BackboneConfig
    widths: Annotated[tuple[Width, ...], Field(max_length=8)]
    """Channels of the restored maps, finest first; where they are not the taps', 1x1 adapters map them to these."""
    neck: Width
    """Channels of the embedding, at twice the stride of the coarsest tap."""
    block: Block
    depths: tuple[Depth, ...]
    """Blocks that restore each map, finest first."""
    neck_depth: Depth = 1
    """Blocks of the embedding."""
    upsampling: Upsampling = "transposed"
    """How sides are doubled; both compute the same, and only `subpixel` has integer kernels."""
    up_kernel: UpKernel = 2
    smoothing: Annotated[float, Field(ge=0, le=64)] = 4.0
    """Standard deviation in pixels of the Gaussian that the map is smoothed by; 0: it is not."""
    joining: Literal["sum", "product"] = "sum"
    """How the maps of all scales become one."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @property
    def adapted(self) -> bool:
        """Whether restored maps have other channels than the taps."""
        return self.widths != tap_widths(self.teacher)

    @property
    def least_side(self) -> int:
        """Sides of a picture are multiples of it: the stride of the embedding."""
        return 2 * tap_strides(self.teacher)[-1]

    @model_validator(mode="after")
    def _consistent(self) -> "ReverseConfig":
        strides = tap_strides(self.teacher)
        if any(second != 2 * first for first, second in pairwise(strides)):
            raise ValueError(f"the teacher's taps have strides {strides}; a decoder needs each to be twice the last")
        if not len(self.widths) == len(self.depths) == len(strides):
            raise ValueError(f"{len(self.widths)} widths and {len(self.depths)} depths for {len(strides)} taps")
        if self.block == "bottleneck" and any(width % 2 for width in (*self.widths, self.neck)):
            raise ValueError(f"bottleneck blocks need even widths, found {(*self.widths, self.neck)}")
        if any(side % self.least_side for side in self.input_size):
            raise ValueError(f"input_size: {self.input_size} must be multiples of {self.least_side}")
        if _radius(self.smoothing) >= min(self.input_size):
            raise ValueError(f"smoothing: {self.smoothing} reaches beyond pictures of {self.input_size}")
        return self


def mirror_of(teacher: BackboneConfig, widths: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Fields of the network that restores a backbone's taps: the paper's for residual ones, else plain blocks.

    With `widths`, plain blocks of so many channels.
    """
    found = tap_widths(teacher) if widths is None else widths
    plain = {"block": "plain", "depths": (2,) * len(found)}
    mirrored = {
        "wide_resnet50_2": {"block": "bottleneck", "depths": (6, 4, 3), "neck_depth": 3},
        "resnet18": {"block": "basic", "depths": (2, 2, 2), "neck_depth": 2},
    }
    style = mirrored.get(teacher.arch, plain) if widths is None else plain
    return {"widths": found, "neck": 2 * found[-1] if found else 0, **style}


def reverse_loss(teacher: list[Tensor], student: list[Tensor]) -> Tensor:
    """Sum over scales of the mean of 1 - cosine of whole maps, (b, c_i, h_i, w_i) each.

    As the authors' code trains: places of long features count more than in the map, where each place is a direction.
    """
    pairs = zip(teacher, student, strict=True)
    return torch.stack([1 - F.cosine_similarity(t.flatten(1), s.flatten(1)).mean() for t, s in pairs]).sum()


class Restorer(nn.Module):
    """Multi-scale fusion, one-class embedding and decoder: a teacher's taps -> the same restored, finest first."""

    def __init__(self, config: ReverseConfig) -> None:
        super().__init__()
        style = Style(config.block, config.upsampling, config.up_kernel)
        taps = tap_widths(config.teacher)
        self.fusion = nn.ModuleList(
            _downwards(tap, config.widths[number + 1 :]) for number, tap in enumerate(taps[:-1])
        )
        self.concat = ConcatUnit()
        joined = config.widths[-1] * (len(taps) - 1) + taps[-1]
        self.neck = down_stage(joined, config.neck, config.neck_depth, style)
        stages, inputs = [], config.neck
        for width, depth in zip(config.widths[::-1], config.depths[::-1], strict=True):
            stages.append(up_stage(inputs, width, depth, style))
            inputs = width
        self.decoder = nn.ModuleList(stages)
        """Coarsest first, as they compute."""
        adapted = zip(config.widths, taps, strict=True) if config.adapted else ()
        self.adapters = nn.ModuleList(ConvUnit(a, b, 1, norm=False, activation="none") for a, b in adapted)

    def forward(self, taps: list[Tensor]) -> list[Tensor]:
        """(b, c_i, h_i, w_i) each, finest first -> the same shapes."""
        x = self.concat(*(down(tap) for down, tap in zip(self.fusion, taps, strict=False)), taps[-1])
        x, restored = self.neck(x), list[Tensor]()
        for stage in self.decoder:
            x = stage(x)
            restored.insert(0, x)
        if not len(self.adapters):
            return restored
        return [adapter(one) for adapter, one in zip(self.adapters, restored, strict=True)]


def _downwards(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    """A stride-2 convolution a scale until the coarsest."""
    sizes = zip((inputs, *widths), widths, strict=False)
    return nn.Sequential(*(ConvUnit(before, after, 3, stride=2) for before, after in sizes))


class ReverseDistillation(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,), map (b, 1, H, W). Teacher, bottleneck and decoder are deployed."""

    output_names = ("score", "map")
    half_safe = False
    """Whether the head must survive FP16; set by the export for targets that compute in it."""

    def __init__(self, config: ReverseConfig) -> None:
        super().__init__()
        self.size = config.input_size
        self.multiplied = config.joining == "product"
        self.teacher: Backbone = build_backbone(config.teacher)
        self.student = Restorer(config)
        self.teacher.eval()
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("kernel", _gaussian(config.smoothing), persistent=False)

    def deployed(self) -> nn.Module:
        """All of it."""
        return self

    def train(self, mode: bool = True) -> "ReverseDistillation":
        """The frozen teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def normalized(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] -> zero mean, unit variance by the teacher's convention."""
        return (image - self.get_buffer("mean")) / self.get_buffer("std")

    def taps(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(b, 3, H, W) in [0, 1] -> what is compared: the teacher's feature maps and the restored ones."""
        teacher = self.teacher(self.normalized(image))
        return teacher, self.student(teacher)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        teacher, student = self.taps(image)
        gain = map_gain(len(teacher)) if self.multiplied else 1.0
        if self.half_safe:
            maps = [half_safe_map(t, s, gain) for t, s in zip(teacher, student, strict=True)]
        else:
            # Half the squared distance of directions is 1 - cosine, and loses no digit where that is near 0.
            maps = scale_maps(teacher, student, gain)
        joined = self.joined(maps)
        return joined.flatten(1).amax(1), joined

    def joined(self, maps: list[Tensor]) -> Tensor:
        """Maps of all scales -> their smoothed sum or product at full size, (b, 1, H, W)."""
        resized = [F.interpolate(one, size=self.size, mode="bilinear", align_corners=True) for one in maps]
        join = torch.mul if self.multiplied else torch.add
        total, kernel = reduce(join, resized), self.get_buffer("kernel")
        radius = len(kernel) // 2
        if radius == 0:
            return total
        padded = F.pad(total, (radius,) * 4, mode="reflect")
        return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))


TeacherStudent = Stfpm | ReverseDistillation
"""Detectors that compare a frozen teacher's feature maps with a student's."""


def _radius(deviation: float) -> int:
    return int(_REACH * deviation + 0.5)


def _gaussian(deviation: float) -> Tensor:
    """(2 radius + 1,) weights that sum to 1."""
    radius = _radius(deviation)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-offsets.square() / (2 * max(deviation, math.ulp(1.0)) ** 2))
    return (weights / weights.sum()).float()


def subpixel_form(detector: Detector) -> Detector:
    """The detector with its transposed convolutions in the form that has integer kernels; scores are the same.

    Every other detector as it is. The one that was passed in is unchanged.
    """
    old, config = detector.module, detector.config
    if not isinstance(old, ReverseDistillation) or not isinstance(config, ReverseConfig):
        return detector
    if config.upsampling == "subpixel":
        return detector
    config = config.model_copy(update={"upsampling": "subpixel"})
    new = ReverseDistillation(config)
    new.teacher = old.teacher
    known, replaced = dict(old.student.named_modules()), set[str]()
    for name, unit in new.student.named_modules():
        before = known[name]
        if isinstance(unit, SubpixelUnit) and isinstance(before, TransposedUnit):
            to_subpixel(before, unit)
            replaced.add(name)
    same = {name: weight for name, weight in old.student.state_dict().items()
            if not name.startswith(tuple(f"{unit}." for unit in replaced))}  # fmt: skip
    new.student.load_state_dict(new.student.state_dict() | same)
    return Detector(detector.family, config, new.eval(), detector.formats, detector.quantization, detector.threshold)

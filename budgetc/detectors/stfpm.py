"""STFPM: a student reproduces a teacher's features on normals and fails to on anomalies.

Wang et al., "Student-Teacher Feature Pyramid Matching for Anomaly Detection", BMVC 2021.
"""

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from budgetc.detectors.backbones import Backbone, BackboneConfig, build_backbone, tap_strides, tap_widths
from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.halves import half_safe_map, map_gain

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class StfpmConfig(DetectorConfig):
    """Two backbones whose taps agree in number and channels."""

    teacher: BackboneConfig
    student: BackboneConfig
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    shared: int = Field(default=0, ge=0, le=8)
    """The student reads what so many of the teacher's first stages return; 0: the picture."""

    @model_validator(mode="after")
    def _taps_agree(self) -> "StfpmConfig":
        teacher, student = tap_widths(self.teacher), tap_widths(self.student)
        if teacher != student:
            raise ValueError(f"the teacher's taps have {teacher} channels, the student's {student}: give tap_channels")
        return self

    @model_validator(mode="after")
    def _trunk_comes_first(self) -> "StfpmConfig":
        if self.shared == 0:
            return self
        trunk = trunk_of(self.teacher, self.shared)
        if self.teacher.taps[0] <= trunk.taps[0] or tap_strides(trunk)[0] != 2**self.student.start:
            raise ValueError(
                f"shared: {self.shared} stages end at tap {self.teacher.taps[0]} or not where {self.student} starts"
            )
        return self


def trunk_of(teacher: BackboneConfig, stages: int) -> BackboneConfig:
    """A teacher's first stages, the last of them tapped: what a student may share.

    Raises:
        ValueError: there are not so many.
    """
    return BackboneConfig.model_validate(
        teacher.model_dump() | {"taps": (teacher.first_stage + stages - 1,), "tap_channels": ()}
    )


def scale_maps(teacher: list[Tensor], student: list[Tensor], gain: float = 1.0) -> list[Tensor]:
    """`gain` times half the squared distance of channel-normalized features, per scale (b, 1, h_i, w_i)."""
    maps = []
    for t, s in zip(teacher, student, strict=True):
        difference = _normalized(t) - _normalized(s)
        maps.append(0.5 * gain * difference.square().sum(1, keepdim=True))
    return maps


def matching_loss(teacher: list[Tensor], student: list[Tensor]) -> Tensor:
    """Sum over scales of the mean map (equation 1 and 2 of the paper)."""
    return torch.stack([m.mean() for m in scale_maps(teacher, student)]).sum()


def _normalized(x: Tensor) -> Tensor:
    # F.normalize exports an Expand that static-shape tools stumble over; this is the same function.
    return x / torch.sqrt(x.square().sum(1, keepdim=True) + 1e-12)


class Stfpm(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,), map (b, 1, H, W). Both networks are deployed.

    The map is a power of two (2^12 for three taps) times the product of the scales: see `halves.map_gain`.
    """

    output_names = ("score", "map")
    half_safe = False
    """Whether the head must survive FP16; set by the export for targets that compute in it."""

    def __init__(self, config: StfpmConfig) -> None:
        super().__init__()
        self.size = config.input_size
        self.shared = config.shared
        self.teacher: Backbone = build_backbone(config.teacher)
        self.student: Backbone = build_backbone(config.student)
        self.teacher.eval()
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def deployed(self) -> nn.Module:
        """All of it."""
        return self

    def train(self, mode: bool = True) -> "Stfpm":
        """The frozen teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def normalized(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] -> zero mean, unit variance by the teacher's convention."""
        return (image - self.get_buffer("mean")) / self.get_buffer("std")

    def taps(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(b, 3, H, W) in [0, 1] -> what is compared: the teacher's feature maps and the student's."""
        x = self.normalized(image)
        trunk = self.teacher.trunk(x, self.shared)
        return self.teacher.onward(trunk, self.shared), self.student(trunk if self.shared else x)

    def student_taps(self, image: Tensor) -> list[Tensor]:
        """(b, 3, H, W) in [0, 1] -> the student's feature maps alone; a shared trunk learns nothing from them."""
        x = self.normalized(image)
        if self.shared:
            with torch.no_grad():
                x = self.teacher.trunk(x, self.shared)
        taps: list[Tensor] = self.student(x)
        return taps

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        product = self.joined(self._maps(*self.taps(image)))
        return product.flatten(1).amax(1), product

    def joined(self, maps: list[Tensor]) -> Tensor:
        """Maps of all scales -> their product at full size, (b, 1, H, W)."""
        product: Tensor | None = None
        for scale in maps:
            resized = F.interpolate(scale, size=self.size, mode="bilinear", align_corners=False)
            product = resized if product is None else product * resized
        assert product is not None, "a backbone has at least one tap"
        return product

    def _maps(self, teacher: list[Tensor], student: list[Tensor]) -> list[Tensor]:
        gain = map_gain(len(teacher))
        if self.half_safe:
            return [half_safe_map(t, s, gain) for t, s in zip(teacher, student, strict=True)]
        return scale_maps(teacher, student, gain)

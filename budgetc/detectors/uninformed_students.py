"""Uninformed students: an ensemble that predicts how a teacher describes patches, and errs or disagrees on anomalies.

Bergmann et al., "Uninformed Students: Student-Teacher Anomaly Detection with Discriminative Latent Embeddings"
(CVPR 2020). Squared distances are means over channels, not sums: the normalizers take the factor out again.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field as Limits
from pydantic import model_validator
from torch import Tensor, nn

from budgetc.core.frozen import Frozen
from budgetc.detectors.backbones.config import Width
from budgetc.detectors.detector import DetectorConfig
from budgetc.detectors.halves import half_safe_mean_square
from budgetc.detectors.patch_network import WIDTHS, Field, Patched, PatchNetwork, PatchShape, Stride, reach
from budgetc.detectors.stfpm import IMAGENET_MEAN, IMAGENET_STD
from budgetc.errors import BudgetcError


class PatchConfig(Frozen):
    """Of the layers before the descriptor."""

    widths: Annotated[tuple[Width, ...], Limits(max_length=8)] = WIDTHS[33]
    activation: Patched = "leaky"
    norm: bool = True
    """BatchNorm behind convolutions, which the published networks lack: folded, the network is the same (measured:
    DECISIONS.md)."""


class StudentsConfig(DetectorConfig):
    """A teacher and its students: patch networks of one receptive field and one grid."""

    field: Field = 33
    teacher: PatchConfig = PatchConfig()
    student: PatchConfig = PatchConfig()
    descriptor: Width = 128
    students: Annotated[int, Limits(ge=1, le=16)] = 3
    """One student has nobody to disagree with: its map is the error alone."""
    stride: Stride = 4
    margin: bool = True
    """Mirror the picture at its edges, so that patches are centered on all of it; else only whole patches count."""
    taught_by: Literal["efficientnet_lite0", "given"] = "efficientnet_lite0"
    """Where the teacher's knowledge is from: training teaches it, or its weights were given."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @model_validator(mode="after")
    def _consistent(self) -> "StudentsConfig":
        for name, widths in (("teacher", self.teacher.widths), ("student", self.student.widths)):
            if len(widths) != len(WIDTHS[self.field]):
                raise ValueError(
                    f"{name}.widths: {len(widths)} given, a patch network of {self.field} px has "
                    f"{len(WIDTHS[self.field])} before its descriptor"
                )
        least = self.field // 2 + 1 if self.margin else self.field
        if min(self.input_size) < least:
            raise ValueError(f"input_size: {self.input_size}, patches of {self.field} px need at least {least}")
        return self

    def shape(self, network: PatchConfig) -> PatchShape:
        """Of the teacher or of a student."""
        return PatchShape(self.field, network.widths, self.descriptor, self.stride, network.activation, network.norm)


class Students(nn.Module):
    """Independent networks: (b, 3, H, W) normalized -> their descriptors, (b, d, h, w) each."""

    def __init__(self, config: StudentsConfig) -> None:
        super().__init__()
        self.nets = nn.ModuleList(PatchNetwork(config.shape(config.student)) for _ in range(config.students))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [net(x) for net in self.nets]


def students_loss(target: Tensor, predictions: list[Tensor]) -> Tensor:
    """Sum over students of the mean squared error; each learns as if it were alone (equation 6)."""
    return torch.stack([F.mse_loss(own, target) for own in predictions]).sum()


class UninformedStudents(nn.Module):
    """(b, 3, H, W) in [0, 1] -> score (b,), map (b, 1, H, W). Teacher and students are deployed.

    Map: (error - mu) / sd + (spread - mu) / sd, resized; the score is its maximum before it is resized.
    """

    output_names = ("score", "map")
    half_safe = False
    """Whether the head must survive FP16; set by the export for targets that compute in it."""

    def __init__(self, config: StudentsConfig) -> None:
        super().__init__()
        self.size = config.input_size
        self.teacher = PatchNetwork(config.shape(config.teacher))
        self.students = Students(config)
        self.teacher.eval()
        terms = min(2, config.students)
        # Not 0 or 1, which a simplified graph leaves out, nor alike: what is not fitted yet must cost what it will.
        self.register_buffer("center", torch.tensor([0.5, 0.75])[:terms].clone())
        self.register_buffer("scale", torch.tensor([0.3, 0.6])[:terms].clone())
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        seen = reach(config.field)
        self.margin = (seen // 2, seen - 1 - seen // 2) if config.margin else (0, 0)
        """Mirrored pixels before and after each side."""
        described = tuple((side + sum(self.margin) - seen) // config.stride + 1 for side in self.size)
        self.whole = (-(-self.size[0] // config.stride), -(-self.size[1] // config.stride))
        """Places of a map that covers the picture, (h, w)."""
        self.outside = [((whole - inner) // 2, whole - inner - (whole - inner) // 2)
                        for inner, whole in zip(described, self.whole, strict=True)]  # fmt: skip
        """Of them, those before and after the described ones, in each direction."""

    def deployed(self) -> nn.Module:
        """All of it."""
        return self

    def train(self, mode: bool = True) -> "UninformedStudents":
        """The frozen teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def lowest_score(self) -> float:
        """Of a picture that all students describe as the teacher does."""
        return -float((self.get_buffer("center") / self.get_buffer("scale")).sum())

    def normalized(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) in [0, 1] -> zero mean, unit variance by the teacher's convention, with its margin."""
        x = (image - self.get_buffer("mean")) / self.get_buffer("std")
        return F.pad(x, 2 * self.margin, mode="reflect") if any(self.margin) else x

    def descriptors(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(b, 3, H, W) in [0, 1] -> the teacher's whitened descriptors and every student's, (b, d, h, w) each."""
        x = self.normalized(image)
        return self.teacher(x), self.students(x)

    def deviations(self, image: Tensor) -> list[Tensor]:
        """(b, 3, H, W) in [0, 1] -> error of the mean student and, of several, their spread: (b, 1, h, w) each."""
        return deviations_of(*self.descriptors(image))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        differences = _differences(*self.descriptors(image))
        total = self._standardized(differences[0], 0)
        if len(differences) > 1:
            total = total + self._standardized(differences[1], 1)
        rows, columns = self.outside
        whole = F.pad(total, (*columns, *rows), mode="replicate") if any((*columns, *rows)) else total
        resized = F.interpolate(whole, size=self.size, mode="bilinear", align_corners=False)
        return total.flatten(1).amax(1), resized

    def _standardized(self, difference: Tensor, term: int) -> Tensor:
        """(square - mu) / sd, divided before squaring: sd alone may be too small for FP16."""
        center, scale = self.get_buffer("center")[term], self.get_buffer("scale")[term]
        return self._square(difference / scale.sqrt()) - center / scale

    def _square(self, difference: Tensor) -> Tensor:
        """Mean square over channels, (b, c, h, w) -> (b, 1, h, w)."""
        return half_safe_mean_square(difference) if self.half_safe else difference.square().mean(1, keepdim=True)


def deviations_of(target: Tensor, predictions: list[Tensor]) -> list[Tensor]:
    """Teacher's and students' descriptors -> mean squared error and, of several students, spread, (b, 1, h, w) each."""
    return [part.square().mean(1, keepdim=True) for part in _differences(target, predictions)]


def _differences(target: Tensor, predictions: list[Tensor]) -> list[Tensor]:
    """Mean student minus teacher; of several students, each minus their mean, so that no large squares cancel.

    The second is (b, M d, h, w): its mean square is the mean over students of the mean over channels.
    """
    mean = sum(predictions[1:], predictions[0]) / len(predictions)
    if len(predictions) == 1:
        return [mean - target]
    return [mean - target, torch.cat([own - mean for own in predictions], 1)]


@torch.no_grad()
def fit_normalizers(module: UninformedStudents, deviations: list[Tensor]) -> None:
    """Set mean and standard deviation of error and spread in place, over all places of normals (section 3.3).

    Args:
        module: of which `deviations` is what `UninformedStudents.deviations` returned.
        deviations: (n, 1, h, w) each.

    Raises:
        BudgetcError: they are not finite, or all alike.
    """
    center = torch.stack([one.double().mean() for one in deviations])
    scale = torch.stack([one.double().std() for one in deviations])
    if not bool((scale > 0).all()) or not bool(torch.isfinite(center + scale).all()):
        raise BudgetcError("the students' errors on normals are all alike, or not finite: no score can be fitted")
    module.get_buffer("center").copy_(center)
    module.get_buffer("scale").copy_(scale)


@torch.no_grad()
def whiten(teacher: PatchNetwork, descriptors: Tensor) -> None:
    """Fold into the teacher's last layer what gives these descriptors zero mean and unit deviation a channel.

    Args:
        teacher: in place.
        descriptors: (n, d, h, w) of normals, its own (equation 5).
    """
    mean, deviation = descriptors.mean((0, 2, 3)), descriptors.std((0, 2, 3))
    factor, conv = 1 / deviation.clamp(min=1e-6), teacher.out.conv
    assert conv.bias is not None, "it was built with one"
    conv.weight.mul_(factor.view(-1, 1, 1, 1))
    conv.bias.copy_((conv.bias - mean) * factor)


def compactness(descriptors: Tensor) -> Tensor:
    """Mean absolute correlation of two channels over all places, (b, d, h, w) -> scalar (equation 4)."""
    channels = descriptors.shape[1]
    rows = descriptors.movedim(1, 0).flatten(1)
    centered = F.normalize(rows - rows.mean(1, keepdim=True), dim=1)
    return (centered @ centered.T).abs().triu(1).sum() * 2 / max(1, channels * (channels - 1))

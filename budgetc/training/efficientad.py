"""How EfficientAD learns: its teacher from a pretrained network, its student and autoencoder from the teacher.

The paper's teacher learns from a Wide-ResNet-101 on ImageNet. Here it learns on what is at hand: normals, damaged
normals and made textures. The last also stand in for ImageNet where a student must not follow its teacher. The
autoencoder sees the same pictures as the student, toned among them, so that a teacher's features are computed once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.core.dataset import evenly
from budgetc.detectors.backbones import Backbone
from budgetc.detectors.detector import as_input
from budgetc.detectors.efficientad import EfficientAd, hard_loss, normalize_channels
from budgetc.detectors.efficientad_networks import PatchDescriptionNetwork, Size
from budgetc.detectors.layers import fold_norms
from budgetc.training.features import Keep, computed, outputs_of, recalled
from budgetc.training.loop import Curve, Effort, Examples, Progress, fit
from budgetc.training.pictures import Pictures, Pixels
from budgetc.training.textures import made_textures

_MOST = 1500
"""Normals that a teacher learns from, and damaged ones."""
_TEXTURES = 500
"""Made for a teacher: fewer, for their features vary more and would be most of the loss (1.3 to 1.7 times the deviation
on magnetic tiles). As many are made for a student."""
_OTHER_SHARE = 4
"""Pictures of normals for each other one in a step."""
_NORMALIZED_ON = 128
"""Training normals that the mean and deviation of features are found on."""
Taps = Callable[[Tensor], list[Tensor]]
"""(b, 3, H, W) in [0, 1] -> feature maps."""
_STRIDE = 4
_NEAR = 2
"""The pretrained network sees pictures of twice the sides: its patches are larger than those of the teacher."""


@dataclass(frozen=True, slots=True)
class Source:
    """A pretrained network whose features a teacher learns."""

    backbone: Backbone
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def features(self, image: Tensor) -> list[Tensor]:
        """(b, 3, H, W) in [0, 1] -> its taps for the picture at twice its sides."""
        near = F.interpolate(image, scale_factor=_NEAR, mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(one, device=image.device).view(1, 3, 1, 1) for one in (self.mean, self.std))
        taps: list[Tensor] = self.backbone((near - mean) / std)
        return taps


def learn_source(
    module: EfficientAd, source: Source, pictures: Pictures, effort: Effort, *, progress: Progress
) -> Curve:
    """Train the teacher in place towards a pretrained network's features, on a grid of a quarter of the sides.

    It trains with BatchNorm, which is folded afterwards: deployed networks have none, as published.
    """
    device, plain = _device_of(module), module.teacher
    source.backbone.eval().to(device)
    normed = PatchDescriptionNetwork(plain.widths, (plain.channels,), padding=plain.padding, norm=True)
    module.teacher = normed.to(device)
    height, width = (-(-side // _STRIDE) for side in module.size)
    curve = learn_features(module, source.features, pictures, effort, grid=(height, width), progress=progress)
    fold_norms(module.teacher)
    return curve


def learn_features(
    module: EfficientAd, features: Taps, pictures: Pictures, effort: Effort, *, grid: Size, progress: Progress
) -> Curve:
    """Train the teacher in place towards feature maps of a frozen network, each channel in units of its deviation.

    Maps are brought to `grid`, and their channels by averaging neighbors to the teacher's number (the paper's section
    3.1, after PatchCore); a teacher without padding describes the middle of the grid.
    """
    teacher, device = module.teacher, _device_of(module)
    images, train, watch = teacher_pictures(pictures, module.size, effort.seed)
    wanted = recalled(lambda x: features(x.to(device)), images)
    joined = _joined(wanted, grid, teacher.channels)
    some = joined(torch.from_numpy(evenly(len(images), _NORMALIZED_ON)))
    deviation, mean = torch.std_mean(some, (0, 2, 3), keepdim=True)

    def loss(indices: Tensor) -> Tensor:
        own = teacher(module.normalized(as_input(images[indices.numpy()]).to(device)))[0]
        return F.mse_loss(own, _middle((joined(indices) - mean) / (deviation + 1e-6), own))

    return fit(teacher, Examples(train, watch, loss), effort, progress)


def teacher_pictures(pictures: Pictures, size: tuple[int, int], seed: int) -> tuple[Pixels, Tensor, Tensor]:
    """Pictures that a teacher learns from, at most so many of each kind, and indices to train on and to watch."""
    made = made_textures(_TEXTURES, size, seed=seed)
    parts, train, watch, offset = [], [], [], 0
    tenth = torch.arange(len(made)) % 10 == 0
    for images, learned, held in (
        (pictures.normal, pictures.train, pictures.held_out),
        (pictures.damaged, pictures.damaged_train, pictures.damaged_held_out),
        (made, (~tenth).nonzero()[:, 0], tenth.nonzero()[:, 0]),
    ):
        parts.append(images)
        train.append(learned[torch.from_numpy(evenly(len(learned), _MOST))] + offset)
        watch.append(held + offset)
        offset += len(images)
    chosen = torch.cat([*train, *watch]).unique()
    images = np.concatenate(parts)[chosen.numpy()]
    return images, torch.searchsorted(chosen, torch.cat(train)), torch.searchsorted(chosen, torch.cat(watch))


def normalize_teacher(module: EfficientAd, pictures: Pictures) -> None:
    """Give the features of training normals zero mean and unit variance, in place."""
    device = _device_of(module)
    normals = pictures.as_taken[evenly(pictures.originals, _NORMALIZED_ON)]
    (features,) = outputs_of(lambda x: module.teacher(module.normalized(x.to(device))), normals)
    normalize_channels(module.teacher, features)


def learn_follower(
    module: EfficientAd,
    pictures: Pictures,
    effort: Effort,
    *,
    progress: Progress,
    keep: Keep = computed,
) -> Curve:
    """Train student and autoencoder in place on a finished teacher's features of normals, which `keep` may know."""
    device = _device_of(module)
    wanted = recalled(lambda x: module.teacher(module.normalized(x.to(device))), pictures.normal, keep=keep)
    loss = follower_loss(module, wanted, pictures.normal, effort.seed)
    return fit(module.student, Examples(pictures.train, pictures.held_out, loss), effort, progress)


def follower_loss(
    module: EfficientAd, wanted: Callable[[Tensor], list[Tensor]], images: Pixels, seed: int
) -> Callable[[Tensor], Tensor]:
    """Indices of `images` -> the sum of the paper's losses: of the student's hard features (equation 1) and of its
    features of other pictures, which are to be 0 (2); of the autoencoder (3), and of the student after it (4).
    """
    others = made_textures(_TEXTURES, module.size, seed=seed + 1)
    drawn = _endless(len(others), seed)

    def loss(indices: Tensor) -> Tensor:
        device = _device_of(module)
        (teacher,) = wanted(indices)
        x = module.normalized(as_input(images[indices.numpy()]).to(device))
        after_teacher, after_autoencoder, autoencoder = module.student(x)
        total = hard_loss(teacher, after_teacher)
        total = total + F.mse_loss(autoencoder, teacher) + F.mse_loss(after_autoencoder, autoencoder)
        if module.student.training:
            rows = [next(drawn) for _ in range(-(-len(indices) // _OTHER_SHARE))]
            other = module.normalized(as_input(others[rows]).to(device))
            total = total + module.student.patches(other)[0].square().mean()
        return total

    return loss


def _endless(count: int, seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(count)


def _joined(
    wanted: Callable[[Tensor], list[Tensor]], grid: tuple[int, int], features: int
) -> Callable[[Tensor], Tensor]:
    """Indices -> (b, features, *grid)."""

    def joined(indices: Tensor) -> Tensor:
        taps = [_on_grid(tap, grid) for tap in wanted(indices)]
        rows = torch.cat(taps, 1).movedim(1, -1)
        return F.adaptive_avg_pool1d(rows.flatten(1, 2), features).view(*rows.shape[:3], features).movedim(-1, 1)

    return joined


def _on_grid(tap: Tensor, grid: tuple[int, int]) -> Tensor:
    if tap.shape[-2:] == grid:
        return tap
    if tap.shape[-2] > grid[0]:
        return F.adaptive_avg_pool2d(tap, grid)
    return F.interpolate(tap, size=grid, mode="bilinear", align_corners=False)


def _middle(wanted: Tensor, own: Tensor) -> Tensor:
    """The places of `wanted` that a network without padding describes."""
    height, width = own.shape[-2:]
    top, left = (wanted.shape[-2] - height) // 2, (wanted.shape[-1] - width) // 2
    return wanted[..., top : top + height, left : left + width]


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device

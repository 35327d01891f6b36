"""Uninformed students from normals: a teacher that learned from a pretrained network, and students of the teacher."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.core.dataset import evenly
from budgetc.detectors.backbones import BackboneConfig, build_backbone, load_efficientnet_lite0, normalization
from budgetc.detectors.detector import as_input
from budgetc.detectors.uninformed_students import (
    StudentsConfig,
    UninformedStudents,
    compactness,
    fit_normalizers,
    students_loss,
    whiten,
)
from budgetc.training.features import outputs_of, recalled
from budgetc.training.loop import Curve, Effort, Examples, Progress, fit
from budgetc.training.pictures import Pictures

_TAPS = (3, 5)
"""Stages of EfficientNet-Lite0 that a teacher learns: strides 8 and 16 of a picture of twice the sides."""
_ENLARGED = 2
_TAUGHT = 1024
"""Most normals, and as many damaged ones, that a teacher learns from: the pretrained network is slow."""


def train_students(
    module: UninformedStudents, config: StudentsConfig, pictures: Pictures, effort: Effort, *, progress: Progress
) -> Curve:
    """Teach the teacher unless it is given, whiten it, train all students on it and fit the head, in place."""
    device = next(module.parameters()).device
    module.eval()
    if config.taught_by == "efficientnet_lite0":
        _teach(module, pictures, replace(effort, label="teaching the teacher"), progress)
    whiten_on_normals(module, pictures)
    wanted = recalled(lambda x: [module.teacher(module.normalized(x.to(device)))], pictures.normal)

    def loss(indices: Tensor) -> Tensor:
        image = as_input(pictures.normal[indices.numpy()]).to(device)
        (described,) = wanted(indices)
        return students_loss(described, module.students(module.normalized(image)))

    curve = fit(module.students, Examples(pictures.train, pictures.held_out, loss), effort, progress)
    fit_normalizers(module, outputs_of(lambda x: module.deviations(x.to(device)), pictures.as_taken))
    return curve


def whiten_on_normals(module: UninformedStudents, pictures: Pictures) -> None:
    """Descriptors of training normals get zero mean and unit deviation a channel, in place."""
    device = next(module.parameters()).device
    (own,) = outputs_of(lambda x: [module.teacher(module.normalized(x.to(device)))], pictures.as_taken)
    whiten(module.teacher, own)


def _teach(module: UninformedStudents, pictures: Pictures, effort: Effort, progress: Progress) -> None:
    """Distill EfficientNet-Lite0 into the teacher, on normals and damaged normals (section 3.1).

    Dense: the features at the center of every patch, which a 1x1 convolution decodes from its descriptor, in place of
    one forward pass a crop. The decoder is forgotten afterwards.
    """
    device = next(module.parameters()).device
    sides = [_some(pictures.train), _some(pictures.damaged_train)], [pictures.held_out, pictures.damaged_held_out]
    train, watch = (np.concatenate([pictures.normal[a.numpy()], pictures.damaged[b.numpy()]]) for a, b in sides)
    images = np.concatenate([train, watch])
    wanted = _pretrained(module, images, device)
    decoder = nn.Conv2d(module.teacher.out.conv.out_channels, wanted.shape[1], 1)
    trained = nn.ModuleDict({"teacher": module.teacher, "decoder": decoder}).to(device)

    def loss(indices: Tensor) -> Tensor:
        descriptors = module.teacher(module.normalized(as_input(images[indices.numpy()]).to(device)))
        return F.mse_loss(decoder(descriptors), wanted[indices]) + compactness(descriptors)

    examples = Examples(torch.arange(len(train)), torch.arange(len(train), len(images)), loss)
    fit(trained, examples, effort, progress)


def _some(indices: Tensor) -> Tensor:
    return indices[torch.from_numpy(evenly(len(indices), _TAUGHT))]


def _pretrained(module: UninformedStudents, images: np.ndarray, device: torch.device) -> Tensor:
    """Features at the centers of patches, standardized: (n, c, h, w)."""
    config = BackboneConfig(arch="efficientnet_lite0", taps=_TAPS)
    backbone = build_backbone(config)
    load_efficientnet_lite0(backbone)
    backbone = backbone.eval().to(device)
    mean, std = (torch.tensor(one, device=device).view(1, 3, 1, 1) for one in normalization("efficientnet_lite0"))
    (top, below), (left, right) = module.outside
    rows, columns = (slice(top, module.whole[0] - below), slice(left, module.whole[1] - right))

    def features(x: Tensor) -> list[Tensor]:
        large = F.interpolate(x.to(device), scale_factor=_ENLARGED, mode="bilinear", align_corners=False)
        taps = backbone((large - mean) / std)
        resized = torch.cat([F.interpolate(tap, module.whole, mode="bilinear", align_corners=False) for tap in taps], 1)
        return [resized[:, :, rows, columns].clone()]

    (found,) = outputs_of(features, images)
    deviation, center = torch.std_mean(found, (0, 2, 3), keepdim=True)
    return (found - center) / deviation.clamp(min=1e-6)

"""Smaller backbones of a Gaussian detector: learned. What they make of normals is fitted afterwards (`refit.py`)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.gaussian import Gaussian
from budgetc.errors import UsageError
from budgetc.passes.imitate import on_all
from budgetc.passes.work import Work
from budgetc.training.loop import Effort, Examples, fit

_DISTANCE_WEIGHT = 0.5
_SMALL = 0.1
"""Mean squares of normals are about 1: smaller ones need not be told apart."""


def imitate_features(new: Gaussian, detector: Detector, effort: Effort, work: Work) -> None:
    """Train the backbone of `new` towards the baseline's whitened features, on normals and damaged normals.

    In whitened features every direction counts by how seldom normals go there, which is what the score asks. A linear
    adapter to the baseline's channels exists during training only. The loss is Huber's, because damage is far out, plus
    the squared difference of the logarithms of both distances: without it a small network learns where normals vary
    and nothing of how far damage lies from them (measured: DECISIONS.md).

    Args:
        new: its coarsest tap has the stride of the baseline's.
        detector: says the input size.
        effort: epochs and learning rate; no epochs leave the weights as they are.
        work: pictures and the baseline.
    """
    if effort.epochs == 0:
        new.eval()
        return
    old, size = work.baseline.module, detector.config.input_size
    assert isinstance(old, Gaussian)
    train, watch, images = on_all(work, size)
    wanted = work.outputs(old, lambda x: [old.whiten(old.features(x))], size)
    (first,), grid = wanted(torch.tensor([0])), new.features(as_input(images[:1])).shape[-2:]
    if grid != first.shape[-2:]:
        raise UsageError(
            f"{effort.label}: features on a grid of {tuple(grid)} cannot imitate the baseline's on "
            f"{tuple(first.shape[-2:])}; leave out the truncate step before it, or keep its last stages"
        )
    adapter = nn.Conv2d(new.whiten.conv.in_channels, first.shape[1], 1)
    trained = nn.ModuleDict({"network": new.backbone, "adapter": adapter})

    def loss(indices: Tensor) -> Tensor:
        (theirs,) = wanted(indices)
        return whitened_loss(adapter(new.features(as_input(images[indices.numpy()]))), theirs)

    work.curves.append(fit(trained, Examples(train, watch, loss), effort, work.progress))


def whitened_loss(own: Tensor, wanted: Tensor) -> Tensor:
    """Huber's loss of whitened features, (b, c, h, w) each, and the squared difference of their log distances."""
    return F.smooth_l1_loss(own, wanted) + _DISTANCE_WEIGHT * F.mse_loss(_log_distance(own), _log_distance(wanted))


def _log_distance(whitened: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, h, w)."""
    return (whitened.square().mean(1) + _SMALL).log()


def tell_damage(new: Gaussian, detector: Detector, effort: Effort, work: Work) -> None:
    """Train the backbone of `new` without a baseline: to tell normals from damaged normals.

    Li et al., "CutPaste: Self-Supervised Learning for Anomaly Detection and Localization" (CVPR 2021), section 2.1.
    """
    if effort.epochs == 0:
        new.eval()
        return
    train, watch, images = on_all(work, detector.config.input_size)
    normal = len(work.pictures(detector.config.input_size).normal)
    judge = nn.Linear(new.whiten.conv.in_channels, 1)
    trained = nn.ModuleDict({"network": new.backbone, "judge": judge})
    # Variants make normals several times as many as damaged ones.
    weight = torch.tensor(normal / (len(images) - normal))

    def loss(indices: Tensor) -> Tensor:
        pooled = new.features(as_input(images[indices.numpy()])).mean((2, 3))
        return F.binary_cross_entropy_with_logits(judge(pooled)[:, 0], (indices >= normal).float(), pos_weight=weight)

    work.curves.append(fit(trained, Examples(train, watch, loss), effort, work.progress))

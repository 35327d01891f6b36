"""Which latent dimensions of a VAE stay: those without which damaged normals would look most like normals."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from budgetc.detectors.detector import Detector
from budgetc.detectors.latents import LatentDistance, fit_prototypes
from budgetc.detectors.layers import LinearUnit
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.detectors.variational import Latent, kl_per_latent
from budgetc.passes.pruning.subject import sampled
from budgetc.passes.work import Work
from budgetc.training.features import outputs_of

_PICTURES = 256
"""Training normals, and as many damaged normals, that a choice is made by."""
Separate = Callable[[Sequence[int]], float]
"""Chosen latents -> how far the scores of damaged normals lie from those of normals."""


@torch.no_grad()
def keep_latents(detector: Detector, share: float, work: Work) -> Detector:
    """A VAE with `share` of its latents, the rows of `mu` and `logvar` cut together and the prototypes fitted again.

    One after another goes the latent without which the others separate damaged normals best. With effort 0 the first
    ones stay: a price depends on their number alone.
    """
    module, config = copy.deepcopy(detector.module), detector.config
    assert isinstance(module, Vae) and isinstance(config, VaeConfig)
    count = max(1, round(share * config.latents))
    encoder, chosen = module.encoder, list(range(count))
    if work.effort > 0:
        size = config.input_size
        normal, damaged = (Latent(*outputs_of(lambda x: list(encoder.encode(x)), sampled(work, size, *counts)))
                           for counts in ((_PICTURES, 0), (0, _PICTURES)))  # fmt: skip
        chosen = _eliminated(config.latents, count, _separation(normal, damaged, config.prototypes))
    encoder.mu, encoder.logvar = _rows(encoder.mu, chosen), _rows(encoder.logvar, chosen)
    if encoder.distance is not None:
        encoder.distance = LatentDistance(count, config.prototypes)
        if work.effort > 0:
            fit_prototypes(encoder.distance, normal.mu[:, chosen])
    return replace(detector, module=module.eval(), config=config.model_copy(update={"latents": count}))


def _eliminated(latents: int, count: int, separate: Separate) -> list[int]:
    """Backward elimination, ascending; ties go to the later latent."""
    left = list(range(latents))
    while len(left) > count:
        worth = [separate([one for one in left if one != gone]) for gone in left]
        left.pop(max(range(len(left)), key=lambda place: (worth[place], place)))
    return left


def _separation(normal: Latent, damaged: Latent, prototypes: int) -> Separate:
    """Distance of the means of the logarithms of scores, in standard deviations of normals'.

    Clusters and covariance are those of all latents: k-means again for every choice would take minutes.
    """
    scored = _by_distance(normal, prototypes) if prototypes else _by_divergence

    def separate(chosen: Sequence[int]) -> float:
        low, high = ((scored(latent, list(chosen)) + 1e-6).log() for latent in (normal, damaged))
        return float((high.mean() - low.mean()) / low.std().clamp(min=1e-6))

    return separate


def _by_divergence(latent: Latent, chosen: list[int]) -> Tensor:
    return kl_per_latent(latent)[:, chosen].sum(1)


def _by_distance(normal: Latent, prototypes: int) -> Callable[[Latent, list[int]], Tensor]:
    fitted = LatentDistance(normal.mu.shape[1], prototypes)
    fit_prototypes(fitted, normal.mu)
    whitening, bias = fitted.whiten.linear.weight.double(), fitted.whiten.linear.bias.double()
    # w (mu - middle) is whitened: back to centers and covariance of the means as they are.
    centers = torch.linalg.solve(whitening, (fitted.get_buffer("centers")[0].double() - bias).T).T
    covariance = torch.linalg.inv(whitening.T @ whitening)

    def distances(latent: Latent, chosen: list[int]) -> Tensor:
        apart = latent.mu.double()[:, None, chosen] - centers[None, :, chosen]
        precision = torch.linalg.inv(covariance[chosen][:, chosen])
        return torch.einsum("nki,ij,nkj->nk", apart, precision, apart).amin(1)

    return distances


def _rows(head: nn.Module, chosen: Sequence[int]) -> LinearUnit:
    """The head with only these outputs."""
    assert isinstance(head, LinearUnit) and head.linear.bias is not None
    result = LinearUnit(head.linear.in_features, len(chosen), head=True)
    result.linear.weight.copy_(head.linear.weight[list(chosen)])
    result.linear.bias.copy_(head.linear.bias[list(chosen)])
    return result

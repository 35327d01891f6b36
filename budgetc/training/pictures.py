"""What a network learns from: normals in all orientations, and normals with made-up damage."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from budgetc.training.loop import hold_out

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pictures:
    """A fixed, ordered set of training pictures of one size, normals only.

    The split into indices to train on and indices to watch goes by group, so that variants of one
    picture stay on one side.
    """

    normal: Pixels
    """(n, 3, H, W)."""
    damaged: Pixels
    """(m, 3, H, W): normals with synthetic damage; never used as if they were normal."""
    train: Tensor
    held_out: Tensor
    damaged_train: Tensor
    damaged_held_out: Tensor


def make_pictures(images: Pixels, groups: list[str], *, seed: int, variants: int = 4) -> Pictures:
    """All pictures of a training split.

    Args:
        images: (n, 3, H, W) normals.
        groups: their groups, (n,).
        seed: of orientations, damage and the held-out choice.
        variants: orientations per image; only flips where H != W.
    """
    rng = np.random.default_rng(seed)
    train, watch = hold_out(groups, 0.1, seed)
    normal = np.concatenate([_turned(images, variant) for variant in range(variants)])
    # Turned copies are for training; watching needs each picture once.
    train_all = [i + variant * len(images) for variant in range(variants) for i in train]
    damaged = np.stack([_damaged(image, images, rng) for image in images]) if len(images) else images
    return Pictures(
        normal, damaged, torch.tensor(train_all), torch.tensor(watch), torch.tensor(train), torch.tensor(watch)
    )


def _turned(images: Pixels, variant: int) -> Pixels:
    square = images.shape[-1] == images.shape[-2]
    turns = variant // 2 * (1 if square else 2)
    turned = np.rot90(images, turns % 4, axes=(-2, -1))
    return np.ascontiguousarray(turned[..., ::-1] if variant % 2 else turned)


def _damaged(image: Pixels, others: Pixels, rng: np.random.Generator) -> Pixels:
    """Patches of other pictures, blots and noise, so that a teacher learns more than normals."""
    result = image.astype(np.float32)
    height, width = image.shape[-2:]
    for _ in range(rng.integers(1, 4)):
        h, w = (max(2, int(side * rng.uniform(0.08, 0.4))) for side in (height, width))
        y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        patch = result[:, y : y + h, x : x + w]
        match rng.integers(4):
            case 0:
                source = others[rng.integers(len(others))][:, ::-1, ::-1]
                v, u = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
                patch[:] = source[:, v : v + h, u : u + w]
            case 1:
                patch[:] = patch * rng.uniform(0.3, 1.0) + rng.uniform(0, 90)
            case 2:
                patch[:] = patch + rng.normal(0, rng.uniform(5, 50), patch.shape)
            case _:
                patch[:] = patch.mean(axis=(1, 2), keepdims=True) + rng.uniform(-60, 60)
    tint = rng.uniform(0.85, 1.15, (3, 1, 1))
    return np.clip(result * tint, 0, 255).astype(np.uint8)

"""What a network learns from: normals in the orientations that occur, and normals with made-up damage."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from budgetc.training.loop import hold_out

Pixels = NDArray[np.uint8]
_PICTURES = 2500
"""About how many pictures a training set is brought to: their teacher features stay in memory."""
_CAST = 0.05
"""Gains of the three colors that cameras of one line differ by."""
_MOST_VARIANTS = 16
_MOST_UPRIGHT = 3
"""Of frames: neighbors in time are variants of each other."""


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
    originals: int
    """How many of `normal`, from the first, are pictures as they were taken."""

    @property
    def as_taken(self) -> Pixels:
        """(originals, 3, H, W): without turned copies, which would widen a distribution that is fitted to them."""
        return self.normal[: self.originals]

    def as_cameras_differ(self) -> Pixels:
        """(2 * originals, 3, H, W): as they were taken, and again with the white balance of another camera each.

        What a whitening is fitted to. Where all normals are gray, it would take the faintest cast for a distance: on
        the magnetic tiles 5 % more red and less blue cost .09 AUROC after truncation, and .00 with these.
        """
        gains = np.random.default_rng(0).uniform(1 - _CAST, 1 + _CAST, (self.originals, 3, 1, 1))
        other = (np.clip(np.rint(image * gain), 0, 255).astype(np.uint8)
                 for image, gain in zip(self.as_taken, gains, strict=True))  # fmt: skip
        return np.stack([*self.as_taken, *other])


def make_pictures(
    images: Pixels, groups: list[str], *, seed: int, variants: int | None = None, damage: int = 1,
    upright: bool = False, motion: bool = False,
) -> Pictures:  # fmt: skip
    """All pictures of a training split.

    Args:
        images: (n, channels, H, W) normals.
        groups: their groups, (n,).
        seed: of variants, damage and the held-out choice.
        variants: pictures per image: first its orientations, then those again, zoomed and toned.
            None takes as many as a few thousand pictures allow: few normals need more.
        damage: damaged copies of each image.
        upright: of a camera that is never turned: variants are a little nearer, never turned, toned or mirrored
            (traffic keeps to its side), and fewer; damage comes in all strengths, half of it over the whole picture.
        motion: of flow fields, all horizontal ones before all vertical ones: damage is other motion.
    """
    rng = np.random.default_rng(seed)
    train, watch = hold_out(groups, 0.1, seed)
    most = _MOST_UPRIGHT if upright else _MOST_VARIANTS
    count = variants or max(1, min(most, _PICTURES // max(1, len(images))))
    variant = _upright_variant if upright else _variant
    normal = np.concatenate([variant(images, number, rng) for number in range(count)])
    # Variants are for training; watching needs each picture once, as it is.
    train_all = [i + number * len(images) for number in range(count) for i in train]
    # Patches come from the same side, so that nothing of a watched picture is trained on.
    sides = [images[train], images[watch]]
    watched = set(watch)
    damaged = [] if motion else [
        _damaged(image, sides[i in watched], rng) for _ in range(damage) for i, image in enumerate(images)
    ]  # fmt: skip
    if motion:
        damaged = [_moved(images[number % len(images)], rng) for number in range(damage * len(images))]
    elif upright:
        damaged = [_milder(image, images[number % len(images)], rng) for number, image in enumerate(damaged)]
    damaged_train = [i + number * len(images) for number in range(damage) for i in train]
    return Pictures(
        normal, np.stack(damaged) if damaged else images, torch.tensor(train_all), torch.tensor(watch),
        torch.tensor(damaged_train), torch.tensor(watch), len(images),
    )  # fmt: skip


def _variant(images: Pixels, number: int, rng: np.random.Generator) -> Pixels:
    """The images turned or flipped; from the second round on zoomed and toned as well."""
    square = images.shape[-1] == images.shape[-2]
    orientation = number % (8 if square else 4)
    turns = orientation // 2 * (1 if square else 2)
    turned = np.rot90(images, turns, axes=(-2, -1))
    turned = np.ascontiguousarray(turned[..., ::-1] if orientation % 2 else turned)
    return turned if number < (8 if square else 4) else np.stack([_zoomed(image, rng) for image in turned])


def _upright_variant(images: Pixels, number: int, rng: np.random.Generator) -> Pixels:
    """The images as they are; from the second on a crop of at least nine tenths at full size."""
    if number == 0:
        return images
    return np.stack([_cropped(image, rng.uniform(0.9, 1.0), rng).round().astype(np.uint8) for image in images])


def _cropped(image: Pixels, share: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Some `share` of both sides, anywhere in the picture, at full size."""
    height, width = image.shape[-2:]
    h, w = max(1, int(height * share)), max(1, int(width * share))
    y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    crop = torch.from_numpy(image[:, y : y + h, x : x + w].astype(np.float32))[None]
    resized: NDArray[np.float32] = F.interpolate(crop, size=(height, width), mode="bilinear", align_corners=False)[
        0
    ].numpy()
    return resized


def _milder(damaged: Pixels, image: Pixels, rng: np.random.Generator) -> Pixels:
    """Patches of damage, or another light with sensor noise, at any strength and more often weak than strong."""
    strength, whole = rng.uniform(0, 1) ** 2, rng.random() < 0.5
    worst = (_veiled(image, rng) if whole else damaged).astype(np.float32)
    mixed = image + strength * (worst - image) + whole * rng.normal(0, 40 * strength * rng.random(), image.shape)
    pixels: Pixels = np.clip(mixed, 0, 255).round().astype(np.uint8)
    return pixels


def _veiled(image: Pixels, rng: np.random.Generator) -> Pixels:
    """The whole picture under another light: a curve of the tones, a veil of one gray, and less sharpness."""
    toned = 255 * (image.astype(np.float32) / 255) ** rng.uniform(0.6, 1.8) * rng.uniform(0.4, 1.1)
    veil = rng.uniform(0, 0.6)
    veiled = torch.from_numpy(toned * (1 - veil) + rng.uniform(0, 255) * veil).float()[None]
    height, width = image.shape[-2:]
    share = rng.uniform(0.2, 1.0)
    small = F.interpolate(veiled, size=(max(1, int(height * share)), max(1, int(width * share))), mode="area")
    blurred = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)[0].numpy()
    pixels: Pixels = np.clip(blurred, 0, 255).astype(np.uint8)
    return pixels


def _moved(fields: Pixels, rng: np.random.Generator) -> Pixels:
    """Flow fields of other motion, at any strength and more often weak than strong: faster, slower or backwards, a
    camera that shakes, the two directions exchanged, or a part of the field that moves on its own.
    """
    still = 128.0
    motion = fields.astype(np.float32) - still
    half, height, width = len(fields) // 2, *fields.shape[-2:]
    kind = rng.integers(4)
    if kind == 0:
        other = motion * rng.choice(np.array([-1.0, 0.0, 0.4, 1.8, 3.0], np.float32))
    elif kind == 1:
        other = motion + rng.normal(0, 20, (len(fields), 1, 1))
    elif kind == 2:
        other = np.concatenate([motion[half:], motion[:half]])
    else:
        other = motion.copy()
        h, w = (max(2, int(side * rng.uniform(0.2, 0.6))) for side in (height, width))
        y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        other[:half, y : y + h, x : x + w] += rng.normal(0, 40)
        other[half:, y : y + h, x : x + w] += rng.normal(0, 40)
    mixed = motion + rng.uniform(0, 1) ** 2 * (other - motion)
    pixels: Pixels = (np.clip(np.rint(mixed), -127, 127) + still).astype(np.uint8)
    return pixels


def _zoomed(image: Pixels, rng: np.random.Generator) -> Pixels:
    """A crop of at least three quarters at full size, a little brighter or darker, harder or softer."""
    resized = _cropped(image, rng.uniform(0.75, 1.0), rng)
    toned = (resized - resized.mean()) * rng.uniform(0.85, 1.15) + resized.mean() + rng.uniform(-15, 15)
    pixels: Pixels = np.clip(toned, 0, 255).astype(np.uint8)
    return pixels


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

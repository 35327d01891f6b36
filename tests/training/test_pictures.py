"""Pictures to learn from."""

import tracemalloc

import numpy as np
import pytest

from budgetc.training.pictures import make_pictures
from tests.small import textures


def _group_of(pixels: np.ndarray, images: np.ndarray) -> int:
    """Which original a picture is an orientation of: sorted pixel values are the same."""
    key = np.sort(pixels.ravel())
    return next(i for i, image in enumerate(images) if np.array_equal(np.sort(image.ravel()), key))


@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_variants_stay_on_the_side_of_their_group(size: tuple[int, int]) -> None:
    """No orientation of a watched picture, or of another one of its group, is trained on."""
    images = textures(8, seed=4, size=size)
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    pictures = make_pictures(images, groups, seed=0, variants=4)
    trained = {groups[_group_of(pictures.normal[i], images)] for i in pictures.train}
    watched = {groups[_group_of(pictures.normal[i], images)] for i in pictures.held_out}
    assert trained and watched and not trained & watched
    assert {groups[int(i)] for i in pictures.damaged_held_out} == watched


@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_every_orientation_is_another_picture(size: tuple[int, int]) -> None:
    """Variants of one image, zoomed ones included, are all different and all of its size."""
    images = textures(2, seed=5, size=size)
    pictures = make_pictures(images, ["a", "b"], seed=0, variants=10)
    assert pictures.normal.shape == (20, 3, *size)
    assert len({picture.tobytes() for picture in pictures.normal}) == 20
    assert (pictures.normal[:2] == images).all()


def test_watched_pictures_are_watched_once() -> None:
    """Variants are for training."""
    pictures = make_pictures(textures(10), [str(i) for i in range(10)], seed=0, variants=4)
    assert (len(pictures.train), len(pictures.held_out)) == (36, 1)
    assert int(pictures.held_out[0]) < 10


def test_damaged_pictures_differ_from_their_normals() -> None:
    """Every one of them, visibly, and in its own place of the list."""
    images = textures(12, seed=6)
    pictures = make_pictures(images, [str(i) for i in range(12)], seed=0)
    assert pictures.damaged.shape == images.shape and pictures.damaged.dtype == np.uint8
    difference = np.abs(pictures.damaged.astype(int) - images).max((1, 2, 3))
    assert (difference > 10).all()


def test_damage_never_brings_watched_pixels_to_the_training_side() -> None:
    """Patches are taken from pictures of the same side: a watched picture stays unseen."""
    groups = [str(i) for i in range(20)]
    for seed in range(8):
        watched = make_pictures(np.zeros((20, 3, 16, 16), np.uint8), groups, seed=seed, variants=1).held_out
        images = np.zeros((20, 3, 16, 16), np.uint8)
        images[watched] = 250
        pictures = make_pictures(images, groups, seed=seed, variants=1)
        assert not (pictures.damaged[pictures.damaged_train] > 200).any(), seed


def test_pictures_follow_from_their_seed() -> None:
    """The same seed gives the same damage, another one other damage."""
    images, groups = textures(4), list("abcd")
    first, again, other = (make_pictures(images, groups, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.damaged, again.damaged)
    assert not np.array_equal(first.damaged, other.damaged)


def test_the_images_stay_as_they_were() -> None:
    """Damage is done to copies."""
    images = textures(4)
    before = images.copy()
    make_pictures(images, list("abcd"), seed=0)
    assert np.array_equal(images, before)


def test_pictures_of_an_upright_camera_are_never_turned_or_mirrored() -> None:
    """Sky stays above road, and what drives on the left stays there, in every variant; else some variant turns it."""
    images = np.full((6, 3, 32, 32), 40, np.uint8)
    images[:, :, :16] = 220
    images[:, :, 20:28, 2:12] = 120
    groups = list("abcdef")

    def kept(upright: bool) -> bool:
        pixels = make_pictures(images, groups, seed=0, variants=6, upright=upright).normal.astype(int)
        above = (pixels[:, :, :8].mean((1, 2, 3)) > pixels[:, :, -4:].mean((1, 2, 3)) + 100).all()
        left = (pixels[:, :, 20:, :16].mean((1, 2, 3)) > pixels[:, :, 20:, 16:].mean((1, 2, 3)) + 10).all()
        return bool(above and left)

    assert kept(True) and not kept(False)


def test_variants_of_an_upright_camera_keep_their_light() -> None:
    """Brightness is what darkness and fog change: a network that saw other tones as normal would not notice them."""
    images = np.full((2, 3, 32, 32), 99, np.uint8)
    assert (make_pictures(images, ["a", "b"], seed=0, variants=8, upright=True).normal == 99).all()


def test_damage_of_an_upright_camera_comes_in_all_strengths() -> None:
    """From hardly visible to severe, and some of it blurs the whole picture: a student follows its teacher there."""
    images = np.full((60, 3, 32, 32), 60, np.uint8)
    images[..., ::2, ::2] = 200
    damaged = make_pictures(images, [str(i) for i in range(60)], seed=0, upright=True).damaged.astype(int)
    change = np.abs(damaged - images).mean((1, 2, 3))
    assert (change < 3).any() and (change > 25).any()
    assert np.abs(np.diff(damaged)).mean((1, 2, 3)).min() < 0.3 * np.abs(np.diff(images.astype(int))).mean()


def test_originals_come_first() -> None:
    """As many as there are images, and as they were taken."""
    images = textures(4)
    pictures = make_pictures(images, list("abcd"), seed=0, variants=3)
    assert np.array_equal(pictures.normal[: pictures.originals], images)


@pytest.mark.parametrize(("upright", "most"), [(False, 16), (True, 8)])
def test_memory_grows_with_the_pictures_and_not_with_their_square(upright: bool, most: int) -> None:
    """A few hundred camera pictures fit into the memory of a workstation; of frames nothing is whole in floats."""
    images = textures(96, size=(32, 32))
    tracemalloc.start()
    make_pictures(images, [str(i) for i in range(96)], seed=0, variants=2, upright=upright)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most * images.nbytes


def test_other_white_balances_are_made_picture_by_picture() -> None:
    """In bytes they are twice the normals; all of them in float64 at once would be 16 times as much."""
    images = textures(96, size=(64, 64))
    pictures = make_pictures(images, [str(i) for i in range(96)], seed=0, variants=1)
    tracemalloc.start()
    both = pictures.as_cameras_differ()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert both.shape[0] == 192 and (both[:96] == images).all() and (both[96:] != images).any()
    assert peak < 5 * images.nbytes

"""Whether more normals help, seen through a plain memory."""

import numpy as np
from numpy.typing import NDArray

from budgetc.measurement.learning_curve import DRAWS, Nearest, cell_features, judge, learning_curve, nearest_cells

Bytes = NDArray[np.uint8]


def stripes(count: int, seed: int, kinds: int = 1) -> Bytes:
    """(count, 192, 192) stripes of `kinds` directions, in any phase."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:192, :192]
    angles = np.pi * rng.integers(0, kinds, count) / kinds
    waves = [np.sin((np.cos(angle) * x + np.sin(angle) * y) * 0.3 + phase)
             for angle, phase in zip(angles, rng.uniform(0, 6, count), strict=True)]  # fmt: skip
    levels = 128 + 60 * np.stack(waves) + rng.normal(0, 4, (count, 192, 192))
    return np.clip(levels, 0, 255).astype(np.uint8)


def spotted(pictures: Bytes) -> Bytes:
    """The same with a blot."""
    copies = pictures.copy()
    copies[:, 80:112, 80:112] = 20
    return copies


def compared(normals: Bytes, judged: Bytes, bad: int) -> Nearest:
    labels = np.array([0] * (len(judged) - bad) + [1] * bad)
    return nearest_cells(normals, judged, [f"g{number // 2}" for number in range(len(normals))], labels)


def test_one_kind_of_normal_is_learned_at_once() -> None:
    """A curve that starts at its end: ten normals are as good as forty."""
    judged = np.concatenate([stripes(12, 2), spotted(stripes(12, 3))])
    points = learning_curve(compared(stripes(40, 1), judged, 12), np.random.default_rng(0))
    assert [point.normals for point in points] == [10, 20, 40]
    assert [len(point.values) for point in points] == [DRAWS, DRAWS, 1]
    assert min(points[0].values) == 1.0


def test_many_kinds_need_more_normals() -> None:
    """With twelve directions ten normals leave some out; unseen normals look new, and less so with more."""
    points = learning_curve(compared(stripes(80, 1, kinds=12), stripes(30, 2, kinds=12), 0), np.random.default_rng(0))
    means = [np.mean(point.values) for point in points]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.8 * means[0]


def test_the_same_seed_draws_the_same() -> None:
    """The check is deterministic."""
    nearest = compared(stripes(30, 1, kinds=4), stripes(10, 2, kinds=4), 0)
    first, second = (learning_curve(nearest, np.random.default_rng(3)) for _ in range(2))
    assert first == second


def test_a_known_picture_is_at_no_distance() -> None:
    """Cells are compared with cells of every normal, and the nearest counts."""
    normals = stripes(12, 1)
    assert judge(compared(normals, normals[:3], 0), np.arange(12)) < 0.1


def test_exposure_does_not_matter() -> None:
    """Half the contrast at another level: nearly the same features."""
    normal = stripes(2, 1)
    darker = (normal.astype(np.float64) * 0.5 + 10).astype(np.uint8)
    assert np.abs(cell_features(normal) - cell_features(darker)).max() < 0.4

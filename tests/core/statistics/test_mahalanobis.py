"""Distances from normals, also from very few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.statistics.mahalanobis import fit_normals

RESOLUTION = np.full(3, 1e-2)


def test_many_normals_give_the_plain_distance() -> None:
    """With 20,000 normals the shrinkage is gone: the textbook formula."""
    rng = np.random.default_rng(0)
    mixing = np.array([[1.0, 0.8, 0.0], [0.0, 0.6, 0.0], [0.0, 0.3, 2.0]])
    normals, asked = rng.normal(size=(20000, 3)) @ mixing, rng.normal(size=(50, 3)) * 3
    away = asked - normals.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", away, np.linalg.inv(np.cov(normals.T)), away))
    assert fit_normals(normals, resolution=RESOLUTION).distances(asked) == pytest.approx(expected, rel=2e-2)


@given(count=st.integers(1, 4), seed=st.integers(0, 1000))
def test_few_normals_give_finite_distances(count: int, seed: int) -> None:
    """Fewer normals than features, and even one, leave something to invert."""
    rng = np.random.default_rng(seed)
    found = fit_normals(rng.normal(size=(count, 3)), resolution=RESOLUTION).distances(rng.normal(size=(9, 3)))
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_a_constant_feature_does_not_drown_the_others() -> None:
    """A feature without spread counts in units of its resolution."""
    normals = np.column_stack([np.random.default_rng(1).normal(size=100), np.full(100, 5.0), np.full(100, 2.0)])
    fitted = fit_normals(normals, resolution=RESOLUTION)
    assert fitted.distances(np.array([[normals[:, 0].mean(), 5.02, 2.0]])) == pytest.approx([2.0], rel=1e-6)


def test_two_features_that_are_one_count_once() -> None:
    """A copy of a feature changes little: its correlation is known, not inverted into infinity."""
    values = np.random.default_rng(2).normal(size=500)
    fitted = fit_normals(np.column_stack([values, values]), resolution=RESOLUTION[:2])
    along, across = fitted.distances(np.array([[3.0, 3.0], [3.0, -3.0]]))
    assert along == pytest.approx(3.0, rel=0.1)
    assert 10 < across < 1000


def test_no_normals_is_an_error() -> None:
    """There is nothing to be far away from."""
    with pytest.raises(ValueError, match=r"n >= 1, found shape \(0, 3\)"):
        fit_normals(np.zeros((0, 3)), resolution=RESOLUTION)

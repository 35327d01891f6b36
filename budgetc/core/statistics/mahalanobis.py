"""How far a few numbers lie from those of normals: a Gaussian that also stands on very few normals."""

from dataclasses import dataclass

import numpy as np

from budgetc.core.statistics.groups import Floats


@dataclass(frozen=True, slots=True)
class Normals:
    """Mean, scale and inverse correlation of the features of normals."""

    mean: Floats
    scale: Floats
    precision: Floats

    def distances(self, features: Floats) -> Floats:
        """(n, d) -> (n,) Mahalanobis distances."""
        away = (features - self.mean) / self.scale
        squared: Floats = np.einsum("ij,jk,ik->i", away, self.precision, away)
        return np.sqrt(np.maximum(squared, 0))


def fit_normals(features: Floats, *, resolution: Floats) -> Normals:
    """Fit to (n, d) features of normals, n >= 1.

    The correlation is shrunk towards independence by the oracle-approximating amount (Chen, Wiesel, Eldar and Hero
    2010, IEEE Transactions on Signal Processing 58, eq. 23), which with few normals is all the way.

    Args:
        features: of normals.
        resolution: (d,) smallest standard deviation that is believed: a feature that happens to be constant among
            the normals must not make everything else infinitely far away.

    Raises:
        ValueError: no normals.
    """
    if features.ndim != 2 or not len(features):
        raise ValueError(f"features must be (n, d) with n >= 1, found shape {features.shape}")
    scale = np.maximum(features.std(axis=0), resolution)
    away = (features - features.mean(axis=0)) / scale
    found = away.T @ away / len(away)
    np.fill_diagonal(found, 1.0)
    amount = _shrinkage(found, len(features))
    return Normals(features.mean(axis=0), scale, np.linalg.inv((1 - amount) * found + amount * np.eye(len(found))))


def _shrinkage(correlation: Floats, n: int) -> float:
    size = len(correlation)
    squares, trace = float(np.square(correlation).sum()), float(np.trace(correlation)) ** 2
    below = (n + 1 - 2 / size) * (squares - trace / size)
    if below <= 0:
        return 1.0
    # Features that are one and the same leave nothing to invert: a little is always taken.
    return float(min(1.0, max(1e-3, ((1 - 2 / size) * squares + trace) / below)))

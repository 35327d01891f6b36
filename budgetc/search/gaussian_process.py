"""AUROC as a function of a plan's settings: a Gaussian process, averaged over its hyperparameters.

Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1. The grid of
hyperparameters is weighted by marginal likelihood instead of being optimized: with a dozen
observations the best one alone is too sure of itself.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SLOPES = (0.01, 0.03, 0.06)
_SPREADS = (0.02, 0.05)
_LENGTHS = (0.7, 1.5)
_PRIOR_SPREAD = 0.1
"""Of the constant: how far AUROCs may lie from the prior mean as a whole."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Mean and standard deviation at each query, (m,) each."""

    mean: Floats
    deviation: Floats

    def above(self, floor: float) -> Floats:
        """(m,) probability of lying at or above `floor`."""
        z = (self.mean - floor) / np.maximum(self.deviation, 1e-9)
        chances: Floats = 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(z / math.sqrt(2)))
        return chances


def posterior(known: Floats, values: Floats, noise: Floats, queries: Floats, *, prior_mean: float) -> Posterior:
    """The mixture over all hyperparameters, as its mean and deviation.

    Args:
        known: (n, d) settings that were tried; n may be 0.
        values: (n,) AUROCs.
        noise: (n,) standard deviation of each value.
        queries: (m, d) settings to predict.
        prior_mean: AUROC expected where nothing is known.
    """
    results = []
    for slope, spread, length in itertools.product(_SLOPES, _SPREADS, _LENGTHS):
        results.append(_exact(known, values - prior_mean, noise, queries, hyper=(slope, spread, length)))
    likelihoods = np.array([result[0] for result in results])
    weights = np.exp(likelihoods - likelihoods.max())
    weights /= weights.sum()
    means = np.stack([result[1] for result in results])
    variances = np.stack([result[2] for result in results])
    mean = weights @ means
    variance = weights @ (variances + means**2) - mean**2
    return Posterior(mean + prior_mean, np.sqrt(np.maximum(variance, 1e-10)))


def _kernel(a: Floats, b: Floats, hyper: tuple[float, float, float]) -> Floats:
    slope, spread, length = hyper
    distance = ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)
    smooth: Floats = spread**2 * np.exp(-0.5 * distance / length**2)
    return smooth + slope**2 * (a @ b.T) + _PRIOR_SPREAD**2


def _exact(
    known: Floats, values: Floats, noise: Floats, queries: Floats, *, hyper: tuple[float, float, float]
) -> tuple[float, Floats, Floats]:
    """Log marginal likelihood, mean (m,) and variance (m,)."""
    prior = np.array([_kernel(row[None], row[None], hyper)[0, 0] for row in queries])
    if len(known) == 0:
        return 0.0, np.zeros(len(queries)), prior
    factor = np.linalg.cholesky(_kernel(known, known, hyper) + np.diag(noise**2) + 1e-9 * np.eye(len(known)))
    whitened = np.linalg.solve(factor, values)
    across = np.linalg.solve(factor, _kernel(known, queries, hyper))
    likelihood = -0.5 * float(whitened @ whitened) - float(np.log(np.diag(factor)).sum())
    return likelihood, across.T @ whitened, np.maximum(prior - (across**2).sum(0), 1e-12)

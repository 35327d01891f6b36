"""The block bootstrap for video."""

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetc.core.statistics import auroc, auroc_interval, block_bootstrap_auroc
from budgetc.core.statistics.bootstrap import _block_wins
from budgetc.core.statistics.roc import components

Data = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def video(seed: int = 0, n_blocks: int = 40, frames: int = 10) -> Data:
    """Blocks of nearly equal frames; every third block is anomalous, some change in the middle."""
    rng, blocks = np.random.default_rng(seed), np.repeat(np.arange(n_blocks), frames)
    labels = ((blocks % 3 == 0) & ((blocks % 4 != 0) | (np.arange(blocks.size) % frames > 4))).astype(np.int64)
    return rng.normal(size=n_blocks)[blocks] + 0.3 * rng.normal(size=blocks.size) + 2 * labels, labels, blocks


def test_same_generator_same_bounds() -> None:
    """Randomness is an argument: equal seeds give equal intervals."""
    first, second = (block_bootstrap_auroc(*video(), rng=np.random.default_rng(4)) for _ in range(2))
    assert first == second


def test_value_is_the_plain_auroc() -> None:
    """Resampling is for the bounds only."""
    scores, labels, blocks = video()
    found = block_bootstrap_auroc(scores, labels, blocks, rng=np.random.default_rng(0))
    assert found.value == auroc(scores, labels)
    assert found.lower < found.value < found.upper


def test_frames_are_no_independent_images() -> None:
    """Ten frames a block: the margin is at least twice that of frames taken as independent."""
    scores, labels, blocks = video()
    found = block_bootstrap_auroc(scores, labels, blocks, rng=np.random.default_rng(0))
    naive = auroc_interval(scores, labels)
    assert found.value - found.lower > 2 * (naive.value - naive.lower)


def test_perfect_video_is_not_certain() -> None:
    """Every resample has AUROC 1, but two anomalous clips prove little."""
    labels = np.repeat([0, 0, 0, 0, 1, 1], 50)
    found = block_bootstrap_auroc(labels * 1.0, labels, np.repeat(np.arange(6), 50), rng=np.random.default_rng(0))
    assert (found.value, found.upper) == (1.0, 1.0)
    assert found.lower < 0.7


def test_block_wins_add_up_to_the_auroc_of_a_resample() -> None:
    """Weighting blocks equals repeating their frames, ties included."""
    scores, labels, blocks = video(1, 6, 5)
    scores = scores.round(0)
    weights = np.array([2, 0, 1, 3, 0, 1])
    repeated = np.repeat(np.arange(scores.size), weights[blocks])
    parts = components(scores, labels, blocks)
    won = weights @ _block_wins(parts, scores, labels) @ weights
    pairs = weights[parts.good_groups].sum() * weights[parts.bad_groups].sum()
    assert won / pairs == pytest.approx(auroc(scores[repeated], labels[repeated]))


def test_few_repetitions_are_refused() -> None:
    """A 95 % percentile of 20 resamples would be their largest value."""
    with pytest.raises(ValueError, match=r"a bound needs at least 100 repetitions, found 20"):
        block_bootstrap_auroc(*video(), rng=np.random.default_rng(0), repetitions=20)

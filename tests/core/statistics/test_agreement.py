"""Rank agreement of two detectors."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from budgetc.core.statistics import rank_agreement

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=60)
GROUPS = [f"g{number // 2}" for number in range(60)]


def test_it_is_spearmans_rho() -> None:
    """Of one product, with ties; the bounds enclose it."""
    second = np.round(FIRST + RNG.normal(size=60))
    found = rank_agreement(FIRST, second, categories=["a"] * 60, groups=GROUPS)
    assert found.value == pytest.approx(spearmanr(FIRST, second)[0])
    assert -1 <= found.lower < found.value < found.upper < 1


def test_any_rising_function_agrees_fully() -> None:
    """Compression may move scores as long as it keeps their order."""
    assert rank_agreement(FIRST, np.exp(FIRST), categories=["a"] * 60, groups=GROUPS) == pytest.approx((1, 1, 1))


def test_levels_of_products_do_not_count_as_agreement() -> None:
    """Unrelated scores of two products of different levels: ranked together they would agree."""
    categories = ["a", "b"] * 30
    level = np.where(np.array(categories) == "a", 0, 100)
    found = rank_agreement(FIRST + level, RNG.normal(size=60) + level, categories=categories, groups=GROUPS)
    assert abs(found.value) < 0.4


def test_equal_scores_rank_nothing() -> None:
    """No division by zero."""
    assert rank_agreement(FIRST, np.zeros(60), categories=["a"] * 60, groups=GROUPS) == (0, 0, 0)

"""Scales, ticks and words."""

import pytest

from budgetc.report.charts.svg import Scale, nice_step, picture, shortened, size_ticks, tick_words, words
from tests.report.charts.reading import read

HOSTILE = "<script>\"'&"


def test_a_scale_ends_where_it_ends() -> None:
    """Values beyond are drawn at the edge, not outside."""
    scale = Scale(10, 20, 100, 0)
    assert [scale.at(value) for value in (10, 15, 20, 99, -99)] == [100, 50, 0, 0, 100]


def test_a_logarithmic_scale() -> None:
    """Equal factors are equal distances; nothing below zero breaks it."""
    scale = Scale(1, 100, 0, 100, logarithmic=True)
    assert [round(scale.at(value)) for value in (1, 10, 100, -5)] == [0, 50, 100, 0]
    assert scale.ticks() == [1.0, 10.0, 100.0]


def test_a_scale_without_extent() -> None:
    """One value lies in the middle."""
    assert Scale(3, 3, 0, 10).at(3) == 5


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-1, 1, [-1, -0.5, 0, 0.5, 1])]
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    """Ones, twos and fives."""
    assert Scale(low, high, 0, 1).ticks() == pytest.approx(expected)


def test_steps_and_their_words() -> None:
    """As many decimals as tell two ticks apart."""
    assert [nice_step(rough) for rough in (0.03, 0.7, 11)] == pytest.approx([0.05, 1, 20])
    assert [tick_words(2.0, step) for step in (1, 0.5, 0.02)] == ["2", "2.0", "2.00"]
    assert size_ticks(1000, 9000) == [1024, 2048, 4096, 8192]


def test_words_stay_words() -> None:
    """In a chart and in its label."""
    chart = read(picture(10, 10, HOSTILE, [words(1, 2, HOSTILE)]))
    assert chart.get("aria-label") == HOSTILE and chart.get("role") == "img"
    assert chart[0].text == HOSTILE


def test_long_names_are_cut() -> None:
    """With a sign that they are."""
    assert shortened("distill", 7) == "distill"
    assert shortened("distill and more", 8) == "distill…"

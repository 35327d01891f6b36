"""What the scores of the confirmation split say."""

import numpy as np
import pytest

from budgetc.core.statistics import auroc
from budgetc.report.charts.curves import Point
from budgetc.report.schema import ScoredPicture
from budgetc.report.scores import agreement, distribution, roc


def pictures(good: list[float], bad: list[float]) -> list[ScoredPicture]:
    """The baseline's scores are the artifact's turned around."""
    return [
        ScoredPicture(file=f"{number}.png", category="c", defect=defect, baseline=-score, artifact=score)
        for defect, scores in (("good", good), ("hole", bad))
        for number, score in enumerate(scores)
    ]


def area(points: list[Point]) -> float:
    x, y = (np.array(axis) for axis in zip(*points, strict=True))
    return float(np.trapezoid(y, x))


@pytest.mark.parametrize("count", [5, 2000])
def test_the_area_below_the_curve_is_the_auroc(count: int) -> None:
    """Ties included, and also where there are more points than a chart can show."""
    rng = np.random.default_rng(0)
    good, bad = rng.normal(0, 1, count).round(2), rng.normal(1, 1, count).round(2)
    curve = roc(pictures(good.tolist(), bad.tolist()), "artifact", name="artifact", threshold=0.5)
    assert curve is not None
    expected = auroc(np.concatenate([good, bad]), [0] * count + [1] * count)
    assert area(list(curve.points)) == pytest.approx(expected, abs=2e-3 if count > 1000 else 1e-9)
    assert curve.points[0] == (0.0, 0.0) and curve.points[-1] == (1.0, 1.0)
    assert len(curve.points) <= 302


def test_the_threshold_is_a_point_of_the_curve() -> None:
    """Above it is an alarm, at it is none."""
    curve = roc(pictures([1, 2, 3, 4], [3, 4]), "artifact", name="a", threshold=3.0)
    assert curve is not None and curve.at == (0.25, 0.5)


@pytest.mark.parametrize(("good", "bad"), [([1.0], []), ([], [1.0]), ([], [])])
def test_one_kind_alone_has_no_curve(good: list[float], bad: list[float]) -> None:
    """None."""
    assert roc(pictures(good, bad), "artifact", name="a", threshold=0.0) is None


def test_scores_by_kind() -> None:
    """Of the detector that is asked for."""
    found = distribution(pictures([1.0], [2.0, 3.0]), "baseline", 0.5)
    assert (found.good, found.bad, found.threshold) == ([-1.0], [-2.0, -3.0], 0.5)


def test_where_the_answers_differ() -> None:
    """Each detector at its own threshold."""
    found = agreement(pictures([], [1.0, 2.0, 3.0]), (-1.5, 1.5), anomalous=True)
    assert (found.both, found.lost, found.gained, found.neither) == (0, 1, 2, 0)

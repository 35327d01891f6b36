"""What the scores of the confirmation split say: ROC curves, distributions, where artifact and baseline disagree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import GOOD
from budgetc.report.charts.curves import Curve, Point, Scores
from budgetc.report.schema import ScoredPicture

Of = Literal["baseline", "artifact"]
_MOST_POINTS = 300


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pictures of one kind by what baseline and artifact say of them."""

    both: int
    """Alarms of both."""
    lost: int
    """Alarms of the baseline alone."""
    gained: int
    """Alarms of the artifact alone."""
    neither: int


def roc(pictures: Sequence[ScoredPicture], of: Of, *, name: str, threshold: float) -> Curve | None:
    """The curve of one detector; None without pictures of both kinds."""
    scores, bad = _scores(pictures, of), _bad(pictures)
    if bad.all() or not bad.any():
        return None
    order = np.argsort(-scores, kind="stable")
    # Equal scores are passed by one threshold together.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    found, alarms = np.cumsum(bad[order])[last] / bad.sum(), np.cumsum(~bad[order])[last] / (~bad).sum()
    points = [(0.0, 0.0), *_thinned([(float(x), float(y)) for x, y in zip(alarms, found, strict=True)])]
    over = scores > threshold
    return Curve(name, points, (float(over[~bad].mean()), float(over[bad].mean())))


def distribution(pictures: Sequence[ScoredPicture], of: Of, threshold: float) -> Scores:
    """Scores of normals and of anomalies."""
    scores, bad = _scores(pictures, of), _bad(pictures)
    return Scores(scores[~bad].tolist(), scores[bad].tolist(), threshold)


def agreement(pictures: Sequence[ScoredPicture], thresholds: tuple[float, float], *, anomalous: bool) -> Agreement:
    """Of baseline and artifact, at their own thresholds."""
    kind = [one for one in pictures if (one.defect != GOOD) is anomalous]
    verdicts = [(one.baseline > thresholds[0], one.artifact > thresholds[1]) for one in kind]
    return Agreement(*(verdicts.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))


def _thinned(points: list[Point]) -> list[Point]:
    """Corners only, and at most a few hundred of them: more cannot be told apart."""
    corners = [
        point
        for before, point, after in zip([(0.0, 0.0), *points], points, [*points[1:], (2.0, 2.0)], strict=False)
        if not (before[0] == point[0] == after[0] or before[1] == point[1] == after[1])
    ]
    at = np.unique(np.linspace(0, len(corners) - 1, min(_MOST_POINTS, len(corners))).round().astype(int))
    return [corners[index] for index in at]


def _scores(pictures: Sequence[ScoredPicture], of: Of) -> NDArray[np.float64]:
    return np.array([one.baseline if of == "baseline" else one.artifact for one in pictures], dtype=np.float64)


def _bad(pictures: Sequence[ScoredPicture]) -> NDArray[np.bool_]:
    return np.array([one.defect != GOOD for one in pictures], dtype=bool)

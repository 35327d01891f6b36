"""How well a deployed file tells anomalies from normals: everything goes through its runtime."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import GOOD, Sample
from budgetc.core.measurement import Kind, Measurement
from budgetc.core.quality import CategoryQuality, DefectQuality, DefectRecall, Quality
from budgetc.core.statistics import (
    MINIMUM_IMAGES,
    ByCategory,
    Interval,
    Rate,
    auroc_by_category,
    auroc_interval,
    auroc_loss_by_category,
    rate_interval,
)
from budgetc.measurement.host import runtime
from budgetc.runtime.artifact import Artifact

FALSE_POSITIVE_RATE = 0.05
"""Share of calibration normals that may lie above the threshold."""
Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of one split's images, in the order of its samples."""

    split: str
    samples: Sequence[Sample]
    scores: Scores
    device: str
    kind: Kind = "measured"
    runtime: str = field(default_factory=runtime)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) of 0 and 1."""
        return np.array([sample.label for sample in self.samples])

    @property
    def groups(self) -> list[str]:
        """(n,) names of the physical parts or blocks of frames."""
        return [sample.group for sample in self.samples]

    @property
    def categories(self) -> list[str]:
        """(n,) products."""
        return [sample.category for sample in self.samples]


def score_pixels(
    artifact: Artifact, images: NDArray[np.uint8], progress: Callable[[int], None] = lambda done: None
) -> Scores:
    """(n,) scores of resized images (n, 3, height, width) uint8, one call an image as on the device."""
    return score_parts(artifact, images, progress)[0]


def score_parts(
    artifact: Artifact, images: NDArray[np.uint8], progress: Callable[[int], None] = lambda done: None
) -> tuple[Scores, dict[str, Scores]]:
    """As `score_pixels`, and (n,) of each part that the score is made of; their sum is called `total`."""
    found = []
    for number, pixels in enumerate(images, 1):
        found.append(artifact.score_pixels(pixels))
        progress(number)
    names = artifact.spec.parts
    parts = {name: np.array([one.parts[name] for one in found], dtype=np.float64) for name in names}
    if names:
        parts["total"] = np.sum(list(parts.values()), axis=0)
    return np.array([one.score for one in found], dtype=np.float64), parts


def fit_threshold(calibration_scores: Scores) -> float:
    """The score that 5 % of the calibration normals exceed (linear between order statistics)."""
    return float(np.quantile(calibration_scores, 1 - FALSE_POSITIVE_RATE))


def by_category(scored: Scored, confidence: float = 0.95) -> ByCategory:
    """AUROC per category, mean, worst and pooled, with bounds clustered by group."""
    return auroc_by_category(
        scored.scores, scored.labels, categories=scored.categories, groups=scored.groups, confidence=confidence
    )


def quality_of(scored: Scored, threshold: float, confidence: float = 0.95) -> Quality:
    """AUROCs, false-positive rate at the threshold, and recall by defect type."""
    found = by_category(scored, confidence)
    alarms = scored.scores > threshold
    normal = scored.labels == 0
    groups = np.array(scored.groups)
    rate = rate_interval(alarms[normal], groups=groups[normal], confidence=confidence)
    return Quality(
        split=scored.split,
        auroc_mean=_auroc("auroc", found.mean, scored),
        auroc_worst=_auroc("auroc", found.worst, scored),
        auroc_pooled=_auroc("auroc", found.pooled, scored),
        categories=tuple(_category(name, found, scored) for name in sorted(set(scored.categories))),
        threshold=threshold,
        false_positive_rate=_rate(rate, int(normal.sum()), confidence, scored),
        recall=_recall(scored.samples, alarms),
        defects=_by_defect(scored, confidence),
    )


def loss_between(baseline: Scored, other: Scored, confidence: float = 0.95) -> ByCategory:
    """Paired AUROC loss on the same images: baseline - other."""
    return auroc_loss_by_category(
        baseline.scores, other.scores, other.labels,
        categories=other.categories, groups=other.groups, confidence=confidence,
    )  # fmt: skip


def parts_aurocs(scored: Scored, parts: Mapping[str, Scores]) -> dict[str, Measurement]:
    """Mean AUROC over categories of each part that the score is made of, and of their total."""
    each = {name: replace(scored, scores=scores) for name, scores in parts.items()}
    return {name: _auroc("auroc", by_category(one).mean, scored) for name, one in each.items()}


def auroc_loss(found: Interval, scored: Scored) -> Measurement:
    """A paired loss as a measurement."""
    return _auroc("auroc_loss", found, scored)


def _auroc(metric: str, found: Interval, scored: Scored) -> Measurement:
    return Measurement(
        metric=metric, value=found.value, unit="1", lower=found.lower, upper=found.upper,
        confidence=found.confidence, n=found.n_good + found.n_bad, kind=scored.kind, device=scored.device,
        split=scored.split, runtime=scored.runtime, note=_note(found),
    )  # fmt: skip


def _note(found: Interval) -> str:
    return (
        f"{found.n_good} good of {found.groups_good} groups, {found.n_bad} bad of {found.groups_bad} groups; "
        f"{found.method}"
    )


def _category(name: str, found: ByCategory, scored: Scored) -> CategoryQuality:
    labels = [sample.label for sample in scored.samples if sample.category == name]
    good, bad = labels.count(0), labels.count(1)
    enough = min(good, bad) >= MINIMUM_IMAGES
    value = _auroc("auroc", found.categories[name], scored) if enough and name in found.categories else None
    return CategoryQuality(category=name, good=good, bad=bad, auroc=value)


def _rate(rate: Rate, n: int, confidence: float, scored: Scored) -> Measurement:
    return Measurement(
        metric="false_positive_rate", value=rate.value, unit="1", lower=rate.lower, upper=rate.upper,
        confidence=confidence, n=n, kind=scored.kind, device=scored.device, split=scored.split,
        runtime=scored.runtime,
    )  # fmt: skip


def _by_defect(scored: Scored, confidence: float) -> tuple[DefectQuality, ...]:
    """Each defect type against the normals of the categories in which it occurs, the worst first."""
    rows = []
    for defect in sorted({sample.defect for sample in scored.samples} - {GOOD}):
        products = {sample.category for sample in scored.samples if sample.defect == defect}
        at = [
            number
            for number, sample in enumerate(scored.samples)
            if sample.defect == defect or (sample.defect == GOOD and sample.category in products)
        ]
        labels, groups = scored.labels[at], np.array(scored.groups)[at]
        if labels.min() == labels.max():
            continue  # a category without test normals
        found = auroc_interval(scored.scores[at], labels, groups=groups, confidence=confidence)
        rows.append(DefectQuality(defect=defect, auroc=_auroc("auroc", found, scored)))
    return tuple(sorted(rows, key=lambda row: row.auroc.value))


def _recall(samples: Sequence[Sample], alarms: NDArray[np.bool_]) -> tuple[DefectRecall, ...]:
    defects = sorted({sample.defect for sample in samples if sample.defect != GOOD})
    rows = []
    for defect in defects:
        hits = [bool(alarm) for sample, alarm in zip(samples, alarms, strict=True) if sample.defect == defect]
        rows.append(DefectRecall(defect=defect, found=sum(hits), of=len(hits)))
    return tuple(rows)

"""How well a deployed file tells anomalies from normals: everything goes through its runtime."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from budgetc.core.dataset import GOOD, Sample
from budgetc.core.measurement import Kind, Measurement
from budgetc.core.quality import (
    CategoryLoss,
    CategoryQuality,
    DefectQuality,
    DefectRecall,
    PixelQuality,
    Quality,
)
from budgetc.core.statistics import (
    MINIMUM_IMAGES,
    ByCategory,
    Interval,
    auroc_by_category,
    auroc_interval,
    auroc_loss_by_category,
    rate_interval,
)
from budgetc.measurement.host import runtime
from budgetc.runtime.artifact import Artifact

FALSE_POSITIVE_RATE = 0.05
"""Share of calibration normals that may lie above the threshold."""
FEWEST_NORMALS = 20
"""Calibration normals of a category below which a threshold of its own would rest on its highest score alone."""
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

    def kind_of_auroc(self, defect: str | None = None) -> Kind:
        """`proxy` where an anomaly that it is about (one defect type, or all) is synthetic, else `kind`."""
        about = [sample for sample in self.samples if defect is None or sample.defect == defect]
        return "proxy" if any(sample.synthetic for sample in about) else self.kind

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


def fit_thresholds(scores: Scores, samples: Sequence[Sample]) -> dict[str, float]:
    """The same of each category alone, where calibration has at least 20 of its normals; empty for a single category.

    Args:
        scores: (n,) of the calibration normals.
        samples: whose scores they are.
    """
    return {
        name: fit_threshold(scores[[sample.category == name for sample in samples]]) for name in own_thresholds(samples)
    }


def own_thresholds(samples: Sequence[Sample]) -> list[str]:
    """Sorted names of the categories that get a threshold of their own, known before anything is scored."""
    counts = Counter(sample.category for sample in samples)
    return sorted(name for name, count in counts.items() if count >= FEWEST_NORMALS) if len(counts) > 1 else []


def by_category(scored: Scored, confidence: float = 0.95) -> ByCategory:
    """AUROC per category, mean, worst and pooled, with bounds clustered by group."""
    return auroc_by_category(
        scored.scores, scored.labels, categories=scored.categories, groups=scored.groups, confidence=confidence
    )


def quality_of(
    scored: Scored, threshold: float, confidence: float = 0.95,
    *, thresholds: Mapping[str, float] | None = None, pixels: PixelQuality | None = None,
) -> Quality:  # fmt: skip
    """AUROCs, false-positive rates at the thresholds, and recall by defect type.

    Args:
        scored: one split.
        threshold: of all categories.
        confidence: of each bound, one-sided.
        thresholds: of categories alone.
        pixels: what the maps of the same file are worth.
    """
    found = by_category(scored, confidence)
    thresholds = thresholds or {}

    def category(name: str) -> CategoryQuality:
        own = thresholds.get(name)
        return _category(name, found, scored).model_copy(update={
            "false_positive_rate": _false_positives(scored, threshold, confidence, category=name),
            "threshold": own,
            "own_false_positive_rate":
                None if own is None else _false_positives(scored, own, confidence, category=name),
        })  # fmt: skip

    overall = _false_positives(scored, threshold, confidence)
    assert overall is not None, "there are normals, or there would be no AUROC"
    return Quality(
        split=scored.split,
        auroc_mean=_auroc("auroc", found.mean, scored),
        auroc_worst=_auroc("auroc", found.worst, scored),
        auroc_pooled=_auroc("auroc", found.pooled, scored),
        categories=tuple(category(name) for name in sorted(set(scored.categories))),
        threshold=threshold,
        false_positive_rate=overall,
        recall=_recall(scored, threshold, thresholds),
        defects=_by_defect(scored, confidence),
        aupro=None if pixels is None else pixels.aupro,
        pixels=pixels,
    )


def category_losses(loss: ByCategory, scored: Scored) -> tuple[CategoryLoss, ...]:
    """What each category lost, the most first; empty where there is only one."""
    rows = [CategoryLoss(category=name, auroc_loss=auroc_loss(one, scored)) for name, one in loss.categories.items()]
    return tuple(sorted(rows, key=lambda row: -row.auroc_loss.value)) if len(rows) > 1 else ()


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


def _auroc(metric: str, found: Interval, scored: Scored, defect: str | None = None) -> Measurement:
    return Measurement(
        metric=metric, value=found.value, unit="1", lower=found.lower, upper=found.upper,
        confidence=found.confidence, n=found.n_good + found.n_bad, device=scored.device,
        kind=scored.kind_of_auroc(defect), split=scored.split, runtime=scored.runtime, note=_note(found),
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


def _false_positives(
    scored: Scored, threshold: float, confidence: float, *, category: str | None = None
) -> Measurement | None:
    """Normals above the threshold, of one category or of all; None without normals."""
    normal = scored.labels == 0
    if category is not None:
        normal &= np.array(scored.categories) == category
    if not normal.any():
        return None
    groups = np.array(scored.groups)[normal]
    rate = rate_interval(scored.scores[normal] > threshold, groups=groups, confidence=confidence)
    return Measurement(
        metric="false_positive_rate", value=rate.value, unit="1", lower=rate.lower, upper=rate.upper,
        confidence=confidence, n=int(normal.sum()), kind=scored.kind, device=scored.device, split=scored.split,
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
        rows.append(DefectQuality(defect=defect, auroc=_auroc("auroc", found, scored, defect)))
    return tuple(sorted(rows, key=lambda row: row.auroc.value))


def _recall(scored: Scored, threshold: float, thresholds: Mapping[str, float]) -> tuple[DefectRecall, ...]:
    alarms = scored.scores > threshold
    own = scored.scores > np.array([thresholds.get(name, threshold) for name in scored.categories])
    defects, rows = np.array([sample.defect for sample in scored.samples]), []
    for defect in sorted(set(defects.tolist()) - {GOOD}):
        at = defects == defect
        by_own = int(own[at].sum()) if thresholds else None
        rows.append(DefectRecall(defect=defect, found=int(alarms[at].sum()), of=int(at.sum()), found_by_own=by_own))
    return tuple(rows)

"""How well a detector tells anomalies from normals, as it is reported."""

from typing import Literal

from budgetc.core.frozen import Frozen
from budgetc.core.measurement import Measurement


class CategoryQuality(Frozen):
    """AUROC of one product."""

    category: str
    good: int
    bad: int
    auroc: Measurement | None
    """None with fewer than 10 good or 10 bad images: insufficient data."""
    false_positive_rate: Measurement | None = None
    """Its normals above the threshold of all categories; None without normals."""
    threshold: float | None = None
    """Its own, fitted on its calibration normals; None where they are too few, or there is only one category."""
    own_false_positive_rate: Measurement | None = None
    """Its normals above its own threshold."""


class CategoryPixels(Frozen):
    """How well the maps of one product mark its defects."""

    category: str
    auroc: Measurement | None = None
    """Of pixels."""
    aupro: Measurement | None = None
    """Area under the per-region-overlap curve up to a false-positive rate of 0.3."""
    reason: str = ""
    """Why there are none."""


class PixelQuality(Frozen):
    """How well maps mark defects. A category without masks has no figures and counts in none: `categories` says so."""

    auroc: Measurement | None
    """Mean over the categories that have masks; None where none has."""
    auroc_worst: Measurement | None
    aupro: Measurement | None
    aupro_worst: Measurement | None
    categories: tuple[CategoryPixels, ...]


class DefectQuality(Frozen):
    """AUROC of one defect type or OOD factor against the normals of its categories."""

    defect: str
    auroc: Measurement


class DefectRecall(Frozen):
    """How many anomalies of one type lie above the threshold."""

    defect: str
    found: int
    of: int
    found_by_own: int | None = None
    """Above the threshold of their category where it has its own, else above that of all; None where none has."""


class Quality(Frozen):
    """How well a deployed file tells anomalies from normals, on one split."""

    split: str
    auroc_mean: Measurement
    auroc_worst: Measurement
    auroc_pooled: Measurement
    categories: tuple[CategoryQuality, ...]
    threshold: float
    false_positive_rate: Measurement
    """Normals above the threshold; the threshold comes from calibration normals."""
    recall: tuple[DefectRecall, ...]
    defects: tuple[DefectQuality, ...] = ()
    """AUROC by defect type or OOD factor, the worst first."""
    aupro: Measurement | None = None
    """Mean over the categories that have masks: what a budget's `aupro` limits."""
    pixels: PixelQuality | None = None
    """None where the detector has no map."""


class CategoryLoss(Frozen):
    """AUROC(baseline) - AUROC(artifact) of one product, paired on the same images."""

    category: str
    auroc_loss: Measurement


class Control(Frozen):
    """What can be told without a detector, on the same images: a figure to hold every AUROC against."""

    control: Literal["image size", "image statistics"]
    """`image size`: width and height as photographed. `image statistics`: mean, contrast, gradient energy, blur.
    The score is the Mahalanobis distance to the training normals of the category."""
    auroc: Measurement | None
    """Of the kind that the budget limits."""
    reason: str = ""
    """Why there is no AUROC."""
    gaps: dict[str, Measurement] = {}
    """`baseline`, `artifact` or `detector` -> its AUROC - the control's, paired on the same images."""
    defects: dict[str, float] = {}
    """Defect type -> AUROC of its anomalies against all normals of their categories."""

"""How well a detector tells anomalies from normals, as it is reported."""

from budgetc.core.frozen import Frozen
from budgetc.core.measurement import Measurement


class CategoryQuality(Frozen):
    """AUROC of one product."""

    category: str
    good: int
    bad: int
    auroc: Measurement | None
    """None with fewer than 10 good or 10 bad images: insufficient data."""


class DefectRecall(Frozen):
    """How many anomalies of one type lie above the threshold."""

    defect: str
    found: int
    of: int


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
    aupro: Measurement | None = None

"""How sure a number is: AUROC, percentiles and rates with bounds. Pure numpy; scipy.special only where called.

Every bound is one-sided at its `confidence`. Images that are not independent come with groups.
"""

from budgetc.core.statistics.agreement import Agreement, rank_agreement
from budgetc.core.statistics.bootstrap import block_bootstrap_auroc
from budgetc.core.statistics.categories import MINIMUM_IMAGES, ByCategory, auroc_by_category, auroc_loss_by_category
from budgetc.core.statistics.intervals import IDENTICAL, Interval, auroc_interval, auroc_loss_interval
from budgetc.core.statistics.percentiles import Percentile, minimum_samples, percentile_bounds
from budgetc.core.statistics.pixels import (
    MarkedMap,
    PixelCounts,
    PixelsByCategory,
    count_pixels,
    pixels_by_category,
)
from budgetc.core.statistics.power import images_needed
from budgetc.core.statistics.rates import Rate, rate_interval, wilson_interval
from budgetc.core.statistics.roc import auroc

__all__ = [
    "IDENTICAL",
    "MINIMUM_IMAGES",
    "Agreement",
    "ByCategory",
    "Interval",
    "MarkedMap",
    "Percentile",
    "PixelCounts",
    "PixelsByCategory",
    "Rate",
    "auroc",
    "auroc_by_category",
    "auroc_interval",
    "auroc_loss_by_category",
    "auroc_loss_interval",
    "block_bootstrap_auroc",
    "count_pixels",
    "images_needed",
    "minimum_samples",
    "percentile_bounds",
    "pixels_by_category",
    "rank_agreement",
    "rate_interval",
    "wilson_interval",
]

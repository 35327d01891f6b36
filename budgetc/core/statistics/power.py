"""How many images it takes to certify a floor on AUROC."""

from math import sqrt
from statistics import NormalDist

from budgetc.core.statistics.categories import MINIMUM_IMAGES
from budgetc.core.statistics.intervals import exponential_variance, normal_quantile

_MOST_IMAGES = 10**7


def images_needed(floor: float, truth: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Good images, and as many bad ones, for the lower bound to reach `floor` with probability `power`.

    Normal approximation: the AUROC found varies as for normal scores of equal variance, and must exceed the floor
    by Newcombe's standard error there (method 5, the wider bound near 1). In simulations the counts gave powers of
    .77-.83 for .80. Counts independent images: of several photographs of one part, one counts.

    Args:
        floor: AUROC to certify.
        truth: AUROC the detector really has, above the floor.
        power: chance of success, at least 0.5.
        confidence: of the lower bound, one-sided.

    Raises:
        ValueError: not 0.5 <= floor < truth <= 1; or power or confidence are out of range; or truth is so close to
            the floor that ten million images do not tell them apart.
    """
    if not 0.5 <= floor < truth <= 1:
        raise ValueError(f"expected 0.5 <= floor < truth <= 1, found floor {floor} and truth {truth}")
    if not 0.5 <= power < 1:
        raise ValueError(f"power must be at least 0.5 and below 1, found {power}")
    z, z_power = normal_quantile(confidence), NormalDist().inv_cdf(power)
    both_correct = _both_correct(truth)

    def certifies(n: int) -> bool:
        spread = sqrt((truth * (1 - truth) + 2 * (n - 1) * (both_correct - truth**2)) / n**2)
        return truth - z_power * spread >= floor + z * sqrt(exponential_variance(floor, (n, n)))

    low, high = 1, MINIMUM_IMAGES
    while not certifies(high):
        low, high = high, 2 * high
        if high > _MOST_IMAGES:
            raise ValueError(
                f"AUROC {truth} is too close to the floor {floor} to be told apart by {_MOST_IMAGES} images"
            )
    while high - low > 1 and high > MINIMUM_IMAGES:
        middle = (low + high) // 2
        low, high = (low, middle) if certifies(middle) else (middle, high)
    return high


def _both_correct(auroc: float) -> float:
    """Chance that two bad images both score above one good one, for normal scores of equal variance.

    The bivariate normal probability at correlation 1/2, by Owen's T function (Owen 1956, Annals of Mathematical
    Statistics 27).
    """
    from scipy.special import owens_t  # here, because importing budgetc must stay quick

    if auroc == 1:
        return 1.0
    return auroc - 2 * float(owens_t(NormalDist().inv_cdf(auroc), 1 / sqrt(3)))

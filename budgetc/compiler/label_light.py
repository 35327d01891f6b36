"""What data without real anomalies can and cannot show: the sentences of `data check`, `plan` and the report."""

from collections.abc import Sequence

from budgetc.core.dataset import Dataset, Sample
from budgetc.core.measurement import Measurement
from budgetc.core.statistics import rank_agreement, wilson_interval
from budgetc.load.splits import BORROWED_SHARE, SELECTION_SHARE
from budgetc.measurement.quality import FALSE_POSITIVE_RATE, Scored

PROXY = (
    "the AUROC rests on synthetic anomalies drawn into held-out normals: it tells how far compression changed the "
    "detector, not that it finds real defects; photograph some, or accept it by `auroc: {evidence: proxy}`"
)
_TWICE = 2 * FALSE_POSITIVE_RATE
"""Rate of false alarms that should be told from the one that the threshold is fitted for."""


def agreement_between(before: Scored, after: Scored, confidence: float) -> Measurement:
    """Rank agreement of baseline and artifact on normals and synthetic anomalies of one split."""
    found = rank_agreement(
        before.scores, after.scores, categories=after.categories, groups=after.groups, confidence=confidence
    )
    return Measurement(
        metric="rank_agreement", value=found.value, unit="1", lower=found.lower, upper=found.upper,
        confidence=confidence, n=len(after.scores), kind=after.kind_of_auroc(), device=after.device,
        split=after.split, runtime=after.runtime,
        note="Spearman's rho on held-out normals and synthetic anomalies; resampled by group",
    )  # fmt: skip


def what_it_shows(dataset: Dataset) -> tuple[str, ...]:
    """Sentences on what can be judged with this data; empty where its anomalies are real."""
    if not dataset.synthetic:
        return ()
    held = dataset.samples["confirmation"]
    groups = _groups(held)
    kinds = sorted({sample.defect for sample in held if sample.synthetic})
    real = sum(bool(sample.label) and not sample.synthetic for sample in held)
    few = f"only {real} real anomalies of too few parts" if real else "no real anomalies"
    low, high = (100 * bound for bound in wilson_interval(FALSE_POSITIVE_RATE * groups, groups)[1:])
    return (
        f"{few}: held-out normals get synthetic ones ({', '.join(kinds)}), "
        f"{sum(one.synthetic for one in dataset.samples['selection'])} in selection and "
        f"{sum(one.synthetic for one in held)} in confirmation, of other parts and draws",
        "it can show how far compression changes the scores (AUROC lost on synthetic anomalies, rank agreement with "
        "the baseline), and false alarms on held-out normals",
        f"{groups} held-out groups would show a true false-alarm rate of {100 * FALSE_POSITIVE_RATE:.0f} % as "
        f"{low:.1f} to {high:.1f} % (95 % bounds); {_more(dataset, groups)}",
        "it cannot show that real defects are found: the verdict on auroc stays inconclusive (exit code 5) unless "
        "the budget says `auroc: {evidence: proxy}`",
        "held-out normals are new to a detector of `budgetc train` on the same data; one that was trained on all of "
        "them raises fewer false alarms here than in use",
    )  # fmt: skip


def normals_needed() -> int:
    """Held-out groups with which a false-alarm rate of 5 % is told from one of 10 % (one-sided 95 % bound)."""
    count = 1
    while wilson_interval(FALSE_POSITIVE_RATE * count, count).upper > _TWICE:
        count += 1
    return count


def _more(dataset: Dataset, have: int) -> str:
    needed = normals_needed()
    if have >= needed:
        return f"{needed} tell it from {100 * _TWICE:.0f} %"
    borrowed = any("train" in sample.file.split("/") for sample in dataset.samples["confirmation"])
    share = (1 - SELECTION_SHARE) * (BORROWED_SHARE if borrowed else 1)
    where = "normals of other parts in all" if borrowed else "normals of other parts in test"
    return f"{needed} would tell it from {100 * _TWICE:.0f} %: about {-(-needed // share):.0f} {where}"


def _groups(samples: Sequence[Sample]) -> int:
    return len({sample.group for sample in samples if not sample.label})

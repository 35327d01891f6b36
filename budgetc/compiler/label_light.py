"""What data without real anomalies can and cannot show: the sentences of `data check`, `plan` and the report."""

from collections.abc import Sequence
from math import ceil

from budgetc.core.dataset import Dataset, Sample
from budgetc.core.measurement import Measurement
from budgetc.core.statistics import rank_agreement, wilson_interval
from budgetc.load.splits import BORROWED_SHARE, SELECTION_SHARE
from budgetc.measurement.quality import FALSE_POSITIVE_RATE, Scored

PROXY = (
    "the AUROC rests on synthetic anomalies drawn into held-out normals: it tells how far compression changed the "
    "detector, not that it finds real defects; photograph some, or accept it by `auroc: {evidence: proxy}`"
)
RANKING_GROUPS = 24
"""Held-out groups in selection from which on proxy AUROC ranks candidates about as real defects do. Magnetic tiles, ten
candidates of a gaussian, 60 subsets: Spearman's rho of proxy and real AUROC .2 with 2 normals, .5 with 6, .7 with 12,
.8 with 24, .9 with 48 (selection split). `benchmarks/label_light.py` trains on few normals, too."""
_TWICE = 2 * FALSE_POSITIVE_RATE
"""Rate of false alarms that should be told from the one that the threshold is fitted for."""


def proxy_warnings(dataset: Dataset) -> tuple[str, ...]:
    """What the report says of synthetic anomalies; nothing where anomalies are real."""
    if not dataset.synthetic:
        return ()
    few = _groups(dataset.samples["selection"]) < RANKING_GROUPS
    return (PROXY, *([_ranking(dataset)] if few else []))


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
        _ranking(dataset),
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


def _ranking(dataset: Dataset) -> str:
    have = _groups(dataset.samples["selection"])
    found = f"{have} held-out groups in selection rank the candidates by synthetic anomalies"
    if have >= RANKING_GROUPS:
        return f"{found}, about as real defects would"
    needed = _in_all(dataset, RANKING_GROUPS, SELECTION_SHARE)
    return f"{found}: below {RANKING_GROUPS} their order is largely luck; that takes {needed}"


def _more(dataset: Dataset, have: int) -> str:
    needed = normals_needed()
    if have >= needed:
        return f"{needed} tell it from {100 * _TWICE:.0f} %"
    wanted = _in_all(dataset, needed, 1 - SELECTION_SHARE)
    return f"{needed} would tell it from {100 * _TWICE:.0f} %: {wanted}"


def _in_all(dataset: Dataset, groups: int, share: float) -> str:
    """How many parts must be photographed for so many groups in a split that gets `share` of the test part."""
    if any("train" in sample.file.split("/") for sample in dataset.samples["confirmation"]):
        return f"about {ceil(groups / share / BORROWED_SHARE - 1e-9)} normals of other parts in all"
    return f"about {ceil(groups / share - 1e-9)} normals of other parts in test"


def _groups(samples: Sequence[Sample]) -> int:
    return len({sample.group for sample in samples if not sample.label})

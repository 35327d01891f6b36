"""The two controls beside a detector's AUROC, and the warning where they do as well."""

from collections.abc import Mapping, Sequence

import numpy as np

from budgetc.candidate import Workshop
from budgetc.core.budget import Over
from budgetc.core.dataset import SPLITS, SplitName
from budgetc.core.measurement import Measurement
from budgetc.core.plan import fingerprint
from budgetc.core.quality import Control
from budgetc.core.statistics import Interval, auroc
from budgetc.measurement.controls import CONTROLS, Described, Name, control_scores, describe_images
from budgetc.measurement.quality import Scored, auroc_loss, by_category, loss_between
from budgetc.workshop import circumstances

WORTH = 0.05
"""AUROC that a detector must have above the better control to be worth compressing."""


def described(shop: Workshop, split: SplitName) -> Described:
    """A split's images in six numbers each, from the store where they are known."""
    samples = shop.dataset.samples[split]
    key = fingerprint(
        ["image features", shop.dataset.digest, [sample.file for sample in samples], circumstances(shop.target.threads)]
    )
    rows = shop.run.store.cached(key, list[list[float]], lambda: describe_images(shop.dataset, split).tolist())
    return Described(split, samples, np.array(rows, dtype=np.float64).reshape(-1, 6))


def controls_beside(
    shop: Workshop, subjects: Mapping[str, Scored], *, over: Over, confidence: float = 0.95
) -> tuple[Control, ...]:
    """Both controls on the split that the subjects were scored on."""
    split = next(iter(subjects.values())).split
    judged = next(described(shop, name) for name in SPLITS if name == split)
    return judge_controls(described(shop, "train"), judged, subjects, over=over, confidence=confidence)


def judge_controls(
    train: Described, judged: Described, subjects: Mapping[str, Scored], *, over: Over, confidence: float = 0.95
) -> tuple[Control, ...]:
    """Both controls on the images that the subjects were scored on, and how far each subject is above them.

    Args:
        train: training normals.
        judged: the images that all subjects scored, in their order.
        subjects: `baseline`, `artifact` or `detector` -> its scores.
        over: the kind of AUROC that counts.
        confidence: of each bound.
    """
    return tuple(_judge(name, train, judged, subjects, over=over, confidence=confidence) for name in CONTROLS)


def _judge(
    name: Name, train: Described, judged: Described, subjects: Mapping[str, Scored], *, over: Over, confidence: float
) -> Control:
    scores = control_scores(name, train, judged)
    if isinstance(scores, str):
        return Control(control=name, auroc=None, reason=scores)
    scored = Scored(judged.split, judged.samples, scores, "host")
    gaps = {
        # The loss from the subject to the control is how far the subject is above it.
        subject: _measured("auroc_gap", loss_between(found, scored, confidence).over(over), scored)
        for subject, found in subjects.items()
    }
    value = _measured("auroc", by_category(scored, confidence).over(over), scored)
    return Control(control=name, auroc=value, gaps=gaps, defects=_by_defect(scored))


def _measured(metric: str, found: Interval, scored: Scored) -> Measurement:
    """No runtime: nothing of a detector runs here."""
    return auroc_loss(found, scored).model_copy(update={"metric": metric, "runtime": None})


def _by_defect(scored: Scored) -> dict[str, float]:
    defects = np.array([sample.defect for sample in scored.samples])
    categories = np.array(scored.categories)
    found = {}
    for defect in sorted(set(defects[scored.labels == 1])):
        normal = (scored.labels == 0) & np.isin(categories, categories[defects == defect])
        if normal.any():
            chosen = normal | (defects == defect)
            found[str(defect)] = auroc(scored.scores[chosen], scored.labels[chosen])
    return found


def better_control(controls: Sequence[Control]) -> Control | None:
    """The control with the higher AUROC; None where neither applies."""
    found = [control for control in controls if control.auroc is not None]
    return max(found, key=lambda control: _value(control.auroc), default=None)


def control_warnings(controls: Sequence[Control]) -> tuple[str, ...]:
    """A sentence for each subject that is not above the better control by .05, with both numbers."""
    best = better_control(controls)
    if best is None:
        return ()
    return tuple(
        f"AUROC {_value(best.auroc) + gap.value:.3f} of the {subject} on {gap.split} is {_beside(gap.value)} the "
        f"{_value(best.auroc):.3f} that {best.control} alone reaches: a detector that does not beat this control by "
        f"{WORTH:.2f} is not worth compressing"
        for subject, gap in best.gaps.items()
        if gap.value < WORTH
    )


def direction_warnings(family: str, baseline: Interval) -> tuple[str, ...]:
    """That a network from outside scores normals higher, beyond chance."""
    if family != "graph" or baseline.upper >= 0.5:
        return ()
    return (
        f"normals score higher than anomalies (AUROC {baseline.value:.3f}, at most {baseline.upper:.3f}): if what the "
        "network returns is high for normals, such as a likelihood, import it again with --lower-is-anomalous",
    )


def control_sentence(controls: Sequence[Control]) -> str:
    """Both controls in one line of the log."""
    return "controls: " + "; ".join(
        f"{one.control} {one.reason}" if one.auroc is None else f"{one.control} AUROC {one.auroc.value:.4f}"
        for one in controls
    )


def _value(measurement: Measurement | None) -> float:
    assert measurement is not None, "a control with an AUROC"
    return measurement.value


def _beside(gap: float) -> str:
    return f"only {gap:.3f} above" if gap > 0 else "not above"

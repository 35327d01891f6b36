"""Look a data set over before a detector is trained on it: what `budgetc data check` does."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log2
from pathlib import Path, PurePosixPath
from statistics import median

import numpy as np

from budgetc.compiler.controlling import judge_controls
from budgetc.compiler.data_advice import DEFECT_GROUPS, photograph_next
from budgetc.compiler.data_findings import find_all
from budgetc.compiler.data_record import Curve, CurvePoint, DataCheck, Finding, Floor, GroupSizes, Stock, Trend
from budgetc.compiler.label_light import what_it_shows
from budgetc.core.dataset import Sample, evenly
from budgetc.core.quality import Control
from budgetc.core.statistics import images_needed
from budgetc.load.datasets import describe
from budgetc.load.inspection import Inspected, inspect_data, what_is_missing
from budgetc.measurement.controls import Described
from budgetc.measurement.learning_curve import MOST_JUDGED, MOST_NORMALS, Point, learning_curve, nearest_cells
from budgetc.measurement.surveying import Survey, survey

FLOORS = ((0.85, 0.90), (0.90, 0.95), (0.95, 0.98), (0.97, 0.99))
"""(floor, AUROC that the detector really has)."""
MOST_PICTURES = 4000
"""Looked at; of more, evenly chosen ones."""
SHORTCUT = 0.65
"""AUROC of a control from which on it is worth a warning."""
_FEWEST_NORMALS, _FEWEST_GROUPS = 20, 4
_SEEN = 0.6
_RISES, _FALLS, _AGREE = 0.01, 0.05, 0.8


def check_data(path: str | Path, *, group: str | None = None, seed: int = 0) -> DataCheck:
    """Groups, copies, exposure, sharpness, shortcuts, whether more normals would help, and what to photograph next.

    AUROCs use the selection split; the confirmation split is counted, and otherwise looked at only for how its
    pictures were taken. Data that budgetc does not compile with is looked over too, as far as it can be read.

    Args:
        path: a data set, or a folder of pictures that is to become one.
        group: regular expression that names the part or clip of a file, where no groups.csv does.
        seed: of the splits and of the draws of the learning curve.

    Raises:
        UsageError: nothing is at the path, or `group` is no regular expression with a parenthesis.
        InputRejected: no picture can be read.
    """
    inspected = inspect_data(path, group=group, seed=seed)
    seen = _look(inspected)
    controls = _controls(inspected, seen)
    curves = tuple(_curve(category, inspected, seen, seed) for category in _trained(inspected))
    floors = _floors(inspected)
    findings = (*find_all(inspected, seen), *_shortcuts(controls))
    stock, missing = _stock(inspected), what_is_missing(inspected)
    return DataCheck(
        data=str(path),
        data_sha256=inspected.source.digest,
        accepted=inspected.refusal is None,
        refusal=inspected.refusal,
        missing=missing,
        stock=stock,
        groups=_group_sizes(inspected),
        splits={} if inspected.dataset is None else describe(inspected.dataset),
        findings=findings,
        controls=controls,
        curves=curves,
        floors=floors,
        label_light=() if inspected.dataset is None else what_it_shows(inspected.dataset),
        photograph=photograph_next(
            (*missing, *_real_anomalies(inspected)), stock, curves, findings, scenes=_scenes(inspected)
        ),
    )


def _real_anomalies(inspected: Inspected) -> Sequence[str]:
    """What is not needed to compile, but to know that defects are found."""
    if inspected.dataset is None or not inspected.dataset.synthetic:
        return ()
    return (
        f"anomalies: at least {DEFECT_GROUPS} parts of each defect type, into test/<defect type> (frames: "
        "other/<scene>), beside normals of other parts in test/good: until then all figures are of synthetic ones",
    )


def _look(inspected: Inspected) -> Survey:
    entries = inspected.source.entries
    chosen = [entries[number] for number in evenly(len(entries), MOST_PICTURES)]
    samples = [entry.sample(inspected.groups[entry.file]) for entry in chosen]
    return survey(samples, [inspected.source.pictures[one.file].size for one in samples], inspected.source.read)


def _stock(inspected: Inspected) -> tuple[Stock, ...]:
    members: dict[tuple[str, str, str], list[str]] = {}
    for entry in inspected.source.entries:
        members.setdefault((entry.part, entry.category, entry.defect), []).append(inspected.groups[entry.file])
    return tuple(
        Stock.model_validate({"part": part, "category": category, "defect": defect, "pictures": len(groups),
                              "groups": len(set(groups))})
        for (part, category, defect), groups in sorted(members.items(), key=lambda item: (item[0][0] == "test", item))
    )  # fmt: skip


def _scenes(inspected: Inspected) -> int | None:
    """Folders of frames in train; None where pictures are no frames."""
    if not inspected.source.video:
        return None
    return len({str(PurePosixPath(entry.file).parent) for entry in inspected.source.entries if entry.part == "train"})


def _group_sizes(inspected: Inspected) -> GroupSizes:
    sizes = Counter(inspected.groups.values()).values()
    return GroupSizes(
        source=inspected.grouping, count=len(sizes), smallest=min(sizes), median=median(sizes), largest=max(sizes)
    )


def _trained(inspected: Inspected) -> list[str]:
    return sorted({entry.category for entry in inspected.source.entries if entry.part == "train"})


def _normals(inspected: Inspected) -> list[Sample]:
    """All that may be trained on; of frames, what is left after some went to the test splits."""
    if inspected.dataset is not None:
        return [*inspected.dataset.samples["train"], *inspected.dataset.samples["calibration"]]
    return [entry.sample(inspected.groups[entry.file]) for entry in inspected.source.entries if entry.part == "train"]


def _judged(inspected: Inspected) -> tuple[str, list[Sample]]:
    """The selection split; of refused data, which has no sealed split, the whole test part."""
    if inspected.dataset is not None:
        # Synthetic anomalies are drawn for a detector; what this looks at is how pictures were taken.
        return "selection", [one for one in inspected.dataset.samples["selection"] if not one.synthetic]
    entries = [entry for entry in inspected.source.entries if entry.part == "test"]
    return "test", [entry.sample(inspected.groups[entry.file]) for entry in entries]


def _rows(samples: Iterable[Sample], seen: Survey) -> list[int]:
    """Where the samples that were looked at stand in the survey."""
    at = {sample.file: number for number, sample in enumerate(seen.samples)}
    return [at[sample.file] for sample in samples if sample.file in at]


def _described(split: str, samples: Sequence[Sample], inspected: Inspected, seen: Survey) -> Described:
    rows = _rows(samples, seen)
    chosen = [seen.samples[row] for row in rows]
    sides = np.array([inspected.source.pictures[one.file].size for one in chosen], dtype=np.float64).reshape(-1, 2)
    return Described(split, chosen, np.column_stack([sides, seen.statistics[rows]]))


def _controls(inspected: Inspected, seen: Survey) -> tuple[Control, ...]:
    """Empty where there are no normals to fit them on, or no category with both classes to judge them by."""
    normals = _normals(inspected) if inspected.dataset is None else inspected.dataset.samples["train"]
    train = _described("train", normals, inspected, seen)
    judged = _described(*_judged(inspected), inspected, seen)
    labels: dict[str, set[int]] = {}
    for sample in judged.samples:
        labels.setdefault(sample.category, set()).add(sample.label)
    if not train.samples or all(len(found) < 2 for found in labels.values()):
        return ()
    return judge_controls(train, judged, {}, over="mean")


def _shortcuts(controls: Sequence[Control]) -> Iterable[Finding]:
    for control in controls:
        found = control.auroc
        if found is not None and found.value >= SHORTCUT and (found.lower or 0) > 0.5:
            yield Finding(
                kind="shortcut",
                text=f"{control.control} alone, without a detector: AUROC {found.value:.2f} ({found.lower:.2f} to "
                f"{found.upper:.2f}) on {found.split}; photograph anomalies like normals, else a detector is judged by "
                "how the pictures were taken",
            )


def _curve(category: str, inspected: Inspected, seen: Survey, seed: int) -> Curve:
    normals = _thinned([one for one in _normals(inspected) if one.category == category], MOST_NORMALS)
    judged = [one for one in _judged(inspected)[1] if one.category == category]
    with_anomalies = {sample.label for sample in judged} == {0, 1}
    if not with_anomalies:
        judged = [sample for sample in judged if sample.label == 0]
        if not judged:
            normals, judged = _held_out(normals)
    judged = _thinned(judged, MOST_JUDGED)
    known, asked = _rows(normals, seen), _rows(judged, seen)
    groups = [seen.samples[row].group for row in known]
    points: tuple[Point, ...] = ()
    if len(known) >= _FEWEST_NORMALS and len(set(groups)) >= _FEWEST_GROUPS and asked:
        labels = np.array([seen.samples[row].label for row in asked])
        nearest = nearest_cells(seen.small[known], seen.small[asked], groups, labels)
        points = learning_curve(nearest, np.random.default_rng(seed))
    change, trend = _trend(points, with_anomalies)
    return Curve(
        category=category, metric="auroc" if with_anomalies else "score of unseen normals",
        points=tuple(_point(point) for point in points), per_doubling=change, trend=trend,
    )  # fmt: skip


def _thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    return [samples[number] for number in evenly(len(samples), most)]


def _held_out(normals: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Every fifth group is kept to be judged."""
    judged = set(sorted({sample.group for sample in normals})[::5])
    return [one for one in normals if one.group not in judged], [one for one in normals if one.group in judged]


def _point(point: Point) -> CurvePoint:
    values = point.values
    return CurvePoint(
        normals=point.normals, value=sum(values) / len(values), lowest=min(values), highest=max(values),
        draws=len(values),
    )  # fmt: skip


def _trend(points: Sequence[Point], with_anomalies: bool) -> tuple[float | None, Trend]:
    """What the last doubling brought: a change counts where it is large enough and most draws agree."""
    if len(points) < 2:
        return None, "too few to tell"
    before, last = points[-2], points[-1].values[0]
    doublings = log2(points[-1].normals / before.normals)
    mean = sum(before.values) / len(before.values)
    if with_anomalies:
        change, enough = (last - mean) / doublings, _RISES
        agree = float(np.mean([value < last for value in before.values]))
        if last < _SEEN:
            return change, "not seen"
    else:
        change, enough = 1 - (last / mean) ** (1 / doublings) if mean > 0 else 0.0, _FALLS
        agree = float(np.mean([value > last for value in before.values]))
    if change < enough:
        return change, "flat"
    return change, "still improves" if agree >= _AGREE else "not clear"


def _floors(inspected: Inspected) -> tuple[Floor, ...]:
    if inspected.dataset is None or inspected.dataset.synthetic:
        return ()
    samples = inspected.dataset.samples["confirmation"]
    good, bad = (len({sample.group for sample in samples if sample.label == label}) for label in (0, 1))
    return tuple(
        Floor(floor=floor, truth=truth, needed=images_needed(floor, truth), good=good, bad=bad)
        for floor, truth in FLOORS
    )

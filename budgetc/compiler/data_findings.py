"""What sticks out in a data set: copies, leaks between parts, exposure, sharpness, sizes."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from budgetc.compiler.data_record import Finding, Kind
from budgetc.core.dataset import GOOD, SplitName
from budgetc.load.inspection import Inspected, picture_modes
from budgetc.load.listing import ONLY_CATEGORY, named
from budgetc.measurement.lookalikes import Alike, connected, lookalikes
from budgetc.measurement.surveying import CLIPPED, FLAT_CONTRAST, STICKS_OUT, Survey, robust_deviations

FEW_GROUPS = 20
"""Groups of a test split below which intervals are wide."""
_USUAL = 0.9
_OUTSIDE = 0.1
"""Share of the test normals outside the range of the middle 98 % of training normals that is worth a sentence."""
_MOST_CLUSTERS = 12
_FEWEST = 8


def find_all(inspected: Inspected, seen: Survey) -> tuple[Finding, ...]:
    """Every finding, those that make figures wrong first."""
    return (
        *_damaged(inspected), *_copies(inspected), *_same_parts(inspected, seen), *_groups(inspected),
        *_useless(seen), *_outliers(seen), *_sizes(inspected), *_modes(inspected), *_uncovered(inspected, seen),
    )  # fmt: skip


def _damaged(inspected: Inspected) -> Iterator[Finding]:
    if inspected.damaged:
        file, reason = next(iter(inspected.damaged.items()))
        text = f"{len(inspected.damaged)} files cannot be read as pictures; {file}: {reason}"
        yield Finding(kind="damaged", text=text, files=tuple(inspected.damaged))


def _copies(inspected: Inspected) -> Iterator[Finding]:
    pictures, parts = inspected.source.pictures, {entry.file: entry.part for entry in inspected.source.entries}
    by_content: dict[str, list[str]] = {}
    for file in parts:
        by_content.setdefault(pictures[file].sha256, []).append(file)
    copies = [files for files in by_content.values() if len(files) > 1]
    across = [files for files in copies if len({parts[file] for file in files}) > 1]
    if across:
        text = f"{len(across)} pictures are both in train and in test: a detector would be tested on what it learned"
        yield Finding(kind="copies", text=text, files=tuple(file for files in across for file in files))
    within = [files for files in copies if files not in across]
    if within:
        text = f"{len(within)} pictures are there more than once: they count once in every interval"
        yield Finding(kind="copies", text=text, files=tuple(file for files in within for file in files))


def _same_parts(inspected: Inspected, seen: Survey) -> Iterator[Finding]:
    """Clusters of groups whose pictures look like one part."""
    if inspected.source.video:
        return  # neighboring frames always look alike; splits keep a gap between them
    pictures = inspected.source.pictures
    for category in sorted({sample.category for sample in seen.samples}):
        at = [number for number, sample in enumerate(seen.samples) if sample.category == category]
        samples = [seen.samples[number] for number in at]
        groups = [sample.group for sample in samples]
        thumbnails = np.stack([pictures[sample.file].thumbnail for sample in samples])
        pairs = lookalikes(thumbnails, seen.small[at], groups)
        if pairs is None:
            text = f"pictures of different parts{_of(category)} look so alike that a part seen twice cannot be found"
            yield Finding(kind="same part", text=text)
        elif pairs:
            yield from _clusters(inspected, pairs, [sample.file for sample in samples], groups)


def _clusters(
    inspected: Inspected, pairs: Sequence[Alike], files: Sequence[str], groups: Sequence[str]
) -> Iterator[Finding]:
    parts = {entry.file: entry.part for entry in inspected.source.entries}
    clusters = list(connected(pairs, groups))
    for cluster in clusters[:_MOST_CLUSTERS]:
        mine = sorted((pair for pair in pairs if groups[pair.one] in cluster), key=lambda pair: -pair.detail)
        shown = tuple(dict.fromkeys(files[at] for pair in mine for at in (pair.one, pair.other)))
        sides = {parts[file] for file, group in zip(files, groups, strict=True) if group in cluster}
        leak = ", in train and in test: tested on what was trained on" if len(sides) > 1 else ""
        yield Finding(kind="same part", text=f"{named(cluster)} look like one part{leak}", files=shown)
    if len(clusters) > _MOST_CLUSTERS:
        yield Finding(kind="same part", text=f"{len(clusters) - _MOST_CLUSTERS} more such clusters")


def _groups(inspected: Inspected) -> Iterator[Finding]:
    if inspected.grouping == "seen in the pictures":
        yield Finding(
            kind="groups",
            text="no groups are stated: only near copies are kept together; if a part was photographed more than "
            "once, say so in groups.csv (file,group) or with --group",
        )
    if inspected.dataset is None:
        return
    tested: tuple[SplitName, ...] = ("selection", "confirmation")
    for split in tested:
        for label, noun in ((0, "normal"), (1, "anomalous")):
            samples = [sample for sample in inspected.dataset.samples[split] if sample.label == label]
            if any(sample.synthetic for sample in samples):
                continue  # as many groups as there are normals
            count = len({sample.group for sample in samples})
            if count < FEW_GROUPS:
                text = f"{split} has {count} {noun} groups ({len(samples)} pictures): intervals are wide below 20"
                yield Finding(kind="groups", text=text)


def _useless(seen: Survey) -> Iterator[Finding]:
    contrast = seen.statistics[:, 1]
    flat = np.flatnonzero(contrast < FLAT_CONTRAST)
    yield from _listed(
        "flat", "show next to nothing (contrast below 2 gray levels)", seen, flat[contrast[flat].argsort()]
    )
    clipped = np.flatnonzero((seen.clipped > CLIPPED) & (contrast >= FLAT_CONTRAST))
    worst_first = clipped[(-seen.clipped[clipped]).argsort()]
    yield from _listed("clipped", "have more than 20 % of their pixels black or white", seen, worst_first)


def _outliers(seen: Survey) -> Iterator[Finding]:
    """Normals whose exposure or sharpness is unlike that of the category's other normals."""
    levels, sharpness = seen.statistics[:, 0], np.log(seen.statistics[:, 3] + 1e-3)
    normal = np.array([sample.defect == GOOD for sample in seen.samples])
    categories = np.array([sample.category for sample in seen.samples])
    directions: tuple[tuple[Kind, str, NDArray[np.float64], float, int], ...] = (
        ("exposure", "much darker", levels, 1.0, -1),
        ("exposure", "much brighter", levels, 1.0, 1),
        ("sharpness", "much more blurred", sharpness, 0.05, -1),
        ("sharpness", "much sharper or noisier", sharpness, 0.05, 1),
    )  # fmt: skip
    for category in np.unique(categories[normal]):
        at = np.flatnonzero(normal & (categories == category))
        if len(at) < _FEWEST:
            continue
        for kind, words, values, resolution, sign in directions:
            away = sign * robust_deviations(values[at], resolution)
            worst = at[(-away).argsort()][: int((away > STICKS_OUT).sum())]
            yield from _listed(kind, f"among the normals{_of(category)} are {words} than the others", seen, worst)


def _sizes(inspected: Inspected) -> Iterator[Finding]:
    sizes = {entry.file: inspected.source.pictures[entry.file].size for entry in inspected.source.entries}
    counts = Counter(sizes.values())
    usual, often = counts.most_common(1)[0]
    if len(counts) == 1:
        return
    if often >= _USUAL * len(sizes):
        odd = tuple(file for file, size in sizes.items() if size != usual)
        text = f"{len(odd)} pictures are not {usual[0]} x {usual[1]} like the others"
        yield Finding(kind="sizes", text=text, files=odd)
        return
    (low, high), (flat, tall) = ((min(side), max(side)) for side in zip(*counts, strict=True))
    text = f"sizes vary: {low} to {high} pixels wide, {flat} to {tall} high; all are scaled to one size"
    yield Finding(kind="sizes", text=text)


def _modes(inspected: Inspected) -> Iterator[Finding]:
    modes = picture_modes(inspected.source)
    counts = Counter(modes.values())
    if len(counts) > 1:
        rare = tuple(file for file, mode in modes.items() if mode != counts.most_common(1)[0][0])
        found = ", ".join(f"{count} {mode}" for mode, count in counts.most_common())
        yield Finding(kind="modes", text=f"pictures are of several kinds ({found}): save all alike", files=rare)


def _uncovered(inspected: Inspected, seen: Survey) -> Iterator[Finding]:
    """Test normals that are darker, brighter, ... than nearly all normals that a detector learns from.

    Of anomalies the controls say more: how well they are told by such things alone.
    """
    parts = {entry.file: entry.part for entry in inspected.source.entries}
    train = np.array([parts[sample.file] == "train" for sample in seen.samples])
    categories = np.array([sample.category for sample in seen.samples])
    bad = np.array([sample.label == 1 for sample in seen.samples])
    for category in np.unique(categories):
        known = np.flatnonzero(train & (categories == category))
        asked = np.flatnonzero(~train & (categories == category) & ~bad)
        if min(len(known), len(asked)) >= _FEWEST:
            yield from _outside(seen, known, asked, f"normals{_of(category)}")


def _outside(seen: Survey, known: NDArray[np.int64], asked: NDArray[np.int64], what: str) -> Iterator[Finding]:
    for column, less, more in ((0, "darker", "brighter"), (3, "more blurred", "sharper or noisier")):
        low, high = np.quantile(seen.statistics[known, column], (0.01, 0.99))
        values = seen.statistics[asked, column]
        for words, outside in ((less, values < low), (more, values > high)):
            if outside.mean() >= _OUTSIDE:
                files = tuple(seen.samples[number].file for number in asked[outside])
                text = f"{len(files)} of {len(asked)} test {what} are {words} than 99 % of the normals in train"
                yield Finding(kind="coverage", text=text, files=files)


def _listed(kind: Kind, words: str, seen: Survey, at: NDArray[np.int64]) -> Iterator[Finding]:
    if len(at):
        files = tuple(seen.samples[number].file for number in at)
        yield Finding(kind=kind, text=f"{len(files)} pictures {words}", files=files)


def _of(category: str) -> str:
    return "" if category == ONLY_CATEGORY else f" of {category}"

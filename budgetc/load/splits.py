"""Who goes where, by group: train | calibration of the normals, selection | confirmation of the test part."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from budgetc.core.dataset import GOOD, SPLITS, Sample, SplitName
from budgetc.errors import InputRejected
from budgetc.load.listing import Entry, is_good

Splits = dict[SplitName, tuple[Sample, ...]]
Stratum = tuple[str, str]
"""(category, defect type)."""
CALIBRATION_SHARE = 0.2
SELECTION_SHARE = 0.4
_JUDGED: tuple[SplitName, ...] = ("selection", "confirmation")
BORROWED_SHARE = 0.3
"""Of the normals in train, where the test part has none."""


def split_by_group(entries: Collection[Entry], groups: Mapping[str, str], seed: int) -> Splits:
    """Every entry in one split, all entries of a group in the same; the same for any order of the entries.

    Within every category and defect type that has at least two groups of its own, both sides get
    one. Which groups go where follows from hashes of the seed and their names.

    Raises:
        InputRejected: a category with fewer than two normal groups to train on.
    """
    train = _strata([entry for entry in entries if entry.part == "train"], groups)
    for (category, _), members in sorted(train.items()):
        if len(members) < 2:
            raise InputRejected(
                f"category {category!r}: fewer than 2 normal groups to train on (found {', '.join(members)}); "
                f"training and calibration need one each"
            )
    test = _strata([entry for entry in entries if entry.part == "test"], groups)
    minor = {name: "calibration" for name in _minor_side(train, CALIBRATION_SHARE, seed)}
    minor |= {name: "selection" for name in _minor_side(test, SELECTION_SHARE, seed)}
    splits: dict[str, list[Sample]] = {name: [] for name in SPLITS}
    for entry in sorted(entries, key=lambda entry: entry.file):
        group = groups[entry.file]
        major = "train" if entry.part == "train" else "confirmation"
        splits[minor.get(group, major)].append(entry.sample(group))
    return {name: tuple(splits[name]) for name in SPLITS}


def borrow_test_normals(entries: Sequence[Entry], groups: Mapping[str, str], seed: int) -> tuple[Entry, ...]:
    """The entries; of categories whose test part has no normals, 30 % of the groups in train move there."""
    tested = {entry.category for entry in entries if entry.part == "test" and is_good(entry)}
    train = _strata([entry for entry in entries if entry.part == "train" and entry.category not in tested], groups)
    moved = _minor_side(train, BORROWED_SHARE, seed)
    return tuple(
        replace(entry, part="test") if entry.part == "train" and groups[entry.file] in moved else entry
        for entry in entries
    )


def refuse_leaks(entries: Sequence[Entry], groups: Mapping[str, str], advice: str) -> None:
    """No group has pictures in train and in test.

    Raises:
        InputRejected: naming one such group and its files; `advice` says what to do about it.
    """
    place = {groups[entry.file]: entry.file for entry in entries if entry.part == "train"}
    leaks = [entry for entry in entries if entry.part == "test" and groups[entry.file] in place]
    if leaks:
        group = groups[leaks[0].file]
        count = len({groups[entry.file] for entry in leaks})
        raise InputRejected(
            f"group {group!r} is in train ({place[group]}) and in test ({leaks[0].file}); "
            f"{count} such groups in all; {advice}"
        )


def refuse_one_class(splits: Splits) -> None:
    """Selection and confirmation can tell normals from anomalies.

    Raises:
        InputRejected: the test part has one class, or too few groups of a class for two splits.
    """
    test = splits["selection"] + splits["confirmation"]
    for label, noun in ((0, "normals"), (1, "anomalies")):
        groups = sorted({sample.group for sample in test if sample.label == label})
        if not groups:
            raise InputRejected(
                f"the test part has only one class: no {noun}; an AUROC needs normals (test/good) and anomalies "
                "(test/<defect type>)"
            )
        for name in _JUDGED:
            if all(sample.label != label for sample in splits[name]):
                raise InputRejected(
                    f"{name} has only one class: the {noun} of the test part are {len(groups)} groups "
                    f"({', '.join(groups[:5])}), too few for selection and confirmation; add pictures of others"
                )
    for name in _JUDGED:
        labels: dict[str, set[int]] = {}
        for sample in splits[name]:
            labels.setdefault(sample.category, set()).add(sample.label)
        if all(len(found) < 2 for found in labels.values()):
            raise InputRejected(
                f"{name}: no category has both normals and anomalies ({', '.join(sorted(labels)[:5])}); an AUROC "
                f"compares the two of one category: add test/good where there are defects"
            )


def _strata(entries: Collection[Entry], groups: Mapping[str, str]) -> dict[Stratum, list[str]]:
    """(category, defect type) -> sorted names of its groups."""
    members: dict[Stratum, set[str]] = {}
    for entry in entries:
        members.setdefault((entry.category, entry.defect), set()).add(groups[entry.file])
    return {stratum: sorted(names) for stratum, names in members.items()}


def _minor_side(strata: Mapping[Stratum, Sequence[str]], share: float, seed: int) -> set[str]:
    """Names of the groups that go to the smaller side, about `share` of every stratum."""
    minor: set[str] = set()
    major: set[str] = set()
    plural = {stratum: names for stratum, names in strata.items() if len(names) > 1}
    # A group may have pictures in several strata: the strata with the fewest groups choose first.
    for _, names in sorted(plural.items(), key=lambda item: (len(item[1]), item[0])):
        wanted = min(max(1, round(share * len(names))), len(names) - 1)
        free = [name for name in _shuffled(names, seed) if name not in minor | major]
        taken = max(0, wanted - len(minor.intersection(names)))
        if free and not major.intersection(names):
            taken = min(taken, len(free) - 1)
        minor.update(free[:taken])
        major.update(free[taken:])
    _place_single_groups(strata, share, seed, (minor, major))
    return minor


def _place_single_groups(
    strata: Mapping[Stratum, Sequence[str]], share: float, seed: int, sides: tuple[set[str], set[str]]
) -> None:
    """Strata of one group go to the larger side, until the smaller one lacks its share of their class."""
    minor, major = sides
    for good in (True, False):
        of_class = [names for (_, defect), names in strata.items() if (defect == GOOD) == good]
        everyone = {name for names in of_class for name in names}
        singles = {names[0] for names in of_class if len(names) == 1} - minor - major
        wanted = max(1, round(share * len(everyone))) if len(everyone) > 1 else 0
        missing = max(0, wanted - len(minor & everyone))
        if singles == everyone:
            missing = min(missing, len(singles) - 1) if singles else 0
        ordered = _shuffled(sorted(singles), seed)
        minor.update(ordered[:missing])
        major.update(ordered[missing:])


def _shuffled(names: Sequence[str], seed: int) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest())

import itertools
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.core.dataset import SPLITS
from budgetc.errors import InputRejected
from budgetc.load.listing import Entry, Part
from budgetc.load.splits import Splits, borrow_test_normals, refuse_one_class, split_by_group
from budgetc.load.video import split_video

CATEGORIES = ("bolt", "nut")


@st.composite
def grouped(draw: st.DrawFn, shared: bool = False) -> tuple[list[Entry], dict[str, str]]:
    """Entries of two categories with groups of one to three files; `shared` lets a group span defect types."""
    entries: list[Entry] = []
    groups: dict[str, str] = {}
    for category in CATEGORIES:
        places: list[tuple[Part, str]] = [("train", "good"), ("test", "good"), ("test", "hole"), ("test", "cut")]
        for part, defect in places:
            for number in range(draw(st.integers(2, 7))):
                name = (
                    f"{category}-{part}-{number}"
                    if shared and part == "test"
                    else f"{category}-{part}-{defect}-{number}"
                )
                for copy in range(draw(st.integers(1, 3))):
                    file = f"{category}/{part}/{defect}/{number}_{copy}.png"
                    entries.append(Entry(file, part, category, defect))
                    groups[file] = name
    return entries, groups


def assert_whole(splits: Splits, entries: list[Entry]) -> None:
    files = [sample.file for split in SPLITS for sample in splits[split]]
    assert sorted(files) == sorted(entry.file for entry in entries)
    place: dict[str, set[str]] = defaultdict(set)
    for split in SPLITS:
        for sample in splits[split]:
            place[sample.group].add(split)
    assert all(len(where) == 1 for where in place.values())


@given(grouped(), st.integers(0, 5))
def test_every_sample_once_and_no_group_in_two_splits(data: tuple[list[Entry], dict[str, str]], seed: int) -> None:
    """The partition holds for any sizes, and train and calibration see normals only."""
    splits = split_by_group(*data, seed)
    assert_whole(splits, data[0])
    assert not any(sample.label for name in ("train", "calibration") for sample in splits[name])


@given(grouped(), st.integers(0, 5))
def test_both_sides_see_every_stratum(data: tuple[list[Entry], dict[str, str]], seed: int) -> None:
    """Each category and defect type of at least two groups is on both sides."""
    splits = split_by_group(*data, seed)
    seen = {name: {(s.category, s.defect) for s in splits[name]} for name in SPLITS}
    assert seen["train"] == seen["calibration"]
    assert seen["selection"] == seen["confirmation"]


@given(grouped(shared=True), st.integers(0, 5))
def test_groups_that_span_defect_types_stay_whole(data: tuple[list[Entry], dict[str, str]], seed: int) -> None:
    """A part with two kinds of defects is in one split."""
    assert_whole(split_by_group(*data, seed), data[0])


@given(grouped(), st.integers(0, 5), st.randoms())
def test_the_order_of_the_files_does_not_matter(
    data: tuple[list[Entry], dict[str, str]], seed: int, random: object
) -> None:
    """Directory listings come in any order."""
    entries, groups = data
    shuffled = list(entries)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert split_by_group(shuffled, groups, seed) == split_by_group(entries, groups, seed)


def test_single_groups_of_many_defect_types_are_shared_out() -> None:
    """Five defect types of one part each: some guide the search, some confirm."""
    entries = [Entry(f"train/{i}", "train", "all", "good") for i in range(4)]
    entries += [Entry(f"test/good/{i}", "test", "all", "good") for i in range(5)]
    entries += [Entry(f"test/{i}", "test", "all", f"type{i}") for i in range(5)]
    splits = split_by_group(entries, {entry.file: entry.file for entry in entries}, seed=0)
    assert [sum(s.label for s in splits[name]) for name in ("selection", "confirmation")] == [2, 3]


def test_borrowed_normals_leave_train() -> None:
    """30 % of the groups move to the test part, and only where it has no normals."""
    entries = [Entry(f"train/{i}", "train", "all", "good") for i in range(10)]
    groups = {entry.file: entry.file for entry in entries}
    assert sum(entry.part == "test" for entry in borrow_test_normals(entries, groups, 0)) == 3
    entries.append(Entry("test/good", "test", "all", "good"))
    groups["test/good"] = "test/good"
    assert borrow_test_normals(entries, groups, 0) == tuple(entries)


@given(st.integers(70, 400), st.integers(1, 90))
def test_frames_of_two_splits_are_a_block_apart(highway: int, rain: int) -> None:
    """At least ten frames lie between any two splits of a scene, and no frame is used twice."""
    entries = [Entry(f"train/highway/{i:04d}.png", "train", "all", "good") for i in range(highway)]
    entries += [Entry(f"other/rain/{i:04d}.png", "test", "all", "rain") for i in range(rain)]
    splits = split_video(entries)
    place = {sample.file: name for name in SPLITS for sample in splits[name]}
    assert len(place) == sum(len(splits[name]) for name in SPLITS)
    for scene in ("train/highway", "other/rain"):
        frames = sorted((int(file[-8:-4]), name) for file, name in place.items() if file.startswith(scene))
        changes = [(b - a) for (a, one), (b, other) in itertools.pairwise(frames) if one != other]
        assert all(gap > 10 for gap in changes)
    assert all(any(name == split for name in place.values()) for split in SPLITS if split != "selection" or rain >= 30)


def test_classes_of_different_categories_are_no_test_part() -> None:
    """An AUROC compares normals and anomalies of one category."""
    entries = [Entry(f"{c}/train/{i}", "train", c, "good") for c in CATEGORIES for i in range(4)]
    entries += [Entry(f"bolt/test/{i}", "test", "bolt", "good") for i in range(6)]
    entries += [Entry(f"nut/test/{i}", "test", "nut", "cut") for i in range(6)]
    splits = split_by_group(entries, {entry.file: entry.file for entry in entries}, seed=0)
    with pytest.raises(InputRejected, match=r"selection: no category has both normals and anomalies \(bolt, nut\)"):
        refuse_one_class(splits)

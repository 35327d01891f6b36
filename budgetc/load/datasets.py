"""A path -> a data set in four splits, or the reason why not."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from budgetc.core.dataset import SPLITS, Dataset, Sample
from budgetc.errors import InputRejected, UsageError
from budgetc.load.arrays import open_arrays
from budgetc.load.declared import FactorReader, read_factors, with_copies
from budgetc.load.factors import Factors
from budgetc.load.frames import is_frames, list_frames
from budgetc.load.groups import groups_by_content, groups_by_pattern, merge_same_content, read_groups_csv
from budgetc.load.images import FolderReader, digest_of, examine_files, read_content
from budgetc.load.label_light import (
    SyntheticReader,
    has_anomalies,
    lacks_anomalies,
    refuse_few_normals,
    with_synthetic,
)
from budgetc.load.listing import FACTORS_FILE, Source, is_good, named, subfolders
from budgetc.load.mvtec import is_category, list_mvtec, refuse_wrong_masks
from budgetc.load.splits import Splits, borrow_test_normals, refuse_leaks, refuse_one_class, split_by_group
from budgetc.load.video import block_samples, scenes, split_video

_EXPECTED = (
    "expected train/good with test/good and test/<defect type> (MVTec layout), folders of categories that hold these, "
    "train/<scene> with other/<scene> (frames), or an .npz file; normals alone belong into train/good"
)


def load_dataset(path: str | Path, *, group: str | None = None, seed: int = 0) -> Dataset:
    """The data set at a path, split by group: MVTec layout, frame folders or `.npz`, told apart by content.

    Groups come from groups.csv at the root or from the arrays, else from `group` (a regular
    expression whose first parenthesis encloses the group in a file's path), else from content:
    exact and near copies are one group, and frames are grouped in blocks of consecutive ones.

    Without anomalies, or with too few for two splits, held-out normals get synthetic ones (`load/label_light.py`);
    without a test part, 30 % of the normals are held out.

    Raises:
        UsageError: nothing is at the path, or `group` is no such expression.
        InputRejected: pictures are damaged, a group is in train and in test, the test part has no normals, ...
    """
    return split_source(open_source(path), group=group, seed=seed)


def split_source(source: Source, *, group: str | None = None, seed: int = 0) -> Dataset:
    """A data set that was read, in four splits; as `load_dataset`, which see.

    Raises:
        UsageError, InputRejected: as `load_dataset`.
    """
    _refuse_same_content(source)
    groups = stated_groups(source, group)
    video = source.video and groups is None
    splits = split_video(source.entries) if video else _split_groups(source, groups, seed)
    if source.factors is not None:
        splits, source = _with_factors(splits, source, source.factors)
    elif lacks_anomalies(splits):
        splits, source = _with_synthetic(splits, source, seed)
    refuse_one_class(splits)
    return _dataset(source, splits, video=video)


def load_test_part(path: str | Path, *, group: str | None = None) -> Dataset:
    """All test pictures of a data set as its confirmation split, the other splits empty: for evaluation alone.

    train/ is neither needed nor read, except where the test part has no anomalies, or is of frames without
    in-distribution ones: those data are split as by `load_dataset`, and its selection is taken too.

    Raises:
        UsageError, InputRejected: as `load_dataset`.
    """
    source = _open(Path(path), needs_train=False)
    groups = stated_groups(source, group)
    entries = [entry for entry in source.entries if entry.part == "test"]
    video = source.video and groups is None
    if not has_anomalies(entries) or (video and not any(is_good(entry) for entry in entries)):
        whole = load_dataset(path, group=group)
        taken = whole.samples["selection"] + whole.samples["confirmation"]
        return replace(whole, samples=_only_confirmation(taken), _cache={})
    if video:
        samples = tuple(sample for scene in scenes(entries) for block in block_samples(scene) for sample in block)
    else:
        groups = groups or groups_by_content(entries, source.pictures)
        samples = tuple(entry.sample(groups[entry.file]) for entry in entries)
    if len({sample.label for sample in samples}) < 2:
        raise InputRejected(f"{path}: the test part has only one class; an AUROC needs normals and anomalies")
    return _dataset(source, _only_confirmation(samples), video=video)


def content_digest(path: str | Path) -> str:
    """The digest that `load_dataset` gives to what is at the path, without splitting it.

    Raises:
        UsageError, InputRejected: as `load_dataset`.
    """
    return _open(Path(path), needs_train=True).digest


def describe(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Split -> numbers of good and bad pictures and of groups, for the report."""
    return {
        name: {
            "good": sum(sample.label == 0 for sample in dataset.samples[name]),
            "bad": sum(sample.label == 1 for sample in dataset.samples[name]),
            "groups": len({sample.group for sample in dataset.samples[name]}),
        }
        for name in SPLITS
    }


def open_source(path: str | Path) -> Source:
    """Everything about the data set except who is in which split.

    Raises:
        UsageError: nothing is at the path.
        InputRejected: the folders or arrays are none of the layouts, or pictures are damaged.
    """
    return _open(Path(path), needs_train=True)


def _open(path: Path, *, needs_train: bool) -> Source:
    """As `open_source`; without `needs_train` only the test part."""
    if not path.exists():
        raise UsageError(f"data: {path} does not exist; {_EXPECTED}")
    if path.is_file():
        source = open_arrays(path)
        return source if needs_train else _test_part(source)
    if not path.is_dir():
        raise InputRejected(f"data: {path} is neither a folder nor a regular file; {_EXPECTED}")
    return _open_folder(path, needs_train)


def _open_folder(root: Path, needs_train: bool) -> Source:
    names = subfolders(root)
    if not names:
        raise InputRejected(f"data: {root} holds no folders; {_EXPECTED}")
    video = is_frames(root)
    if video:
        entries = list_frames(root, needs_train=needs_train)
    elif is_category(root) or any(is_category(root / name) for name in names):
        entries = list_mvtec(root, needs_train=needs_train)
    else:
        raise InputRejected(f"data: {root} holds {', '.join(names[:5])}; {_EXPECTED}")
    table = root / "groups.csv"
    stated = read_groups_csv(table, entries) if table.exists() else None
    if not needs_train:
        entries = tuple(entry for entry in entries if entry.part == "test")
    masks = [entry.mask for entry in entries if entry.mask is not None]
    pictures = examine_files(root, [*(entry.file for entry in entries), *masks])
    refuse_wrong_masks(root, entries, pictures)
    contents = {file: picture.sha256 for file, picture in pictures.items()}
    reader = FolderReader(root, contents)
    declared = [path for path in (table, root / FACTORS_FILE) if path.exists()]
    extra = {path.name: hashlib.sha256(read_content(path)).hexdigest() for path in declared}
    factors = read_factors(root) if video else None
    return Source(root, entries, pictures, stated, digest_of(contents | extra), reader, reader.mask, video, factors)


def _with_factors(splits: Splits, source: Source, factors: Factors) -> tuple[Splits, Source]:
    """The splits with changed copies of their test normals, and a source that can read those."""
    extended, copies = with_copies(splits, factors)
    pictures = {**source.pictures, **{copy: source.pictures[file] for copy, (file, _, _) in copies.items()}}
    assert isinstance(source.read, FolderReader), "only frame folders declare factors"
    return extended, replace(source, pictures=pictures, read=FactorReader(source.read, copies, factors.seed))


def _with_synthetic(splits: Splits, source: Source, seed: int) -> tuple[Splits, Source]:
    """The same where there are no anomalies, or too few: synthetic ones."""
    extended, made = with_synthetic(splits, frames=source.video)
    pictures = {**source.pictures, **{copy: source.pictures[one.file] for copy, one in made.items()}}
    reader = SyntheticReader(source.read, made, seed, source.read_mask)
    return extended, replace(source, pictures=pictures, read=reader, read_mask=reader.mask)


def _test_part(source: Source) -> Source:
    return replace(source, entries=tuple(entry for entry in source.entries if entry.part == "test"))


def stated_groups(source: Source, pattern: str | None) -> dict[str, str] | None:
    """Groups that somebody named, in the data set or by a pattern; None where content has to tell.

    Raises:
        UsageError, InputRejected: as `groups_by_pattern`.
    """
    if source.stated is not None:
        stated: Mapping[str, str] = source.stated
    elif pattern is not None:
        stated = groups_by_pattern(pattern, source.entries)
    else:
        return None
    return merge_same_content(stated, source.entries, source.pictures)


def _split_groups(source: Source, groups: Mapping[str, str] | None, seed: int) -> Splits:
    entries = source.entries
    advice = "put all pictures of one part on the same side"
    if groups is None:
        groups = groups_by_content(entries, source.pictures)
        advice = "their pictures are near copies; keep one side, or say in groups.csv that they show different parts"
    if source.video or not has_anomalies(entries):
        refuse_few_normals(entries, groups)
        entries = borrow_test_normals(entries, groups, seed)
    refuse_leaks(entries, groups, advice)
    return split_by_group(entries, groups, seed)


def _refuse_same_content(source: Source) -> None:
    train = {source.pictures[entry.file].sha256: entry.file for entry in source.entries if entry.part == "train"}
    both = [
        f"{train[source.pictures[entry.file].sha256]} = {entry.file}"
        for entry in source.entries
        if entry.part == "test" and source.pictures[entry.file].sha256 in train
    ]
    if both:
        raise InputRejected(
            f"{source.root}: the same content is in train and in test: {named(both)}; "
            f"a detector must not be judged on what it was trained on"
        )


def _only_confirmation(samples: tuple[Sample, ...]) -> Splits:
    return {name: samples if name == "confirmation" else () for name in SPLITS}


def _dataset(source: Source, splits: Splits, *, video: bool) -> Dataset:
    sizes = {file: picture.size for file, picture in source.pictures.items()}
    return Dataset(str(source.root), source.digest, splits, source.read, video=video, upright=source.video, sizes=sizes,
                   read_mask=source.read_mask)  # fmt: skip

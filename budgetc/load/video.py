"""Splits of frame folders: contiguous stretches of time with a gap between them."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from budgetc.core.dataset import SPLITS, Sample, SplitName
from budgetc.errors import InputRejected
from budgetc.load.listing import Entry, is_good
from budgetc.load.splits import BORROWED_SHARE, CALIBRATION_SHARE, SELECTION_SHARE, Splits

BLOCK = 10
"""Frames of a block: the group that intervals are clustered by. One block between two splits is in neither."""
_TRAINING: dict[SplitName, float] = {"train": 1 - CALIBRATION_SHARE, "calibration": CALIBRATION_SHARE}
_TESTING: dict[SplitName, float] = {"selection": SELECTION_SHARE, "confirmation": 1 - SELECTION_SHARE}


def split_video(entries: Sequence[Entry]) -> Splits:
    """Each scene cut along its time: train | calibration, or selection | confirmation, or all four.

    All four where the test part has no normals: then its normals are the last 30 % of every scene
    in train. Frames in a gap are in no split. Nothing here is random.

    Raises:
        InputRejected: no scene of train is long enough to be cut.
    """
    borrow = not any(entry.part == "test" and is_good(entry) for entry in entries)
    splits: dict[SplitName, list[Sample]] = {name: [] for name in SPLITS}
    for scene in scenes(entries):
        shares = _TESTING if scene[0].part == "test" else _training_shares(borrow)
        for name, blocks in _cut(block_samples(scene), shares).items():
            splits[name] += [sample for block in blocks for sample in block]
    if not splits["calibration"]:
        needed = BLOCK * (2 * len(_training_shares(borrow)) - 1)
        longest = max(len(scene) for scene in scenes(entries) if scene[0].part == "train")
        raise InputRejected(
            f"the longest scene in train has {longest} frames; at least {needed} are needed to cut it into splits "
            f"with gaps; add frames, or say by `group` that each clip is a group"
        )
    return {name: tuple(samples) for name, samples in splits.items()}


def scenes(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The entries of each folder, in the order they stand in."""
    folders: dict[str, list[Entry]] = {}
    for entry in entries:
        folders.setdefault(str(PurePosixPath(entry.file).parent), []).append(entry)
    return list(folders.values())


def block_samples(scene: Sequence[Entry]) -> list[list[Sample]]:
    """A scene in blocks of ten frames, each a group; a shorter rest belongs to the last block."""
    folder = PurePosixPath(scene[0].file).parent
    count = max(1, len(scene) // BLOCK)
    stops = [*(BLOCK * number for number in range(1, count)), len(scene)]
    starts = [0, *stops[:-1]]
    return [
        [entry.sample(f"{folder}#{number:04d}") for entry in scene[start:stop]]
        for number, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def _training_shares(borrow: bool) -> dict[SplitName, float]:
    if not borrow:
        return _TRAINING
    kept = {name: share * (1 - BORROWED_SHARE) for name, share in _TRAINING.items()}
    return kept | {name: share * BORROWED_SHARE for name, share in _TESTING.items()}


def _cut(blocks: list[list[Sample]], shares: dict[SplitName, float]) -> dict[SplitName, list[list[Sample]]]:
    """Stretches in the order of `shares`, one block of gap between two; a short scene goes whole to the largest."""
    usable = len(blocks) - (len(shares) - 1)
    if usable < len(shares):
        return {max(shares, key=lambda name: shares[name]): blocks}
    stretches: dict[SplitName, list[list[Sample]]] = {}
    start = 0
    for name, length in zip(shares, _lengths(usable, list(shares.values())), strict=True):
        stretches[name] = blocks[start : start + length]
        start += length + 1
    return stretches


def _lengths(total: int, shares: list[float]) -> list[int]:
    """Whole numbers, each at least 1, that add up to `total` and are nearest to the shares (largest remainder)."""
    exact = [share * total for share in shares]
    lengths = [max(1, int(value)) for value in exact]
    while sum(lengths) != total:
        step = 1 if sum(lengths) < total else -1
        movable = [i for i in range(len(shares)) if step > 0 or lengths[i] > 1]
        lengths[max(movable, key=lambda i: step * (exact[i] - lengths[i]))] += step
    return lengths

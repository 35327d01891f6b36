"""Label-light data: normals with no anomalies, or too few to judge by. Held-out normals get synthetic ones.

Each copy stays in the group and split of the normal that it is made of, so selection and confirmation see other
draws in other parts, and training and calibration see none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from budgetc.core.dataset import GOOD, MaskReader, Sample, SplitName, no_masks
from budgetc.errors import InputRejected
from budgetc.load.factors import FACTORS, ORDERS, FactorName, changed
from budgetc.load.listing import Entry, Pictures, is_good
from budgetc.load.splits import BORROWED_SHARE, Splits
from budgetc.load.synthetic import DRAWINGS, SyntheticKind, damaged
from budgetc.runtime.preprocess import resize_rgb

WANTED = 200
"""Synthetic anomalies of a split: each normal gets every kind where there are few, and one where there are many."""
DRAWS = 4
"""Most drawings of one kind in one normal."""
SEVERITIES = (0.2, 0.5)
"""Of factors: one that is seen, one that is plain."""
FEWEST_GROUPS = round(1.5 / BORROWED_SHARE)
"""Of normals without a test part: of fewer, 30 % are not two groups for selection and confirmation."""
_OF_FRAMES = tuple(factor for factor in FACTORS if factor not in ORDERS)
"""What a single frame shows: copies under the others would be normals to all that does not read motion."""
_JUDGED: tuple[SplitName, ...] = ("selection", "confirmation")


@dataclass(frozen=True, slots=True)
class Made:
    """How a copy is made."""

    file: str
    """Of the normal."""
    kind: SyntheticKind | FactorName
    strength: float
    """Severity of a factor; of a drawing, which has its own, the number of the draw."""


@dataclass(frozen=True)
class SyntheticReader:
    """Reads pictures and their damaged copies; a module-level class, so that worker processes can be handed one."""

    pictures: Pictures
    made: Mapping[str, Made]
    """File of a copy -> how it is made."""
    seed: int
    masks: MaskReader = no_masks
    """Of pictures as they were taken."""

    def __call__(self, sample: Sample, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(3, height, width); a copy is damaged at the picture's own size and resized then.

        Raises:
            InputRejected: as the reader of the pictures.
        """
        return resize_rgb(self.picture(sample.file), *size)

    def picture(self, file: str) -> Image.Image:
        """A picture or a copy at the picture's own size.

        Raises:
            InputRejected: as the reader of the pictures.
        """
        return Image.fromarray(self._made(file)[0]) if file in self.made else self.pictures.picture(file)

    def mask(self, sample: Sample) -> NDArray[np.bool_]:
        """(height, width) of a sample with a mask: exactly where a copy was drawn into."""
        return self._made(sample.file)[1] if sample.file in self.made else self.masks(sample)

    def _made(self, copy: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        made = self.made[copy]
        pixels, seed = np.asarray(self.pictures.picture(made.file)), f"{self.seed}/{made.file}"
        if made.kind in DRAWINGS:
            return damaged(pixels, made.kind, seed=f"{seed}/{made.strength:g}")  # type: ignore[arg-type]
        whole = np.ones(pixels.shape[:2], bool)
        return changed(pixels, made.kind, made.strength, seed=seed), whole  # type: ignore[arg-type]


def lacks_anomalies(splits: Splits) -> bool:
    """Whether selection or confirmation has none: then neither can be judged by real ones."""
    return any(all(sample.defect == GOOD for sample in splits[name]) for name in _JUDGED)


def has_anomalies(entries: Sequence[Entry]) -> bool:
    """Whether the test part shows any."""
    return any(entry.part == "test" and not is_good(entry) for entry in entries)


def refuse_few_normals(entries: Sequence[Entry], groups: Mapping[str, str]) -> None:
    """Normals without any test part can be cut into four splits.

    Raises:
        InputRejected: there are fewer than five groups of them.
    """
    found = {groups[entry.file] for entry in entries}
    if not any(entry.part == "test" for entry in entries) and len(found) < FEWEST_GROUPS:
        raise InputRejected(
            f"normals of {len(found)} groups (parts), and no test part: at least {FEWEST_GROUPS} are needed to train, "
            f"calibrate and hold some out for synthetic anomalies; photograph normals of other parts"
        )


def with_synthetic(splits: Splits, *, frames: bool) -> tuple[Splits, dict[str, Made]]:
    """Held-out normals followed by synthetic anomalies made of them; real ones that are there stay.

    Args:
        splits: of the data; train and calibration stay as they are.
        frames: of a camera: whole-frame factors are drawn instead of local damage, the same ones in all frames of a
            group, so that what reads motion finds successive frames.
    """
    kinds: Iterable[SyntheticKind | FactorName] = _OF_FRAMES if frames else DRAWINGS
    variants = [(kind, strength) for strength in (SEVERITIES if frames else range(DRAWS)) for kind in kinds]
    made: dict[str, Made] = {}
    extended = dict(splits)
    for split in _JUDGED:
        normals = [sample for sample in splits[split] if sample.defect == GOOD]
        each = min(len(variants), -(-WANTED // len(normals))) if normals else 0
        copies, groups = [], list(dict.fromkeys(sample.group for sample in normals))
        for number, sample in enumerate(normals):
            first = each * (groups.index(sample.group) if frames else number)
            for kind, strength in (variants[(first + step) % len(variants)] for step in range(each)):
                file = f"{sample.file}#{kind}={strength:g}"
                made[file] = Made(sample.file, kind, strength)
                copies.append(Sample(file, sample.group, sample.category, kind, None if frames else file, True))
        extended[split] = (*splits[split], *copies)
    return extended, made

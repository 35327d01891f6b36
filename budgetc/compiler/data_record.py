"""What `budgetc data check` found, as types: these models are its JSON."""

from typing import Literal

from budgetc.core.frozen import Frozen
from budgetc.core.quality import Control

Kind = Literal[
    "missing", "damaged", "copies", "same part", "groups", "exposure", "sharpness", "flat", "clipped", "sizes",
    "modes", "shortcut", "coverage",
]  # fmt: skip
Trend = Literal["still improves", "flat", "not clear", "too few to tell", "not seen"]


class Finding(Frozen):
    """Something a person should look at."""

    kind: Kind
    text: str
    files: tuple[str, ...] = ()
    """All pictures that it is about, the worst first."""


class GroupSizes(Frozen):
    """How pictures are spread over groups: photographs of one part, frames of one block."""

    source: str
    """Where groups are known from."""
    count: int
    smallest: int
    median: float
    largest: int


class Stock(Frozen):
    """How many pictures of one kind there are."""

    part: Literal["train", "test"]
    category: str
    defect: str
    """Defect type; `good` for normals."""
    pictures: int
    groups: int


class CurvePoint(Frozen):
    """What a plain memory of patches reaches with so many normals."""

    normals: int
    value: float
    """Mean over the draws."""
    lowest: float
    highest: float
    draws: int


class Curve(Frozen):
    """Whether more normals of a category would help, judged by a plain memory of patches instead of a detector."""

    category: str
    metric: Literal["auroc", "score of unseen normals"]
    """AUROC on the selection split; without anomalies, the 95th percentile of the scores of unseen normals."""
    points: tuple[CurvePoint, ...]
    per_doubling: float | None
    """Gain of AUROC, or relative fall of the score, over the last doubling."""
    trend: Trend


class Floor(Frozen):
    """Independent parts of each class that the confirmation split needs to certify a floor on AUROC."""

    floor: float
    truth: float
    """AUROC that the detector really has."""
    needed: int
    """Good, and as many bad."""
    good: int
    bad: int
    """Groups that the confirmation split has."""


class DataCheck(Frozen):
    """A data set, looked over before a detector is trained on it."""

    schema_version: Literal[1] = 1
    data: str
    data_sha256: str
    accepted: bool
    """Whether budgetc compiles with it."""
    refusal: str | None
    """Why not."""
    missing: tuple[str, ...]
    """What must be added before it does."""
    stock: tuple[Stock, ...]
    groups: GroupSizes
    splits: dict[str, dict[str, int]]
    """Split -> good, bad, groups; empty where the data is refused."""
    findings: tuple[Finding, ...]
    controls: tuple[Control, ...]
    """What size and four statistics tell on the selection split."""
    curves: tuple[Curve, ...]
    floors: tuple[Floor, ...]
    label_light: tuple[str, ...] = ()
    """What data without real anomalies can and cannot show; empty where they are real."""
    photograph: tuple[str, ...]
    """What to photograph next, most useful first."""

"""A picture on the page of a report: what a detector said of it, and the pixels themselves."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["missed", "false alarm", "worst", "best", "nearest normal"]


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture of the confirmation split. Pixels are `data:` URIs, so that the page needs no other file."""

    kind: Kind
    """`worst`: the anomalies found most narrowly, `best`: most surely, `nearest normal`: no alarm, but nearly."""
    file: str
    category: str
    defect: str
    scores: tuple[float, float]
    """Of baseline and artifact."""
    picture: str
    """The defect outlined where there is a mask."""
    maps: tuple[str, str] | None
    """Baseline's and artifact's map over the picture; None for a detector without one."""

"""What is kept of a measurement on a board beside its figures: the board's own words, and every raw sample."""

from pathlib import Path
from typing import Any

from budgetc.core.frozen import Frozen
from budgetc.errors import InputRejected
from budgetc.measurement.board.parts import Part, SampleAfter, SoakPart
from budgetc.measurement.board.results import Results
from budgetc.runtime.artifact import load_artifact


class Parity(Frozen):
    """Scores on the board beside those of this machine, of the same file and images."""

    n: int
    largest_difference: float
    other_decisions: int
    """Images on the other side of the threshold."""


class BoardRecord(Frozen):
    """Provenance of figures that were measured on a board."""

    where: str
    """Its address, or the file that was brought from it."""
    facts: dict[str, Any]
    """What the board says of itself: model, processor, power mode, governors, Python ..."""
    versions: dict[str, str]
    """Of onnxruntime, numpy and Pillow there, and of OpenCV where motion was scored."""
    load: int
    """Busy processes that ran beside."""
    throttled_by: tuple[str, ...]
    """What slowed it down while it was measured; empty: nothing, or the board does not say."""
    samples: tuple[SampleAfter, ...]
    """Clocks, temperatures, throttling and load around each part."""
    raw: tuple[Part, ...]
    """Every call's time, every process's memory, every score."""
    parity: Parity | None
    soak_drift: float | None
    """Change of the median latency from the first ten seconds of a soak to its slowest ten; None without one."""


def record(results: Results, where: str, directory: Path, images: list[Path]) -> BoardRecord:
    """Keep everything; `directory` and `images` are what was measured, to be scored here for comparison.

    Raises:
        InputRejected: as `parity`.
    """
    soaks = [part.drift for part in results.done if isinstance(part, SoakPart)]
    return BoardRecord(
        where=where, facts=results.board, versions=results.versions, load=results.load,
        throttled_by=results.throttled(), samples=results.samples, raw=results.done,
        parity=parity(results.scores("artifact"), directory, images), soak_drift=max(soaks, default=None),
    )  # fmt: skip


def parity(scores: tuple[float | None, ...], directory: Path, images: list[Path]) -> Parity | None:
    """The scores of a board beside this machine's; None where the board scored nothing.

    Frames of motion that have no score are not compared.

    Raises:
        InputRejected: the file does not load here, or the board has scores of other images.
    """
    if not scores:
        return None
    artifact = load_artifact(directory, cache=False)
    found = [artifact.score(image) for image in images]
    if [there is None for there in scores] != [one.missing > 0 for one in found]:
        raise InputRejected(
            f"the board scored {len(scores)} of {len(images)} images, or other ones than here; measure again there"
        )
    threshold = artifact.spec.threshold
    pairs = [(there, one.score) for there, one in zip(scores, found, strict=True) if there is not None]
    return None if not pairs else Parity(
        n=len(pairs),
        largest_difference=max(abs(there - one) for there, one in pairs),
        other_decisions=sum((there > threshold) != (one > threshold) for there, one in pairs),
    )  # fmt: skip

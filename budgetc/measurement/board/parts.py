"""Parts of a `results.json` as numbers that can be believed: what is missing or impossible is refused."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from budgetc.core.frozen import Frozen
from budgetc.measurement.pairs import Block, Pair, Subject

Finite = Annotated[float, Field(allow_inf_nan=False)]
Milliseconds = Annotated[float, Field(gt=0, lt=1e9, allow_inf_nan=False)]
Bytes = Annotated[float, Field(gt=0, lt=1e15, allow_inf_nan=False)]
_ROUNDING = 1e-6


class Times(Frozen):
    """Milliseconds of each call by stage."""

    decode_ms: tuple[Milliseconds, ...]
    graph_ms: tuple[Milliseconds, ...]
    post_ms: tuple[Annotated[float, Field(ge=0, lt=1e9, allow_inf_nan=False)], ...]
    total_ms: Annotated[tuple[Milliseconds, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        stages = (self.decode_ms, self.graph_ms, self.post_ms)
        if any(len(stage) != len(self.total_ms) for stage in stages):
            raise ValueError("decode_ms, graph_ms, post_ms and total_ms are not of equally many calls")
        for total, *parts in zip(self.total_ms, *stages, strict=True):
            if sum(parts) > total * (1 + _ROUNDING):
                raise ValueError(f"total_ms {total:g} is less than its stages' sum {sum(parts):g}")
        return self

    def plain(self) -> dict[str, list[float]]:
        """By stage."""
        return {name: list(getattr(self, name)) for name in type(self).model_fields}


class Memory(Frozen):
    """Of one process."""

    base: Bytes
    load: Bytes
    run: Bytes
    load_ms: Milliseconds

    @model_validator(mode="after")
    def _grown(self) -> Self:
        if max(self.load, self.run) < self.base:
            raise ValueError("load and run are less than base: the process was swapped out, or the file was changed")
        return self


class Sample(Frozen):
    """State of a board at one moment; what a board does not say is missing."""

    clocks_mhz: dict[str, Finite] = {}
    temperatures_c: dict[str, Finite] = {}
    throttled_by: tuple[str, ...] = ()
    load_average: tuple[Finite, ...] = ()
    available_bytes: Annotated[int, Field(ge=0)] = 0


class SampleAfter(Sample):
    """State after a part."""

    after: str


class SoakRow(Sample):
    """Some seconds of a soak."""

    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    n: Annotated[int, Field(ge=1)]
    p50_ms: Milliseconds
    p95_ms: Milliseconds


class TimedBlock(Frozen):
    """Calls of one process of a pair."""

    subject: Subject
    times: Times


class ScoresPart(Frozen):
    """Scores of all images."""

    do: Literal["scores"]
    subject: str
    scores: tuple[Finite | None, ...]
    """None of the first frames of a clip, where motion is scored."""


class MemoryPart(Frozen):
    """Fresh processes."""

    do: Literal["memory"]
    subject: str
    processes: Annotated[tuple[Memory, ...], Field(min_length=1)]


class ScreenPart(Frozen):
    """One process after a short warm-up."""

    do: Literal["screen"]
    subject: str
    times: Times
    settled: bool


class PairPart(Frozen):
    """Artifact and baseline in alternating blocks."""

    do: Literal["pair"]
    subject: str
    baseline: str
    blocks: Annotated[tuple[TimedBlock, ...], Field(min_length=2)]
    settled: bool

    @model_validator(mode="after")
    def _both(self) -> Self:
        if {one.subject for one in self.blocks} != {"artifact", "baseline"}:
            raise ValueError("blocks are of one subject only")
        return self

    def pair(self) -> Pair:
        """As this machine times them."""
        return Pair(tuple(Block(one.subject, one.times.plain()) for one in self.blocks), self.settled)


class SoakPart(Frozen):
    """Minutes of scoring; a row every ten seconds."""

    do: Literal["soak"]
    subject: str
    rows: Annotated[tuple[SoakRow, ...], Field(min_length=1)]

    @property
    def drift(self) -> float:
        """Change of the median from the first row to the slowest: 0.1 is ten percent slower."""
        medians = [row.p50_ms for row in self.rows]
        return max(medians) / medians[0] - 1


Part = Annotated[ScoresPart | MemoryPart | ScreenPart | PairPart | SoakPart, Field(discriminator="do")]

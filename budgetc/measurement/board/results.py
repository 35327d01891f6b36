"""What came back from a board: checked, and turned into measurements."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from budgetc import errors
from budgetc.core.frozen import Frozen
from budgetc.core.layout import MODEL
from budgetc.core.measurement import Measurement
from budgetc.measurement.board.parts import (
    MemoryPart,
    Part,
    Sample,
    SampleAfter,
    ScoresPart,
    ScreenPart,
    SoakPart,
)
from budgetc.measurement.latency import percentiles
from budgetc.measurement.memory import memory_measurement, memory_parts

Fact = str | int | tuple[str, ...]
MAX_BYTES = 256 * 2**20


class Failure(Frozen):
    """Why a board could not do all of a job."""

    kind: Literal["UsageError", "InputRejected", "TargetUnreachable", "Locked"]
    message: str


class Results(Frozen):
    """`results.json`."""

    schema_version: Literal[1]
    id: str
    files: dict[str, str]
    """Name in the job -> sha256, found to be so on the board."""
    load: Annotated[int, Field(ge=0)]
    """Busy processes that ran beside."""
    error: Failure | None
    board: dict[str, Fact]
    """What the board says of itself: model, processor, power mode, Python ..."""
    versions: dict[str, str]
    """Of onnxruntime, numpy and Pillow on the board, and of OpenCV where motion was scored."""
    samples: tuple[SampleAfter, ...]
    """Clocks, temperatures, throttling and load before and after each part."""
    done: tuple[Part, ...]

    @model_validator(mode="after")
    def _every_image(self) -> Self:
        images = sum(name.startswith("images/") for name in self.files)
        for part in self.done:
            if isinstance(part, ScoresPart) and len(part.scores) != images:
                raise ValueError(f"scores of {part.subject} are {len(part.scores)}, and its images are {images}")
        return self

    def check(self, where: str) -> None:
        """Raise what the board could not do, as the error it is here."""
        if self.error is not None:
            raise getattr(errors, self.error.kind)(f"{where}: {self.error.message}")

    @property
    def runtime(self) -> str:
        """`onnxruntime 1.16.3`."""
        return runtime_words(self.versions)

    def throttled(self) -> tuple[str, ...]:
        """What slowed the board down while it was measured."""
        seen = {one for sample in (*self.samples, *self._soaked()) for one in sample.throttled_by}
        return tuple(sorted(seen))

    def _soaked(self) -> Iterator[Sample]:
        for part in self.done:
            if isinstance(part, SoakPart):
                yield from part.rows

    def device(self, where: str, threads: int) -> str:
        """`board ssh://nano@10.0.0.7: NVIDIA Jetson Nano, MAXN, 4 threads`: what its measurements ran on."""
        return device_words(self.board, where, threads) + (f", busy processes beside: {self.load}" if self.load else "")

    def notes(self, *more: str) -> str:
        """What a reader must know of every figure."""
        slowed = self.throttled()
        return "; ".join(filter(None, [*more, f"throttled by {', '.join(slowed)}" if slowed else ""]))

    def model_of(self, subject: str) -> str:
        """sha256 of a subject's graph."""
        return self.files.get(f"{subject}/{MODEL}", "")

    def memory(self, subject: str, device: str) -> dict[str, Measurement]:
        """By metric; empty where it was not asked for."""
        found = [part for part in self.done if isinstance(part, MemoryPart) and part.subject == subject]
        seen: dict[str, list[float]] = {}
        for one in (process for part in found for process in part.processes):
            for name, value in memory_parts(one.model_dump()).items():
                seen.setdefault(name, []).append(value)
        return {name: memory_measurement(name, values, device, self.runtime) for name, values in seen.items()}

    def screened(self, subject: str, device: str) -> dict[str, Measurement]:
        """By metric; empty where it was not asked for."""
        parts = [part for part in self.done if isinstance(part, ScreenPart) and part.subject == subject]
        if not parts:
            return {}
        unsettled = "" if all(part.settled for part in parts) else "the warm-up did not settle"
        note = self.notes("screened: one process", unsettled)
        return percentiles([part.times.plain() for part in parts], device, note, ran_in=self.runtime)

    def scores(self, subject: str) -> tuple[float | None, ...]:
        """Of the job's images, in their order; empty where it was not asked for."""
        found = [part for part in self.done if isinstance(part, ScoresPart) and part.subject == subject]
        return found[0].scores if found else ()


def device_words(facts: Mapping[str, Any], where: str, threads: int) -> str:
    """Of a board's facts, what names it in a measurement."""
    words = [facts.get("model") or facts.get("cpu") or "unknown", facts.get("power_mode") or ""]
    words.append(f"{threads} thread{'' if threads == 1 else 's'}")
    return f"board {where}: " + ", ".join(str(word) for word in words if word)


def runtime_words(versions: Mapping[str, str]) -> str:
    """`onnxruntime 1.16.3`, or `tensorrt 8.2.1.8`."""
    name = "tensorrt" if "tensorrt" in versions else "onnxruntime"
    return f"{name} {versions.get(name, 'of unknown version')}"


def parse_results(data: bytes, where: str) -> Results:
    """Check the content of a `results.json`.

    Raises:
        InputRejected: it is no such file, or damaged.
    """
    try:
        return Results.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise errors.InputRejected(
            f"{where}: {place}: {first['msg']}; expected results.json as run_me.py of a kit writes it: copy it again, "
            "or run the kit again"
        ) from error


def read_results(path: Path) -> Results:
    """Read a `results.json` that somebody brought.

    Raises:
        InputRejected: it cannot be read, is no such file, or holds a failure.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise errors.InputRejected(f"{path}: is larger than any results.json; expected the file of a kit")
        data = path.read_bytes()
    except OSError as error:
        raise errors.InputRejected(
            f"{path}: cannot be read ({error.strerror}); expected results.json of a kit"
        ) from error
    found = parse_results(data, str(path))
    found.check(str(path))
    return found

"""Cost of one file on a real board: by ssh, or by a kit that somebody carries there."""

import hashlib
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from budgetc.compiler.measuring import CALLS, Cost, Subject, subject
from budgetc.core.layout import MODEL
from budgetc.errors import InputRejected, UsageError
from budgetc.measurement.board.address import parse_address
from budgetc.measurement.board.board import Board
from budgetc.measurement.board.job import Job
from budgetc.measurement.board.meter import memory_part, screen_part, soak_part, unlike
from budgetc.measurement.board.record import record
from budgetc.measurement.board.results import Results, read_results
from budgetc.measurement.board.sameness import check_same
from budgetc.measurement.size import measure_size
from budgetc.store.durable import write_durably

Say = Callable[[str], None]
_MAX_LOAD, _MAX_MINUTES = 64, 24 * 60


@dataclass(frozen=True, slots=True)
class Beside:
    """What a measurement runs beside, and how long it goes on."""

    load: int = 0
    """Busy processes."""
    soak_minutes: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.load <= _MAX_LOAD:
            raise UsageError(f"--with-load {self.load}: expected 0 to {_MAX_LOAD} busy processes")
        if not 0 <= self.soak_minutes <= _MAX_MINUTES:
            raise UsageError(f"--soak {self.soak_minutes:g}: expected 0 to {_MAX_MINUTES} minutes")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a file on a board."""

    file: Path
    target: str
    data: Path | None = None
    group: str | None = None
    beside: Beside = Beside()


def measure_on_board(question: Question, device: str, say: Say = lambda sentence: None) -> Cost:
    """Measure on the board at `ssh://user@host:port`.

    Raises:
        UsageError: no such address. ConfigError: unknown target. InputRejected: the file is no detector.
        TargetUnreachable: the board, or what it needs, is not there. Locked: it is busy.
    """
    address = parse_address(device)
    with _subject(question) as one:
        job = _job(question, one)
        board = Board(address, say, runtime=one.target.runtime, motion=job.moving)
        found = board.run(job)
        if warning := unlike(one.target, found.board):
            say(warning)
        return _cost(question, one, found, str(board.address))


def write_kit(question: Question, kit: Path) -> None:
    """Write a zip with everything that a board without a network needs.

    Raises:
        ConfigError, InputRejected, StorageFailed: as the names say.
    """
    with _subject(question) as one:
        write_durably(kit, _job(question, one).packed().data)


def measure_imported(question: Question, results: Path, say: Say = lambda sentence: None) -> Cost:
    """The cost that a `results.json` tells, which must be of this very file, target and data.

    Raises:
        InputRejected: it is of another file, or damaged.
    """
    found = read_results(results)
    with _subject(question) as one:
        _check_same(question, one, found, results)
        if warning := unlike(one.target, found.board):
            say(warning)
        return _cost(question, one, found, results.name)


def _subject(question: Question) -> AbstractContextManager[Subject]:
    return subject(question.file, target=question.target, data=question.data, group=question.group)


def _job(question: Question, one: Subject) -> Job:
    beside = question.beside
    parts = [{"do": "scores", "subject": "artifact"}, memory_part("artifact", 3), screen_part("artifact", CALLS)]
    if beside.soak_minutes:
        parts.append(soak_part("artifact", beside.soak_minutes))
    options = ["measure", str(question.file), "--target", question.target]
    options += ["--data", str(question.data)] if question.data is not None else []
    options += ["--group", question.group] if question.group is not None else []
    return Job(
        {"artifact": one.directory}, one.pictures, tuple(parts), one.target, load=beside.load,
        deadline_s=1800.0 + 90 * beside.soak_minutes, command=shlex.join(options),
    )  # fmt: skip


def _check_same(question: Question, one: Subject, found: Results, results: Path) -> None:
    model = hashlib.sha256((one.directory / MODEL).read_bytes()).hexdigest()
    if found.model_of("artifact") != model:
        raise InputRejected(
            f"{results}: is of a model {found.model_of('artifact')[:12] or '(none)'}, and {question.file} is "
            f"{model[:12]}: these are results of another file, or of one before it was compiled again; make a new kit"
        )
    expected = _job(question, one).packed().files
    check_same(expected, found.files, results, "give the same --target, --data and --group as to --kit")


def _cost(question: Question, one: Subject, found: Results, where: str) -> Cost:
    device = found.device(where, one.target.threads)
    measured = {**found.screened("artifact", device), **found.memory("artifact", device)}
    if not measured:
        raise InputRejected(
            f"{where}: holds no latency and no memory of {question.file}; make a kit with measure --kit"
        )
    return Cost(
        file=str(question.file), target=one.target.name, measurements=(measure_size(one.directory), *measured.values()),
        board=record(found, where, one.directory, one.pictures),
    )  # fmt: skip

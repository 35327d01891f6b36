"""A target's cost model fitted to one board: what `budgetc targets calibrate` does."""

import hashlib
import io
import math
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median, stdev

from ruamel.yaml import YAML

from budgetc.compiler.measuring import CALLS, Subject, subject
from budgetc.core.cost import CostModel, Factor, Rates, Span
from budgetc.core.frozen import Frozen
from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.errors import InputRejected, UsageError
from budgetc.load.config import LoadedTarget, load_target
from budgetc.measurement.board.address import parse_address
from budgetc.measurement.board.board import Board
from budgetc.measurement.board.job import Job
from budgetc.measurement.board.meter import memory_part, screen_part, unlike
from budgetc.measurement.board.results import Results, read_results
from budgetc.measurement.board.sameness import check_same
from budgetc.measurement.predicted import predict_files
from budgetc.runtime.spec import read_spec
from budgetc.store.durable import write_durably

Say = Callable[[str], None]
FEW = 3
"""Files from which on their scatter says something."""
UNKNOWN = 1.3
"""How far another file may be off, up or down, where fewer were measured."""
LEAST = 1.05
"""And at least: what a steady machine differs by from one hour to the next."""

_USED = ("latency_p50", "latency_p95", "latency_decode_p50", "base_memory")


class Compared(Frozen):
    """One file on the board beside its prediction, milliseconds; the graph with post-processing."""

    file: str
    graph_ms: float
    predicted_graph_ms: float
    preprocess_ms: float
    predicted_preprocess_ms: float
    p95_over_p50: float
    base_mib: float


class Calibration(Frozen):
    """What a board does to a target's cost model."""

    schema_version: int = 1
    target: str
    device: str
    runtime: str
    graph_scale: float
    """Measured over predicted, median over the files."""
    preprocess_scale: float
    doubt: Factor
    """On the graph's time, from the files' scatter."""
    files: tuple[Compared, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """Files to measure, and the target to fit."""

    target: str
    files: Sequence[Path]
    data: Path | None = None
    group: str | None = None


def calibrate_on_board(question: Question, device: str, out: Path, say: Say = lambda sentence: None) -> Calibration:
    """Measure the files on a board and write the fitted target to `out`.

    Raises:
        UsageError: no files, or a target without a cost model. InputRejected: a file is no detector.
        TargetUnreachable, Locked: as `Board.run`.
    """
    address = parse_address(device)
    with ExitStack() as opened:
        subjects = _subjects(question, opened)
        board = Board(address, say, runtime=load_target(question.target).target.runtime)
        return _write(
            question, subjects, board.run(_job(question, subjects)), where=str(board.address), out=out, say=say
        )


def calibrate_kit(question: Question, kit: Path) -> None:
    """Write a kit that measures the files.

    Raises:
        As `calibrate_on_board`.
    """
    with ExitStack() as opened:
        write_durably(kit, _job(question, _subjects(question, opened)).packed().data)


def calibrate_imported(question: Question, results: Path, out: Path, say: Say = lambda sentence: None) -> Calibration:
    """Fit to what a kit of the same files brought back.

    Raises:
        InputRejected: the results are damaged, or of other files.
    """
    found = read_results(results)
    with ExitStack() as opened:
        subjects = _subjects(question, opened)
        expected = _job(question, subjects).packed().files
        check_same(expected, found.files, results, "give the same target, files and --data as to --kit")
        return _write(question, subjects, found, where=results.name, out=out, say=say)


def compared(found: Results, name: str, one: Subject, file: str) -> Compared:
    """A file's figures beside the prediction.

    Raises:
        InputRejected: they are not in the results.
    """
    measured = {**found.screened(name, ""), **found.memory(name, "")}
    missing = [metric for metric in _USED if metric not in measured]
    if missing:
        raise InputRejected(
            f"the results hold no {', '.join(missing)} of {file}; run the kit again, or make a new one with "
            "targets calibrate --kit"
        )
    predicted = predict_files(one.directory, one.target)
    return Compared(
        file=file,
        graph_ms=measured["latency_p50"].value - measured["latency_decode_p50"].value,
        predicted_graph_ms=predicted.graph_ms,
        preprocess_ms=measured["latency_decode_p50"].value,
        predicted_preprocess_ms=predicted.latency_ms - predicted.graph_ms,
        p95_over_p50=measured["latency_p95"].value / measured["latency_p50"].value,
        base_mib=measured["base_memory"].value / 2**20,
    )


def doubt_of(ratios: Sequence[float]) -> Factor:
    """Where another file's ratio lies with 90 %, over the median: the t interval of a prediction, in logarithms."""
    from scipy.stats import t as student_t  # here, because it takes a second to load

    if len(ratios) < FEW:
        half, source = math.log(UNKNOWN), f"{len(ratios)} files tell no scatter: an assumption"
    else:
        n, spread = len(ratios), stdev([math.log(ratio) for ratio in ratios])
        half = float(student_t.ppf(0.95, n - 1)) * spread * math.sqrt(1 + 1 / n)
        source = f"scatter of {n} files measured on the board, t interval of 90 %"
    half = max(half, math.log(LEAST))
    return Factor(lower=math.exp(-half), upper=math.exp(half), source=source)


def fitted(cost: CostModel, found: Calibration) -> CostModel:
    """The cost model of one board: all times scaled, and the doubt about its runtime replaced by the scatter."""
    graph, before = found.graph_scale, found.preprocess_scale
    tails, bases = [one.p95_over_p50 for one in found.files], [one.base_mib for one in found.files]
    tail = median(tails)
    old = cost.p99_over_mean
    # One neighbor's burst during one file must not widen every prediction: the median, and the old upper edge.
    p95 = Span(value=tail, lower=min(1.0, tail), upper=max(tail, cost.p95_over_mean.upper))
    return cost.model_copy(
        update={
            "describes": f"{found.runtime} on {found.device}; shape of the model: {cost.describes}",
            "confidence": "medium",
            "sources": (*cost.sources, f"scale: {len(found.files)} files measured on {found.device}"),
            "launch_us": _times(cost.launch_us, graph),
            "fixed_ms": _times(cost.fixed_ms, graph),
            "preprocess_ms": _times(cost.preprocess_ms, before),
            "preprocess_ms_per_megapixel": _times(cost.preprocess_ms_per_megapixel, before),
            "rates": {name: _slower(rates, graph) for name, rates in cost.in_artifact().rates.items()},
            "artifact_rates": {},
            "runtime_doubt": found.doubt,
            "p95_over_mean": p95,
            "p99_over_mean": Span(**{edge: max(getattr(p95, edge), getattr(old, edge)) for edge in Span.model_fields}),
            "memory": cost.memory.model_copy(
                update={"base_mib": Span(value=median(bases), lower=min(bases), upper=max(bases)),
                        "source": f"base measured on {found.device}; the rest: {cost.memory.source}"}
            ),
        }
    )  # fmt: skip


def _times(span: Span, factor: float) -> Span:
    return Span(**{edge: _rounded(value * factor) for edge, value in span.model_dump().items()})


def _slower(rates: Rates, factor: float) -> Rates:
    plain = rates.model_dump(exclude={"speedup"})
    divided = {term: None if value is None else _rounded(value / factor) for term, value in plain.items()}
    return Rates(**divided, speedup=rates.speedup)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _subjects(question: Question, opened: ExitStack) -> dict[str, Subject]:
    if not question.files:
        raise UsageError("no files to measure; give artifacts or bundles, three or more of different size")
    target = load_target(question.target).target
    if target.cost is None:
        raise UsageError(f"target {target.name} has no cost model that could be fitted; choose one that has")
    subjects = {
        f"file{number}": opened.enter_context(
            subject(file, target=question.target, data=question.data, group=question.group)
        )
        for number, file in enumerate(question.files)
    }
    known: dict[str, Path] = {}
    for one, file in zip(subjects.values(), question.files, strict=True):
        if read_spec(one.directory / ARTIFACT).flow is not None:
            raise UsageError(
                f"{file}: reads motion, and how long optical flow takes tells nothing about how fast a board decodes "
                "and computes; give detectors that read single pictures"
            )
        digest = hashlib.sha256((one.directory / MODEL).read_bytes()).hexdigest()
        if digest in known:
            raise UsageError(
                f"{file} has the graph of {known[digest]}, and one graph twice tells no scatter; give files that differ"
            )
        known[digest] = file
    return subjects


def _job(question: Question, subjects: Mapping[str, Subject]) -> Job:
    parts = [part for name in subjects for part in (screen_part(name, CALLS), memory_part(name, 1))]
    command = ["targets", "calibrate", question.target, *map(str, question.files), "-o", "TARGET.yaml"]
    command += ["--data", str(question.data)] if question.data is not None else []
    command += ["--group", question.group] if question.group is not None else []
    first = next(iter(subjects.values()))
    return Job(
        {name: one.directory for name, one in subjects.items()}, first.pictures, tuple(parts),
        first.target, deadline_s=4 * 3600.0,
        command=shlex.join(command),
    )  # fmt: skip


def _write(
    question: Question, subjects: Mapping[str, Subject], found: Results, *, where: str, out: Path, say: Say
) -> Calibration:
    loaded = load_target(question.target)
    if found.load:
        raise InputRejected(f"{where}: measured beside {found.load} busy processes; calibrate on a board at rest")
    if found.throttled():
        raise InputRejected(
            f"{where}: the board was throttled by {', '.join(found.throttled())} meanwhile; cool it, or give it "
            "better power, and measure again"
        )
    rows = [
        compared(found, name, one, str(file))
        for (name, one), file in zip(subjects.items(), question.files, strict=True)
    ]
    ratios = [one.graph_ms / one.predicted_graph_ms for one in rows]
    if warning := unlike(loaded.target, found.board):
        say(warning)
    result = Calibration(
        target=loaded.target.name, device=found.device(where, loaded.target.threads), runtime=found.runtime,
        graph_scale=median(ratios), doubt=doubt_of(ratios), files=tuple(rows),
        preprocess_scale=median(one.preprocess_ms / one.predicted_preprocess_ms for one in rows),
    )  # fmt: skip
    write_durably(out, target_text(loaded, result, out.stem).encode())
    return result


def target_text(loaded: LoadedTarget, found: Calibration, name: str) -> str:
    """The target's file under another name, its comments kept, with the fitted cost model.

    Raises:
        ConfigError: it would not be a valid target.
    """
    assert loaded.target.cost is not None
    yaml = YAML()
    yaml.width = 120
    data = yaml.load(loaded.path.read_text(encoding="utf-8"))
    data["name"] = name
    data["description"] = f"{loaded.target.description}; calibrated on {found.device}"
    data["cost"] = fitted(loaded.target.cost, found).model_dump(mode="json", exclude_none=True)
    buffer = io.StringIO()
    yaml.dump(data, buffer)
    with tempfile.TemporaryDirectory() as scratch:  # what is written must be read again
        check = Path(scratch) / f"{name}.yaml"
        check.write_text(buffer.getvalue(), encoding="utf-8")
        load_target(check)
    return buffer.getvalue()

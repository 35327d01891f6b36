"""The artifact and its report, whole and by rename; and what a stopped run leaves behind."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from budgetc.candidate import Workshop, Written, score_split
from budgetc.compiler.choosing import standard_error
from budgetc.compiler.confirming import Confirmed
from budgetc.compiler.controlling import control_warnings
from budgetc.compiler.environment import environment
from budgetc.compiler.exhibits import collect
from budgetc.compiler.inputs import Inputs
from budgetc.compiler.label_light import proxy_warnings
from budgetc.compiler.searching import Search
from budgetc.core.budget import Budget
from budgetc.core.dataset import Dataset
from budgetc.core.layout import ARTIFACT, DEVICE_CONFIG, DEVICE_ENGINE, DEVICE_FLOW, DEVICE_SCRIPT, MODEL
from budgetc.core.plan import fingerprint
from budgetc.core.target import Target
from budgetc.load.datasets import describe
from budgetc.measurement.board.job import device_config
from budgetc.measurement.quality import by_category, quality_of
from budgetc.measurement.size import deployed_bytes, measure_size
from budgetc.report.emit import write_report
from budgetc.report.evidence import auroc_kind
from budgetc.report.schema import BoardRecord, CandidateRecord, Comparison, Report, Subject
from budgetc.report.words import described
from budgetc.runtime import device_engine, device_flow, device_score
from budgetc.runtime.spec import read_spec
from budgetc.search.finalists import near_ties
from budgetc.search.space import compliant
from budgetc.store.output import atomic_directory


def emit(
    inputs: Inputs, search: Search, baseline: Written, confirmed: Confirmed | None,
    *, out: Path, seconds: float, board: BoardRecord | None = None,
) -> Report:  # fmt: skip
    """Write OUT: the artifact where one was built, and the report in any case."""
    report, shows = _report(inputs, search, baseline, confirmed, out=out, seconds=seconds, complete=True), None
    report = report.model_copy(update={"board": board})
    if confirmed is not None:
        shows = collect(search, confirmed, baseline)
        report = report.model_copy(update={"exhibits": shows.exhibits})
    with atomic_directory(out) as directory:
        if confirmed is not None:
            _copy_artifact(confirmed.written.directory, directory, inputs.target)
        outputs = {name: _sha256(directory / name) for name in _files(directory)}
        pictures = shows.pictures if shows is not None else ()
        return write_report(report.model_copy(update={"outputs": outputs}), directory, pictures)


def partial(inputs: Inputs, search: Search, baseline: Written, *, run: Path, out: Path, seconds: float) -> None:
    """Write the report of a run that was stopped into its run directory: never compliant."""
    write_report(_report(inputs, search, baseline, None, out=out, seconds=seconds, complete=False), run)


def _report(
    inputs: Inputs, search: Search, baseline: Written, confirmed: Confirmed | None,
    *, out: Path, seconds: float, complete: bool,
) -> Report:  # fmt: skip
    chosen = confirmed.id if confirmed else None
    controls = confirmed.controls if confirmed else search.controls
    uses = search.shop.store.uses(split_digest(inputs.dataset), inputs.digest)
    return Report(
        complete=complete,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=inputs.command(out),
        inputs=dict(inputs.digests),
        outputs={},
        environment=environment(),
        budget_name=inputs.budget_path.stem,
        budget=inputs.budget,
        target=inputs.target,
        detector=inputs.detector.family,
        verdict=confirmed.verdict if confirmed else None,
        chosen=chosen,
        why=_why(search, confirmed),
        baseline=confirmed.baseline if confirmed else _screened_baseline(search, baseline, measure=complete),
        artifact=confirmed.artifact if confirmed else None,
        comparison=confirmed.comparison if confirmed else None,
        search=search.summary(_near(search, chosen)),
        sessions=search.sessions,
        seeds=confirmed.seeds if confirmed else (),
        candidates=_candidates(search),
        confirmation_uses=uses,
        splits=describe(inputs.dataset),
        controls=controls,
        warnings=(
            *proxy_warnings(inputs.dataset),
            *control_warnings(controls),
            *category_warnings(inputs.budget, confirmed.comparison if confirmed else None),
            *use_warnings(uses),
            *seed_warnings(len(confirmed.seeds) if confirmed else 0, inputs.budget.search.seeds),
            *_warnings(inputs.dataset),
        ),
        seconds=round(seconds, 1),
    )


def _why(search: Search, confirmed: Confirmed | None) -> str:
    if confirmed is None:
        return f"nothing was built to the end: {search.stopped_because}"
    match confirmed.verdict.overall:
        case "inconclusive":
            found = "breaks no limit, but whether it keeps all cannot be told for sure"
        case "not compliant":
            found = "came nearest"
        case _:
            found = "the smallest that keeps every limit"
    return f"{found}; the search ended because {search.stopped_because}"


def _near(search: Search, chosen: str | None) -> tuple[str, ...]:
    if chosen is None or not compliant(search.rows[chosen], search.aims):
        return ()
    found = by_category(search.scored[chosen]).over(search.over)
    return near_ties(list(search.rows.values()), search.aims, chosen, standard_error(found))


def _candidates(search: Search) -> tuple[CandidateRecord, ...]:
    return tuple(sorted(search.records.values(), key=lambda record: (record.artifact_size or 2**62, record.id)))


def _screened_baseline(search: Search, baseline: Written, *, measure: bool) -> Subject:
    """Without a finalist the baseline is described on selection; `measure` its costs, or leave them out."""
    costs = search.screener.costing.quick(baseline, every=True) if measure else {}
    scored = score_split(baseline, search.shop, "selection")
    return Subject(
        files=deployed_bytes(baseline.directory),
        parameters=baseline.parameters,
        measurements=(measure_size(baseline.directory), *costs.values()),
        quality=quality_of(scored, baseline.threshold, thresholds=read_spec(baseline.files() / ARTIFACT).thresholds),
        session=baseline.session(),
    )


def count_use(inputs: Inputs, shop: Workshop) -> int:
    """Count this opening of the confirmation split; how many different inputs have opened it."""
    return shop.run.count_use(split_digest(inputs.dataset), inputs.digest)


def split_digest(dataset: Dataset) -> str:
    """What a confirmation split is known by: the data set, and which of its files are in the split."""
    return fingerprint([dataset.digest, [sample.file for sample in dataset.samples["confirmation"]]])


def use_warnings(uses: int) -> tuple[str, ...]:
    """That a confirmation split was opened before, where it was."""
    if uses < 2:
        return ()
    return (f"{uses} different inputs were judged by this confirmation split; its figures grow optimistic",)


def category_warnings(budget: Budget, comparison: Comparison | None) -> tuple[str, ...]:
    """Categories that lost more than the budget's `max_drop` while the AUROC that it limits did not."""
    drop = budget.limits.auroc.max_drop if budget.limits.auroc is not None else None
    if comparison is None or drop is None or comparison.auroc_loss.value > drop:
        return ()
    return tuple(
        f"category {one.category} lost {described(one.auroc_loss.model_copy(update={'note': None}))} of AUROC, more "
        f"than max_drop {drop:g}, though over all ({auroc_kind(budget)}) only {comparison.auroc_loss.value:.3f} was "
        "lost; auroc: {over: worst-category} limits that"
        for one in comparison.category_losses
        if one.auroc_loss.value > drop
    )


def seed_warnings(trained: int, asked: int) -> tuple[str, ...]:
    """That fewer seeds were trained than the budget asks for; nothing where they were not asked for or of no use."""
    if not 0 < trained < asked:
        return ()
    return (f"{trained} of {asked} seeds: the others failed, or there was no time left for them; the log says which",)


def _warnings(dataset: Dataset) -> tuple[str, ...]:
    """What the reader should know about the data before trusting a figure."""
    return tuple(
        f"{split}: only {counts['groups']} groups; intervals are wide"
        for split, counts in describe(dataset).items()
        if split in ("selection", "confirmation") and counts["groups"] < 20
    )


def _copy_artifact(source: Path, directory: Path, target: Target) -> None:
    for name in (MODEL, ARTIFACT):
        shutil.copyfile(source / name, directory / name)
    (directory / DEVICE_SCRIPT).parent.mkdir()
    shutil.copyfile(Path(device_score.__file__), directory / DEVICE_SCRIPT)
    (directory / DEVICE_CONFIG).write_bytes(device_config(source / ARTIFACT, target))
    if read_spec(source / ARTIFACT).flow is not None:
        shutil.copyfile(Path(device_flow.__file__), directory / DEVICE_FLOW)
    if target.runtime == "tensorrt":
        shutil.copyfile(Path(device_engine.__file__), directory / DEVICE_ENGINE)


def _files(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

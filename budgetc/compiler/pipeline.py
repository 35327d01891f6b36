"""load -> baseline -> search -> choose -> confirm -> emit, top to bottom."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from budgetc.candidate import Workshop, Written, build, finish, score_split
from budgetc.compiler.choosing import Choosing, other_seeds, standard_error
from budgetc.compiler.confirming import Confirmation, Confirmed, sample_images
from budgetc.compiler.controlling import control_sentence, controls_beside, direction_warnings
from budgetc.compiler.costing import Costing
from budgetc.compiler.devices import Bench, bench, pack_kit
from budgetc.compiler.emitting import count_use, emit, partial, use_warnings
from budgetc.compiler.environment import training_versions
from budgetc.compiler.inputs import Device, Inputs, all_plans, default_out, load_inputs
from budgetc.compiler.label_light import PROXY
from budgetc.compiler.resuming import check_apart, check_resumable, record_inputs
from budgetc.compiler.screening import Screener
from budgetc.compiler.searching import Search
from budgetc.compiler.sessions import choose_sessions
from budgetc.core.budget import AurocLimit, Evidence, Policy
from budgetc.core.plan import Plan, fingerprint
from budgetc.core.quality import Control
from budgetc.core.quantities import format_bytes
from budgetc.core.statistics import Interval
from budgetc.detectors.detector import weights_digest
from budgetc.detectors.families import bundle
from budgetc.measurement.board.kit import BoardNeeded
from budgetc.measurement.quality import Scored, by_category
from budgetc.report.evidence import auroc_kind
from budgetc.report.schema import Report
from budgetc.store.output import check_replaceable
from budgetc.store.run_directory import RunDirectory
from budgetc.training.loop import Progress, silent
from budgetc.workshop import RESULTS, Memory

Say = Callable[[str], None]


SELECTION_MARGIN: Mapping[Policy, float] = {"estimate": 0.5, "bound": 1.645, "noninferior": 1.0}
"""Standard errors above the AUROC floor that the search aims at: a bound has to clear the floor, an estimate luck."""


def quiet(sentence: str) -> None:
    """A log that goes nowhere."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The baseline as files, and its scores on the selection split."""

    written: Written
    selection: Scored
    auroc: Interval
    """Of the kind that the budget limits."""
    controls: tuple[Control, ...]
    """Beside the selection split's AUROC."""


def compile_detector(
    model: str | Path,
    *,
    budget: str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    evidence: Evidence | None = None,
    device: Device | None = None,
    store: str | Path | None = None,
    resume: bool = False,
    say: Say = quiet,
    progress: Progress = silent,
) -> Report:
    """Compile a detector to the smallest artifact that keeps the budget, and write it to `out`.

    Args:
        model: a bundle made by `budgetc train` or `budgetc import`, or an ONNX file.
        budget: path of a budget file, or the name of one that ships with budgetc.
        data: data set; wins over the budget's.
        out: directory of the artifact; default `<model stem>.<budget stem>/` beside the model.
        evidence: weakest evidence for latency and memory that may pass; wins over the budget's.
        device: a real board: latency and memory are measured on it.
        store: directory of results to share with other runs; default the run directory `OUT.run/`.
        resume: insist on going on with what `OUT.run/` was started with. A run goes on without it too, with
            whatever in the store still applies.
        say: gets a sentence for every decision.
        progress: gets (what, done, of) during long work.

    Returns:
        The report; `report.verdict` is None when nothing could be built, else says whether it complies.

    Raises:
        UsageError, ConfigError, InputRejected: an input is wrong, or not what is resumed; nothing was written.
        Locked: another process compiles to the same place, or measures on the board.
        TargetUnreachable: the board, or what it needs, is not there; what was done is kept.
        BoardNeeded: the kit was written, and its results are needed to go on.
    """
    inputs = load_inputs(model, budget, data, evidence=evidence, device=device)
    directory = Path(out) if out is not None else default_out(inputs.model, inputs.budget_path)
    shared = None if store is None else Path(store)
    return compile_inputs(inputs, out=directory, store=shared, resume=resume, say=say, progress=progress)


def compile_inputs(
    inputs: Inputs, *, out: Path, store: Path | None = None, resume: bool = False, memory: Memory | None = None,
    say: Say = quiet, progress: Progress = silent,
) -> Report:  # fmt: skip
    """The same from inputs that were read already; `memory` is what a process keeps between compilations."""
    started = time.monotonic()
    check_replaceable(out)
    check_apart(store, out)
    if resume:
        check_resumable(run_path(out))
    torch.set_num_threads(inputs.budget.search.threads)
    for note in inputs.notes:
        say(f"note: {note}")
    board = bench(inputs, say)
    with RunDirectory.open(run_path(out), store=store) as run:
        record_inputs(run, inputs.digests, inputs.budget.model_dump(mode="json"), resume=resume)
        shop = make_workshop(inputs, run, progress, memory=memory)
        inputs = replace(inputs, detector=shop.baseline, dataset=shop.dataset)
        search = None
        try:
            images = sample_images(inputs.dataset, run.path / "pictures")
            sessions, trials = choose_sessions(inputs, shop, images, say)
            shop = replace(shop, sessions=sessions)
            if inputs.dataset.synthetic:
                say(f"warning: {PROXY}")
            reference = measure_baseline(inputs, shop, say)
            search = _search(inputs, shop, reference, say, images=images, bench=board)
            search.sessions = trials
            # Said once there is something to report, should the sentence make somebody press Ctrl-C.
            say(f"{len(search.rows)} structures from {len(inputs.recipes)} recipes")
            deadline = started + inputs.budget.search.time
            search.run(deadline)
            confirmed = _choose(inputs, search, reference, say, deadline=deadline)
            if confirmed is not None:
                seeds = other_seeds(search, confirmed, reference.written, say, deadline=deadline)
                confirmed = replace(confirmed, seeds=seeds)
            seconds = time.monotonic() - started
            record = board.record(confirmed.pairs if confirmed is not None else None)
            return emit(inputs, search, reference.written, confirmed, out=out, seconds=seconds, board=record)
        except BoardNeeded as needed:
            assert search is not None  # it is the full protocol that asks
            error = standard_error(reference.auroc)
            raise pack_kit(
                search, reference.written, images, error=error, inputs=inputs, out=out, why=needed
            ) from needed
        except KeyboardInterrupt:
            if search is not None:
                seconds = time.monotonic() - started
                partial(inputs, search, reference.written, run=run.path, out=out, seconds=seconds)
            raise
        finally:
            shutil.rmtree(run.path / "pictures", ignore_errors=True)


def run_path(out: Path) -> Path:
    """`OUT.run/`, beside OUT."""
    return out.with_name(f"{out.name}.run")


def make_workshop(
    inputs: Inputs, run: RunDirectory, progress: Progress = silent, *, memory: Memory | None = None
) -> Workshop:
    """What building any candidate of these inputs needs; with `memory`, what it holds of the same model and data."""
    described = {
        name: part for name, part in bundle(inputs.detector).items() if name not in ("state_dict", "threshold")
    }
    key = fingerprint(
        [weights_digest(inputs.detector.module), described, inputs.dataset.digest,
         [[sample.file, sample.group] for sample in inputs.dataset.samples["train"]],
         [sample.file for sample in inputs.dataset.samples["calibration"]], training_versions(), RESULTS,
         inputs.budget.search.threads]
    )  # fmt: skip
    seed, known = inputs.budget.search.seed, memory or Memory()
    detector, dataset = known.admit(key, seed, inputs.detector, inputs.dataset)
    return Workshop(detector, dataset, inputs.target, run, seed, key, progress, known)


def measure_baseline(inputs: Inputs, shop: Workshop, say: Say) -> Reference:
    """The unchanged detector in deployed form: its file and its AUROC on the selection split."""
    unchanged = Plan(recipe="none", steps=(), seed=shop.seed)
    written = finish(build(unchanged, shop, 1.0), shop, shop.run.path / "candidates" / unchanged.id / "trained")
    scored = score_split(written, shop, "selection")
    found = by_category(scored).over(auroc_kind(inputs.budget))
    say(f"baseline: {format_bytes(written.size)}, AUROC {found.value:.4f} on selection")
    for warning in direction_warnings(inputs.detector.family, found):
        say(f"warning: {warning}")
    controls = controls_beside(shop, {"baseline": scored}, over=auroc_kind(inputs.budget))
    say(control_sentence(controls))
    shop.run.record("baseline", {"size": written.size, "auroc": found.value})
    return Reference(written, scored, found, controls)


def selection_margin(limit: AurocLimit | None, baseline: Interval) -> float:
    """AUROC above the floor that the search aims at on the selection split.

    Where the floor is the baseline's own AUROC less a drop, the luck of the images is the same for both and half of
    the drop is margin enough; a floor of its own has to be cleared by the standard error that the policy asks for.
    """
    margin = SELECTION_MARGIN["estimate" if limit is None else limit.policy] * standard_error(baseline)
    if limit is None or limit.max_drop is None or baseline.value - limit.max_drop < (limit.min or 0.0):
        return margin
    return min(margin, limit.max_drop / 2)


def _search(
    inputs: Inputs, shop: Workshop, reference: Reference, say: Say, *, images: Sequence[Path], bench: Bench
) -> Search:
    costing = Costing(inputs.target, inputs.budget.limits, images, shop.store, shop.sessions, bench.meters)
    screener = Screener(costing)
    margin = selection_margin(inputs.budget.limits.auroc, reference.auroc)
    search = Search(shop, inputs.budget, reference.auroc.value, screener, say, margin)
    search.controls = reference.controls
    search.add(*all_plans(inputs))
    return search


def _choose(inputs: Inputs, search: Search, reference: Reference, say: Say, *, deadline: float) -> Confirmed | None:
    """The finalist that is emitted; None when nothing was built."""
    shop = search.shop

    def open_confirmation() -> None:
        for warning in use_warnings(count_use(inputs, shop)):
            say(f"warning: {warning}")

    confirmation = Confirmation(shop, inputs.budget, reference.written, search.screener.costing)
    error = standard_error(reference.auroc)
    return Choosing(search, confirmation, error, open_confirmation, say).choose(deadline)

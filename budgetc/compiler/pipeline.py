"""load -> baseline -> search -> choose -> confirm -> emit, top to bottom."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from budgetc.candidate import Workshop, Written, build, finish, score_split
from budgetc.compiler.confirming import Confirmation, Confirmed, sample_images
from budgetc.compiler.emitting import Z95, count_use, emit, partial
from budgetc.compiler.environment import training_versions
from budgetc.compiler.inputs import Inputs, all_plans, default_out, load_inputs
from budgetc.compiler.screening import Screener
from budgetc.compiler.searching import Search
from budgetc.core.budget import Policy
from budgetc.core.plan import Plan, fingerprint
from budgetc.core.quantities import format_bytes
from budgetc.core.statistics import Interval
from budgetc.detectors.detector import weights_digest
from budgetc.detectors.families import bundle
from budgetc.measurement.quality import Scored, by_category
from budgetc.report.evidence import auroc_kind
from budgetc.report.schema import Report
from budgetc.search.finalists import finalists
from budgetc.store.output import check_replaceable
from budgetc.store.run_directory import RunDirectory
from budgetc.training.loop import Progress, silent

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


def compile_detector(
    model: str | Path,
    *,
    budget: str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    say: Say = quiet,
    progress: Progress = silent,
) -> Report:
    """Compile a detector to the smallest artifact that keeps the budget, and write it to `out`.

    Args:
        model: a bundle made by `budgetc train` or `budgetc import`.
        budget: path of a budget file, or the name of one that ships with budgetc.
        data: data set; wins over the budget's.
        out: directory of the artifact; default `<model stem>.<budget stem>/` beside the model.
        say: gets a sentence for every decision.
        progress: gets (what, done, of) during long work.

    Returns:
        The report; `report.verdict` is None when nothing could be built, else says whether it complies.

    Raises:
        UsageError, ConfigError, InputRejected: an input is wrong; nothing was written.
        Locked: another process compiles to the same place.
    """
    started = time.monotonic()
    inputs = load_inputs(model, budget, data)
    target_directory = Path(out) if out is not None else default_out(inputs.model, inputs.budget_path)
    check_replaceable(target_directory)
    torch.set_num_threads(inputs.budget.search.threads)
    with RunDirectory.open(run_path(target_directory)) as run:
        run.record("inputs", {"digests": dict(inputs.digests), "budget": inputs.budget.model_dump(mode="json")})
        shop = make_workshop(inputs, run, progress)
        search = None
        try:
            reference = measure_baseline(inputs, shop, say)
            search = _search(inputs, shop, reference, say)
            search.run(started + inputs.budget.search.time)
            confirmed = _confirm(inputs, search, reference, say)
            seconds = time.monotonic() - started
            return emit(inputs, search, reference.written, confirmed, out=target_directory, seconds=seconds)
        except KeyboardInterrupt:
            if search is not None:
                seconds = time.monotonic() - started
                partial(inputs, search, reference.written, run=run.path, out=target_directory, seconds=seconds)
            raise
        finally:
            shutil.rmtree(run.path / "pictures", ignore_errors=True)


def run_path(out: Path) -> Path:
    """`OUT.run/`, beside OUT."""
    return out.with_name(f"{out.name}.run")


def make_workshop(inputs: Inputs, run: RunDirectory, progress: Progress = silent) -> Workshop:
    """What building any candidate of these inputs needs."""
    described = {name: part for name, part in bundle(inputs.detector).items() if name != "state_dict"}
    key = fingerprint(
        [weights_digest(inputs.detector.module), described, inputs.dataset.digest,
         [[sample.file, sample.group] for sample in inputs.dataset.samples["train"]],
         [sample.file for sample in inputs.dataset.samples["calibration"]], training_versions(),
         inputs.budget.search.threads, inputs.target.weight_levels]
    )  # fmt: skip
    seed = inputs.budget.search.seed
    return Workshop(inputs.detector, inputs.dataset, inputs.target, run, seed, key, progress)


def measure_baseline(inputs: Inputs, shop: Workshop, say: Say) -> Reference:
    """The unchanged detector in deployed form: its file and its AUROC on the selection split."""
    unchanged = Plan(recipe="none", steps=(), seed=shop.seed)
    written = finish(build(unchanged, shop, 1.0), shop, shop.run.path / "candidates" / unchanged.id / "trained")
    scored = score_split(written, shop, "selection")
    found = by_category(scored).over(auroc_kind(inputs.budget))
    say(f"baseline: {format_bytes(written.size)}, AUROC {found.value:.4f} on selection")
    shop.run.record("baseline", {"size": written.size, "auroc": found.value})
    return Reference(written, scored, found)


def _search(inputs: Inputs, shop: Workshop, reference: Reference, say: Say) -> Search:
    images = sample_images(inputs.dataset, shop.run.path / "pictures")
    screener = Screener(inputs.budget.limits, images)
    auroc = inputs.budget.limits.auroc
    margin = SELECTION_MARGIN["estimate" if auroc is None else auroc.policy] * standard_error(reference.auroc)
    search = Search(shop, inputs.budget, reference.auroc.value, screener, say, margin)
    search.add(*all_plans(inputs))
    say(f"{len(search.rows)} structures from {len(inputs.recipes)} recipes")
    return search


def _confirm(inputs: Inputs, search: Search, reference: Reference, say: Say) -> Confirmed | None:
    """The first finalist that complies; else the one that came nearest; None when nothing was built."""
    shop = search.shop
    rows, error = list(search.rows.values()), standard_error(reference.auroc)
    safe, passed = finalists(rows, search.aims, error), finalists(rows, search.limits, error)
    names = safe or passed or search.best_effort()
    confirmation = Confirmation(
        shop, inputs.budget, reference.written, sample_images(inputs.dataset, shop.run.path / "pictures")
    )
    uses = count_use(inputs, shop) if names else 0
    if uses > 1:
        say(f"warning: {uses} different inputs were judged by this confirmation split; its figures grow optimistic")
    looked = list[Confirmed]()
    for name in names:
        say(f"confirming {name} {search.plans[name].title()}")
        found = confirmation.confirm(name, search.written[name])
        say(f"{name}: {found.verdict.overall}")
        reason = f"{search.records[name].reason}; {found.verdict.overall} under the full protocol"
        search.note(name, fate="finalist", reason=reason)
        if found.verdict.overall.startswith("compliant"):
            search.note(name, fate="chosen")
            return found
        looked.append(found)
    return min(looked, key=_distance, default=None)


def _distance(found: Confirmed) -> tuple[bool, float]:
    """How far a finalist is from keeping the budget: broken limits count more than open ones."""
    margins = [limit.margin for limit in found.verdict.limits if limit.margin is not None and limit.outcome != "pass"]
    return found.verdict.overall == "not compliant", -min(margins, default=0.0)


def standard_error(found: Interval) -> float:
    """Of an AUROC, from its one-sided 95 % bound."""
    return max(found.value - found.lower, 1e-4) / Z95

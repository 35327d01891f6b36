"""A dry run: what the budget leaves of the search space, before a gradient step."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from budgetc.compiler.confirming import sample_images
from budgetc.compiler.costing import Costing
from budgetc.compiler.inputs import all_plans, load_inputs
from budgetc.compiler.label_light import what_it_shows
from budgetc.compiler.pipeline import Say, make_workshop, measure_baseline, quiet
from budgetc.compiler.screening import Screener
from budgetc.compiler.searching import Search
from budgetc.compiler.sessions import choose_sessions
from budgetc.core.dataset import Sample
from budgetc.core.frozen import Frozen
from budgetc.core.statistics import images_needed
from budgetc.report.schema import CandidateRecord
from budgetc.search.space import eligible, order
from budgetc.store.run_directory import RunDirectory


class Feasibility(Frozen):
    """What `budgetc plan` found."""

    schema_version: int = 1
    enumerated: int
    keep_size: int
    """Structures that keep the size limit."""
    smallest_feasible: str | None
    """Id of the smallest structure that keeps size, latency and memory in screening."""
    trainings_at_most: int
    seconds_at_most: float
    baseline_auroc: float
    """On the selection split."""
    floor: float | None
    can_certify: str
    """Whether the test part is large enough to certify the floor, and how many images would be."""
    label_light: tuple[str, ...] = ()
    """What data without real anomalies can and cannot show."""
    candidates: tuple[CandidateRecord, ...]


def plan_detector(
    model: str | Path, *, budget: str | Path, data: str | Path | None = None, say: Say = quiet
) -> Feasibility:
    """Price every structure, screen from small to large until one fits, train nothing.

    Raises:
        UsageError, ConfigError, InputRejected: as `compile_detector`.
    """
    inputs = load_inputs(model, budget, data)
    torch.set_num_threads(inputs.budget.search.threads)
    with tempfile.TemporaryDirectory() as scratch, RunDirectory.open(Path(scratch) / "run") as run:
        shop = make_workshop(inputs, run)
        images = sample_images(inputs.dataset, run.path / "pictures")
        shop = replace(shop, sessions=choose_sessions(inputs, shop, images, say)[0])
        reference = measure_baseline(inputs, shop, say)
        screener = Screener(Costing(inputs.target, inputs.budget.limits, images, shop.store, shop.sessions))
        search = Search(shop, inputs.budget, reference.auroc.value, screener, say)
        search.add(*all_plans(inputs))
        search.price_all()
        small = sorted((row for row in search.rows.values() if eligible(row, search.limits)), key=order)
        smallest = next((row.id for row in small if search.screen(row.id)), None)
        floor = search.limits.floor
        return Feasibility(
            enumerated=len(search.records),
            keep_size=len(small),
            smallest_feasible=smallest,
            trainings_at_most=min(inputs.budget.search.trainings, 2 * sum(row.trains for row in small)),
            seconds_at_most=inputs.budget.search.time,
            baseline_auroc=reference.auroc.value,
            floor=floor,
            can_certify=certification(floor, reference.auroc.value, inputs.dataset.samples["confirmation"]),
            label_light=what_it_shows(inputs.dataset),
            candidates=tuple(search.records.values()),
        )


def certification(floor: float | None, truth: float, samples: Sequence[Sample]) -> str:
    """Whether a test part of these images can show AUROC >= floor with 95 % confidence, were `truth` the AUROC.

    Independent images count: of several photographs of one part, or frames of one block, one.
    """
    if floor is None:
        return "the budget limits no AUROC"
    if any(sample.synthetic for sample in samples):
        return f"nothing here certifies {floor:.3f}: anomalies are synthetic"
    have = min(len({sample.group for sample in samples if sample.label == label}) for label in (0, 1))
    every = len({sample.group for sample in samples}) == len(samples)
    what = "images" if every else "groups (parts, or blocks of frames)"
    if floor <= 0.5:
        return f"a floor of {floor:.3f} is what guessing reaches: it needs no certificate"
    if truth <= floor:
        return f"an AUROC of {truth:.3f} does not lie above the floor of {floor:.3f}: no number of images certifies it"
    needed = images_needed(floor, truth)
    if have >= needed:
        return f"{have} good and bad {what} each certify {floor:.3f} if the AUROC is {truth:.3f} ({needed} needed)"
    return (
        f"{have} good and bad {what} each cannot certify {floor:.3f} if the AUROC is {truth:.3f}: "
        f"{needed} each are needed for 80 % power; the estimate is judged, not its bound"
    )

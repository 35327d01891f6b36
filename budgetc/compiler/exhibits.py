"""Evidence for people beside the verdict: what each step did, where the time goes, which pictures were missed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TypeVar

import numpy as np

from budgetc.candidate import Written, finish, price, recall, score_split
from budgetc.compiler.confirming import Confirmed
from budgetc.compiler.features import Inner, Likeness, inner, known_likeness
from budgetc.compiler.gallery import Judged, gallery
from budgetc.compiler.searching import Search
from budgetc.core.dataset import Dataset, Sample
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Plan
from budgetc.measurement.predicted import predict_files
from budgetc.measurement.profile import profile_nodes
from budgetc.measurement.quality import by_category
from budgetc.report.pictures import Shown
from budgetc.report.schema import AreaRecall, Exhibits, OperatorRow, ScoredPicture, Stage

_BINS = 4
_UNTRAINED = "would have to be trained for this table alone: no search trained up to here"
_Part = TypeVar("_Part")
Baseline = Callable[[], Inner | None]
"""Features of the baseline, computed when somebody asks."""


@dataclass(frozen=True, slots=True)
class Shows:
    """Numbers for the report, and pictures for its page."""

    exhibits: Exhibits
    pictures: tuple[Shown, ...]


@dataclass
class _Collected:
    """Part after part; one that fails is missed, and says so."""

    missing: list[str] = field(default_factory=list)

    def part(self, name: str, make: Callable[[], tuple[_Part, ...]]) -> tuple[_Part, ...]:
        """Nothing where it fails."""
        try:
            return make()
        except Exception as error:  # nothing here may cost somebody the artifact that was found
            self.missing.append(f"{name}: {type(error).__name__}: {error}")
            return ()


def collect(search: Search, confirmed: Confirmed, baseline: Written) -> Shows:
    """Everything about one finalist; nothing is trained for it, and nothing that goes wrong here ends a run."""
    started, parts = time.monotonic(), _Collected()
    judged = parts.part("scores", lambda: _judged(search, baseline, confirmed.written))
    operators = parts.part("operators", lambda: operator_rows(search, confirmed.written))
    stages = parts.part("steps", lambda: stage_rows(search, confirmed, baseline))
    dataset = search.shop.dataset
    areas = parts.part("defects by area", lambda: area_rows(dataset, *judged)) if judged else ()
    rows = parts.part("scores", lambda: scored_rows(*judged)) if judged else ()
    pictures = parts.part("pictures", lambda: gallery(dataset, *judged)) if judged else ()
    exhibits = Exhibits(
        stages=stages, operators=operators, areas=areas, pictures=rows, missing=tuple(parts.missing),
        operators_are="predicted" if search.screener.costing.target.measured_on is None else "measured",
    )  # fmt: skip
    search.shop.run.record("exhibits", {"seconds": time.monotonic() - started, "missing": list(parts.missing)})
    return Shows(exhibits, pictures)


def _judged(search: Search, *both: Written) -> tuple[Judged, ...]:
    """Baseline and artifact on the confirmation split."""
    return tuple(Judged(one, score_split(one, search.shop, "confirmation")) for one in both)


def scored_rows(before: Judged, after: Judged) -> tuple[ScoredPicture, ...]:
    """Both scores of every picture."""
    scores = zip(after.scored.samples, before.scored.scores, after.scored.scores, strict=True)
    return tuple(
        ScoredPicture(file=one.file, category=one.category, defect=one.defect, baseline=float(b), artifact=float(a))
        for one, b, a in scores
    )


def stage_rows(search: Search, confirmed: Confirmed, baseline: Written) -> tuple[Stage, ...]:
    """The baseline, and the detector after each step of the plan."""
    shop, plan = search.shop, search.plans[confirmed.id]
    reference = cache(partial(inner, shop.baseline, shop))
    itself = known_likeness(shop.baseline, shop, reference)
    stages = [_stage(search, Stage(step="baseline", artifact_size=None), baseline, itself)]
    for count in range(1, len(plan.steps) + 1):
        prefix = Plan(recipe=plan.recipe, steps=plan.steps[:count], seed=plan.seed)
        title = Plan(recipe="", steps=plan.steps[count - 1 : count], seed=0).title()
        written = confirmed.written if count == len(plan.steps) else None
        try:
            stages.append(_after(search, title, prefix, written=written, reference=reference))
        except Exception as error:  # a plan cut short may be one that cannot be built
            note = f"cannot be built on its own: {type(error).__name__}: {error}"
            stages.append(Stage(step=title, artifact_size=None, note=note))
    return tuple(stages)


def _after(search: Search, title: str, prefix: Plan, *, written: Written | None, reference: Baseline) -> Stage:
    shop = search.shop
    directory = shop.run.path / "candidates" / prefix.id
    built = recall(prefix, shop)
    if built is None:
        # Size and cost need no training.
        bare = price(prefix, shop, directory / "untrained") if written is None else written
        return Stage(step=title, artifact_size=bare.size, costs=_costs(search, bare), note=_UNTRAINED)
    file = finish(built, shop, directory / "trained") if written is None else written
    loss = built.trail[-1].training_loss if built.trail else None
    about = Stage(step=title, artifact_size=None, training_loss=loss)
    return _stage(search, about, file, known_likeness(built.detector, shop, reference))


def _stage(search: Search, about: Stage, written: Written, alike: Likeness) -> Stage:
    scored = score_split(written, search.shop, "selection")
    # Not a copy: a figure that is no number has to be refused here, not when the report is written.
    return Stage(
        step=about.step, training_loss=about.training_loss, artifact_size=written.size, costs=_costs(search, written),
        auroc=by_category(scored).over(search.over).value, similarity=alike.similarity, active=alike.active,
        divergence=alike.divergence,
    )  # fmt: skip


def _costs(search: Search, written: Written) -> tuple[Measurement, ...]:
    return tuple(search.screener.costing.quick(written, every=True).values())


def operator_rows(search: Search, written: Written) -> tuple[OperatorRow, ...]:
    """Every operator of the artifact in the order in which it runs: timed here, or priced by the cost model."""
    costing = search.screener.costing
    if costing.target.measured_on is None:
        return tuple(
            OperatorRow(
                name=one.name, kind=one.kind, compute=one.compute, ms=one.ms, share=one.share, bound=one.bound,
                bytes=one.bytes,
            )
            for one in predict_files(written.files(), costing.target).operators
        )  # fmt: skip
    nodes = profile_nodes(written.files())
    total = sum(node.ms for node in nodes) or 1.0
    return tuple(
        OperatorRow(name=one.name, kind=one.kind, compute=one.compute, ms=one.ms, share=one.ms / total) for one in nodes
    )


def area_rows(dataset: Dataset, before: Judged, after: Judged) -> tuple[AreaRecall, ...]:
    """Recall in quarters of the defects, by the share of the picture that the mask covers; empty without masks."""
    samples = after.scored.samples
    areas = {index: _area(dataset, sample) for index, sample in enumerate(samples) if sample.mask is not None}
    known = sorted(areas, key=lambda index: areas[index])
    return tuple(
        AreaRecall(
            smallest=areas[part[0]], largest=areas[part[-1]], of=len(part),
            found=int(after.alarms[part].sum()), found_by_baseline=int(before.alarms[part].sum()),
        )
        for part in np.array_split(np.array(known, dtype=np.int64), min(_BINS, len(known)) or 1)
        if len(part)
    )  # fmt: skip


def _area(dataset: Dataset, sample: Sample) -> float:
    return float(dataset.read_mask(sample).mean())

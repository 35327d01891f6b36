"""From the table of a search to the one structure that is emitted, on a simulated device."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from budgetc.candidate import Built, Workshop, Written, build, finish
from budgetc.compiler.choosing import Choosing, other_seeds
from budgetc.compiler.confirming import Confirmation, Confirmed
from budgetc.compiler.costing import Costing, Costs
from budgetc.compiler.screening import Screener
from budgetc.compiler.searching import Search
from budgetc.core.budget import Budget
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Distill, Fp16, Plan, Quantize
from budgetc.core.session import SessionOptions
from budgetc.errors import InputRejected
from budgetc.report.schema import SeedRecord
from budgetc.search.space import FULL, Train
from budgetc.store.run_directory import RunDirectory
from tests.small import dataset, small_stfpm, target

UNCHANGED = Plan(recipe="none", steps=(), seed=0)
PLANS = [UNCHANGED, Plan(recipe="q", steps=(Quantize(),), seed=0), Plan(recipe="f", steps=(Fp16(),), seed=0)]
DISTILLED = Plan(recipe="d", steps=(Distill(student=0.5, epochs=2),), seed=0)


def latency(ms: float) -> dict[str, Measurement]:
    """What a device that never varies reports."""
    found = {
        name: Measurement(metric=name, value=ms, unit="ms", n=100, kind="measured", device="simulated")
        for name in ("latency_p50", "latency_p95")
    }
    memory = {
        name: Measurement(metric=name, value=1000.0, unit="B", n=3, kind="measured", device="simulated")
        for name in ("peak_memory", "model_memory")
    }
    return found | memory


@dataclass(frozen=True, slots=True)
class Simulated(Costing):
    """A device on which everything screens at 1 ms, and in full takes as long as `took` says of its directory."""

    took: Callable[[Path], float] = lambda directory: 1.0
    looked: list[str] = field(default_factory=list)

    def quick(self, written: Written, *, every: bool = False) -> dict[str, Measurement]:
        return latency(1.0)

    def full(
        self, directory: Path, baseline: Path, *, seed: int, progress: Callable[[str], None] = lambda sentence: None
    ) -> Costs:
        self.looked.append(directory.parent.name)
        found = latency(self.took(directory))
        return Costs(found, latency(1.0), found["latency_p50"].model_copy(update={"unit": "1"}))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "run") as opened:
        yield opened


def started(
    run: RunDirectory, plans: list[Plan], took: Callable[[Path], float] = lambda directory: 1.0,
    limits: dict[str, object] | None = None, **search: object,
) -> tuple[Search, Choosing]:  # fmt: skip
    """A finished search over some plans, and the choice after it."""
    budget = Budget.model_validate({
        "target": "host-cpu", "limits": {"latency_p95": "10 ms", "auroc": {"min": 0.1}, **(limits or {})},
        "search": search,
    })  # fmt: skip
    shop = Workshop(small_stfpm(), dataset(), target(), run, seed=0, key="k")
    costing = Simulated(shop.target, budget.limits, (), run.store, took=took)
    baseline = finish(build(UNCHANGED, shop, 1.0), shop, run.path / "baseline")
    table = Search(shop, budget, 0.9, Screener(costing), lambda sentence: None)
    table.add(plans, [])
    table.run(deadline=float("inf"))
    confirmation = Confirmation(shop, budget, baseline, costing)

    def note_opening() -> None:
        run.record("opened")

    return table, Choosing(table, confirmation, 0.05, note_opening, lambda sentence: None)


def smallest(search: Search) -> str:
    """The id of the smallest file of a table."""
    return min(search.written, key=lambda name: search.written[name].size)


def opened(run: RunDirectory) -> int:
    """How often the confirmation split was opened."""
    return sum(event.event == "opened" for event in run.events)


def test_the_smallest_that_complies_is_chosen(run: RunDirectory) -> None:
    """Nothing speaks against it, so nothing else is looked at."""
    search, choosing = started(run, PLANS)
    found = choosing.choose(float("inf"))
    assert found is not None and found.id == smallest(search)
    assert search.records[found.id].fate == "chosen"


def test_a_finalist_that_is_too_slow_in_full_sends_the_search_back(run: RunDirectory) -> None:
    """The short look had let it pass; the next smallest that keeps the limit is judged, and becomes the choice."""
    quantized = PLANS[1].id
    search, choosing = started(run, PLANS, took=lambda directory: 99.0 if quantized in str(directory) else 1.0)
    found = choosing.choose(float("inf"))
    assert smallest(search) == quantized
    assert found is not None and found.id == PLANS[2].id and found.verdict.overall == "compliant"
    assert "full protocol: latency_p95" in search.records[quantized].reason


def test_the_confirmation_split_stays_sealed_while_costs_fail(run: RunDirectory) -> None:
    """Only a finalist that keeps its cost opens it."""
    _, choosing = started(run, PLANS, took=lambda directory: 1.0 if UNCHANGED.id in str(directory) else 99.0)
    choosing.choose(float("inf"))
    assert [found.id for found in choosing.looked] == [UNCHANGED.id]
    assert opened(run) == 1


def test_where_everything_is_as_slow_the_first_finalist_is_kept_as_best_effort(run: RunDirectory) -> None:
    """The report shows how far it is from the limits."""
    _, choosing = started(run, PLANS, took=lambda directory: 99.0)
    found = choosing.choose(float("inf"))
    assert found is not None and found.verdict.overall == "not compliant"
    assert len(choosing.rejected) == len(PLANS)


def test_where_everything_is_too_slow_the_least_slow_is_kept_as_best_effort(run: RunDirectory) -> None:
    """Not the first one that was looked at: what came nearest to the limit."""
    nearest = UNCHANGED.id
    search, choosing = started(run, PLANS, took=lambda directory: 11.0 if nearest in str(directory) else 99.0)
    found = choosing.choose(float("inf"))
    assert smallest(search) != nearest
    assert found is not None and found.id == nearest


def seeds(
    choosing: Choosing, found: Confirmed, *, deadline: float = float("inf"), said: list[str] | None = None
) -> tuple[SeedRecord, ...]:
    """The chosen plan under other seeds, and what was `said` meanwhile."""
    say = (said if said is not None else list[str]()).append
    return other_seeds(choosing.search, found, choosing.confirmation.baseline, say, deadline=deadline)


def test_what_nobody_measures_ends_the_looking(run: RunDirectory) -> None:
    """Another finalist would open the confirmation split for nothing."""
    search, choosing = started(run, PLANS, limits={"energy_per_image": "50 mJ"})
    for name in search.rows:
        search.screen(name)
        search.act(Train(name, FULL, "so that there are three finalists"))
    found = choosing.choose(float("inf"))
    assert found is not None and found.verdict.overall == "inconclusive"
    assert choosing.looked == [found]
    assert found.artifact.session == found.baseline.session == SessionOptions()


def test_a_trained_choice_is_repeated_with_other_seeds(run: RunDirectory) -> None:
    """As many as the budget asks for, its own first; nothing is chosen among them."""
    _, choosing = started(run, [DISTILLED], seeds=3)
    found = choosing.choose(float("inf"))
    assert found is not None
    records = seeds(choosing, found)
    assert [record.seed for record in records] == [0, 1, 2]
    assert records[0].confirmation_auroc == found.artifact.quality.auroc_mean.value
    assert len({record.selection_auroc for record in records} | {record.auroc_loss for record in records}) > 1


def test_what_trains_nothing_is_not_repeated(run: RunDirectory) -> None:
    """Another seed would give the same file."""
    _, choosing = started(run, [UNCHANGED], seeds=3)
    found = choosing.choose(float("inf"))
    assert found is not None
    assert seeds(choosing, found) == ()


@pytest.mark.parametrize("error", [InputRejected("no parity"), RuntimeError("out of memory"), ValueError("NaN")])
def test_a_seed_that_fails_is_left_out(run: RunDirectory, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """The artifact is confirmed already: the other seeds are still tried, and the log names the one that failed."""
    _, choosing = started(run, [DISTILLED], seeds=3)
    found, said = choosing.choose(float("inf")), list[str]()
    assert found is not None

    def failing(plan: Plan, shop: Workshop, effort: float) -> Built:
        if plan.seed == 1:
            raise error
        return build(plan, shop, effort)

    monkeypatch.setattr("budgetc.compiler.choosing.build", failing)
    assert [record.seed for record in seeds(choosing, found, said=said)] == [0, 2]
    assert f"seed 1 is left out: {type(error).__name__}: {error}" in said


def test_no_other_seed_is_trained_after_the_deadline(run: RunDirectory) -> None:
    """The chosen one is known in any case; the log says why there are no more."""
    _, choosing = started(run, [DISTILLED], seeds=3)
    found, said = choosing.choose(float("inf")), list[str]()
    assert found is not None
    assert [record.seed for record in seeds(choosing, found, deadline=0.0, said=said)] == [0]
    assert said == ["no time left from seed 1 on"]


def test_what_does_not_comply_is_not_repeated(run: RunDirectory) -> None:
    """How much of a best effort is luck helps nobody."""
    _, choosing = started(run, [DISTILLED], took=lambda directory: 99.0, seeds=3)
    found = choosing.choose(float("inf"))
    assert found is not None and found.verdict.overall == "not compliant"
    assert seeds(choosing, found) == ()

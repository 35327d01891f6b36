"""choose -> confirm: from the table of the search to the one structure that is emitted."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from budgetc.candidate import Written, build, finish, score_split
from budgetc.compiler.confirming import Confirmation, Confirmed
from budgetc.compiler.costing import Costs
from budgetc.compiler.searching import Search
from budgetc.core.statistics import Interval
from budgetc.core.verdict import Verdict, undecided_by_proxy
from budgetc.errors import BudgetcError
from budgetc.measurement.quality import Scored, by_category, loss_between
from budgetc.report.schema import SeedRecord
from budgetc.search.finalists import MOST, finalists
from budgetc.search.space import trains

Say = Callable[[str], None]
_Z95 = 1.645


@dataclass
class Choosing:
    """Finalists in their order: first their cost, which sends the search back where it fails, then their quality."""

    search: Search
    confirmation: Confirmation
    standard_error: float
    """Of the baseline's AUROC on the selection split."""
    open_confirmation: Callable[[], None]
    """Called once, before the first finalist is scored on the confirmation split."""
    say: Say
    looked: list[Confirmed] = field(default_factory=list)
    rejected: dict[str, Costs] = field(default_factory=dict)

    def choose(self, deadline: float) -> Confirmed | None:
        """The first finalist that complies; else the one that came nearest; None when nothing was built.

        Once the confirmation split is open the search is not asked again: it must not learn from that data.
        """
        self.search.prepare_backups(deadline, self.standard_error)
        while (name := self._next()) is not None:
            costs = self._cost(name)
            missed = self.confirmation.missed(costs)
            if missed is not None and not self.looked:
                self.rejected[name] = costs
                self.search.reject(name, missed)
                self.search.run(deadline)
                continue
            verdict = self._confirm(name, costs).verdict
            if verdict.overall.startswith("compliant"):
                self.search.note(name, fate="chosen")
                return self.looked[-1]
            if _as_good_as_any(verdict):
                break
        self._fall_back()
        return min(self.looked, key=lambda found: _distance(found.verdict), default=None)

    def _next(self) -> str | None:
        rows, search = list(self.search.rows.values()), self.search
        safe, passed = (finalists(rows, rules, self.standard_error) for rules in (search.aims, search.limits))
        seen = {found.id for found in self.looked}
        if len(seen) == MOST:
            return None
        return next((name for name in (*safe, *passed) if name not in seen), None)

    def _fall_back(self) -> None:
        """Where no finalist kept its cost, or there was none: what came nearest is judged, and kept as best effort.

        Of finalists their cost tells how near, and of equals the first is taken.
        """
        if self.looked:
            return
        if self.rejected:
            self._confirm(*min(self.rejected.items(), key=lambda item: _distance(self.confirmation.judged(item[1]))))
        for name in () if self.rejected else self.search.best_effort():
            self._confirm(name, self._cost(name))

    def _cost(self, name: str) -> Costs:
        self.say(f"confirming {name} {self.search.plans[name].title()}")
        return self.confirmation.cost(name, self.search.written[name])

    def _confirm(self, name: str, costs: Costs) -> Confirmed:
        if not self.looked:
            self.open_confirmation()
        found = self.confirmation.confirm(name, self.search.written[name], costs)
        self.say(f"{name}: {found.verdict.overall}")
        reason = f"{self.search.records[name].reason}; {found.verdict.overall} under the full protocol"
        self.search.note(name, fate="finalist", reason=reason)
        self.looked.append(found)
        return found


def _as_good_as_any(verdict: Verdict) -> bool:
    """Nothing is open but what nobody measures here of another structure either, or what no proxy can close."""
    closed = [limit for limit in verdict.limits if not undecided_by_proxy(limit)]
    return {limit.outcome for limit in closed} <= {"pass", "not measured"}


def _distance(verdict: Verdict) -> tuple[bool, float]:
    """How far a finalist is from keeping the budget: broken limits count more than open ones."""
    margins = [limit.margin for limit in verdict.limits if limit.margin is not None and limit.outcome != "pass"]
    return verdict.overall == "not compliant", -min(margins, default=0.0)


def standard_error(found: Interval) -> float:
    """Of an AUROC, from its one-sided 95 % bound."""
    return max(found.value - found.lower, 1e-4) / _Z95


def other_seeds(
    search: Search, chosen: Confirmed, baseline: Written, say: Say, *, deadline: float
) -> tuple[SeedRecord, ...]:
    """The chosen plan trained again with other seeds: how much of its AUROC is luck. Nothing is chosen by it.

    The first record is the chosen one itself. Empty where the budget asks for one seed, the plan trains nothing or
    the verdict is not compliant. The artifact is confirmed by now, so nothing here may cost it: a seed that fails is
    left out, and none is started after the deadline, in seconds of `time.monotonic`.
    """
    plan, shop, count = search.plans[chosen.id], search.shop, search.budget.search.seeds
    if count < 2 or not trains(plan) or not chosen.verdict.overall.startswith("compliant"):
        return ()
    before = score_split(baseline, shop, "confirmation")
    records = [_seed_record(search, plan.seed, chosen.written, before)]
    for seed in range(plan.seed + 1, plan.seed + count):
        started = time.monotonic()
        if started > deadline:
            say(f"no time left from seed {seed} on")
            break
        again = plan.model_copy(update={"seed": seed})
        try:
            written = finish(build(again, shop, 1.0), shop, shop.run.path / "candidates" / again.id / "trained")
            records.append(_seed_record(search, seed, written, before))
        except (BudgetcError, RuntimeError, ValueError) as error:
            say(f"seed {seed} is left out: {type(error).__name__}: {error}")
            continue
        say(f"seed {seed}: AUROC {records[-1].confirmation_auroc:.4f}, {time.monotonic() - started:.0f} s")
    return tuple(records)


def _seed_record(search: Search, seed: int, written: Written, before: Scored) -> SeedRecord:
    """One seed's file beside the baseline's scores on the confirmation split."""
    scored = score_split(written, search.shop, "confirmation")
    return SeedRecord(
        seed=seed,
        selection_auroc=by_category(score_split(written, search.shop, "selection")).over(search.over).value,
        confirmation_auroc=by_category(scored).over(search.over).value,
        auroc_loss=loss_between(before, scored, search.confidence).over(search.over).value,
        artifact_size=written.size,
    )

"""The search loop: carries out what `search.decide` decides, and records every decision with its reason."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from budgetc.candidate import (
    QUICK_SHARE,
    Built,
    Workshop,
    Written,
    build,
    finish,
    price,
    score_split,
    training_key,
)
from budgetc.compiler.screening import Screener
from budgetc.core.budget import Budget, Over
from budgetc.core.plan import Plan
from budgetc.core.quality import Control
from budgetc.core.quantities import format_bytes
from budgetc.core.verdict import auroc_floor
from budgetc.errors import BudgetcError, InputRejected, Locked, StorageFailed, TargetUnreachable
from budgetc.measurement.quality import Scored, by_category
from budgetc.report.evidence import auroc_kind
from budgetc.report.schema import CandidateRecord, SearchSummary, SessionTrial
from budgetc.search.decide import decide
from budgetc.search.finalists import backup, closest, safeguard
from budgetc.search.space import (
    FULL,
    QUICK,
    PriceStructure,
    Row,
    Rules,
    Screen,
    Stop,
    Train,
    incumbent,
    network_of,
    order,
    settings_of,
    stored_bits_of,
    training_of,
    trains,
)

Say = Callable[[str], None]
_RUNG_NAMES = {QUICK: "quick", FULL: "full"}


@dataclass
class Search:
    """The table of all structures, and everything that was found out about them."""

    shop: Workshop
    budget: Budget
    baseline_auroc: float
    """On the selection split, of the kind that the budget limits."""
    screener: Screener
    say: Say
    margin: float = 0.0
    """AUROC above the floor that a structure should reach on the selection split: some of what passes there passes
    by luck, and the confirmation split would show it."""
    rows: dict[str, Row] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    records: dict[str, CandidateRecord] = field(default_factory=dict)
    written: dict[str, Written] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)
    """Keys of the trainings so far: plans that differ only in what follows share one."""
    stopped_because: str = "interrupted"
    controls: tuple[Control, ...] = ()
    """Beside the baseline's AUROC on the selection split: for the report of a run that confirms nothing."""
    sessions: tuple[SessionTrial, ...] = ()
    """What session options were tried before the search."""

    def add(self, plans: list[Plan], dropped: list[tuple[Plan, str]]) -> None:
        """Fill the table."""
        for plan in plans:
            self.plans[plan.id] = plan
            self.rows[plan.id] = Row(
                plan.id, settings_of(plan), trains(plan), stored_bits=stored_bits_of(plan),
                training=training_of(plan), network=network_of(plan),
            )  # fmt: skip
            self.records[plan.id] = CandidateRecord(
                id=plan.id, plan=plan, fate="not needed", reason="not looked at yet", artifact_size=None
            )
        for plan, reason in dropped:
            self.records[plan.id] = CandidateRecord(
                id=plan.id, plan=plan, fate="discarded", reason=reason, artifact_size=None
            )

    @property
    def over(self) -> Over:
        """The kind of AUROC that counts."""
        return auroc_kind(self.budget)

    @property
    def confidence(self) -> float:
        """Of the bounds on AUROC."""
        return 0.95 if self.budget.limits.auroc is None else self.budget.limits.auroc.confidence

    @property
    def limits(self) -> Rules:
        """The budget's own limits."""
        auroc = self.budget.limits.auroc
        floor = None if auroc is None else auroc_floor(auroc, self.baseline_auroc)
        return self._rules(floor)

    @property
    def aims(self) -> Rules:
        """What the search tries to reach: the limits, with the margin above the AUROC floor."""
        floor = self.limits.floor
        return self._rules(None if floor is None else min(floor + self.margin, 1.0))

    def _rules(self, floor: float | None) -> Rules:
        return Rules(self.budget.limits.artifact_size, floor, self.budget.search.trainings - len(self.trained))

    def run(self, deadline: float) -> None:
        """Decide and act until a decision to stop. `deadline` is in seconds of `time.monotonic`."""
        while True:
            rules = replace(self.aims, time_is_up=time.monotonic() > deadline)
            decision = decide(list(self.rows.values()), rules)
            if isinstance(decision, Stop):
                self.stopped_because = decision.reason
                self.shop.run.record("search stopped", {"reason": decision.reason})
                self._explain_the_rest()
                return
            self.act(decision)

    def act(self, decision: PriceStructure | Screen | Train) -> None:
        """Carry out one decision."""
        match decision:
            case PriceStructure():
                self._attempt(decision.id, self._price)
            case Screen():
                self._attempt(decision.id, self._screen)
            case Train():
                self._attempt(decision.id, partial(self._train, rung=decision.rung))

    def prepare_backups(self, deadline: float, standard_error: float) -> None:
        """Judge what may be confirmed should the smallest not be: once the confirmation split is open, nothing may be
        learned. `standard_error` is of the baseline's AUROC on the selection split.
        """
        while time.monotonic() < deadline:
            rows = list(self.rows.values())
            row = safeguard(rows, self.limits, standard_error) or backup(rows, self.limits)
            if row is None:
                return
            self.act(
                Screen(row.id) if row.fits is None else Train(row.id, FULL, "should a smaller one not be confirmed")
            )

    def price_all(self) -> None:
        """Price every structure, in table order."""
        for name in [row.id for row in self.rows.values() if row.size is None]:
            self.act(PriceStructure(name))

    def screen(self, name: str) -> bool:
        """Screen one structure; whether it fits."""
        self.act(Screen(name))
        return self.rows[name].fits is True

    def _attempt(self, name: str, action: Callable[[str], None]) -> None:
        """A candidate that cannot be built is recorded and does not end the search."""
        try:
            action(name)
        except (InputRejected, Locked, StorageFailed, TargetUnreachable):
            raise  # the surroundings fail, not this candidate
        except (BudgetcError, RuntimeError, ValueError) as error:
            self.rows[name] = replace(self.rows[name], failed=True)
            self.note(name, fate="failed", reason=f"{type(error).__name__}: {error}")
            self.say(f"{name} {self.plans[name].title()}: failed: {error}")

    def _directory(self, name: str, stage: str) -> Path:
        return self.shop.run.path / "candidates" / name / stage

    def _price(self, name: str) -> None:
        priced = price(self.plans[name], self.shop, self._directory(name, "untrained"))
        self.written[name] = priced
        self.rows[name] = replace(self.rows[name], size=priced.size)
        limit = self.budget.limits.artifact_size
        if limit is not None and priced.size > limit:
            reason = f"{format_bytes(priced.size)} is over the limit of {format_bytes(limit)}; not trained"
            self.note(name, artifact_size=priced.size, fate="discarded", reason=reason)
        else:
            self.note(name, artifact_size=priced.size, reason="keeps the size; not needed so far")

    def _screen(self, name: str) -> None:
        verdict = self.screener.screen(self.written[name])
        self.rows[name] = replace(self.rows[name], fits=verdict.fits)
        fate = "not needed" if verdict.fits else "discarded"
        self.note(name, screened=verdict.measurements, fate=fate, reason=verdict.reason)
        if not verdict.fits:
            self.say(f"{name} {self.plans[name].title()}: {verdict.reason}")

    def _train(self, name: str, rung: int) -> None:
        row = self.rows[name]
        effort = QUICK_SHARE if rung == QUICK else 1.0
        key = training_key(self.plans[name], self.shop, effort)
        built = build(self.plans[name], self.shop, effort)
        self.trained |= {key} if key is not None and row.trains else set()
        auroc = self._judge(name, built)
        self.rows[name] = replace(row, auroc={**row.auroc, rung: auroc}, size=self.written[name].size)
        known = {_RUNG_NAMES[r]: value for r, value in self.rows[name].auroc.items()}
        reason = self._train_reason(auroc, rung)
        self.note(name, fate="trained", auroc=known, trail=built.trail, reason=reason,
                   artifact_size=self.written[name].size)  # fmt: skip
        self.say(f"{name} {self.plans[name].title()}: {format_bytes(self.written[name].size)}, {reason}")

    def _judge(self, name: str, built: Built) -> float:
        self.written[name] = finish(built, self.shop, self._directory(name, "trained"))
        self.scored[name] = score_split(self.written[name], self.shop, "selection")
        return by_category(self.scored[name]).over(self.over).value

    def _train_reason(self, auroc: float, rung: int) -> str:
        floor = self.aims.floor
        found = f"AUROC {auroc:.4f} on selection ({_RUNG_NAMES[rung]} training)"
        if floor is None:
            return found
        return f"{found}, {'reaches' if auroc >= floor else 'below'} the {floor:.4f} that are aimed at"

    def _explain_the_rest(self) -> None:
        best = incumbent(list(self.rows.values()), self.aims)
        for name, row in self.rows.items():
            if self.records[name].fate != "not needed" or row.size is None:
                continue
            if best is not None and order(row) > order(best):
                self.note(name, reason=f"not trained: {best.id} is smaller and complies")
            else:
                self.note(name, reason=f"not trained: {self.stopped_because}")

    def note(self, name: str, **changes: object) -> None:
        """Change a structure's record, and log what became of it."""
        self.records[name] = self.records[name].model_copy(update=changes)
        self.shop.run.record("candidate", {"id": name, **self.records[name].model_dump(include={"fate", "reason"})})

    def reject(self, name: str, reason: str) -> None:
        """Take a structure out of the race: the full protocol did not see its cost kept."""
        self.rows[name] = replace(self.rows[name], fits=False)
        self.note(name, fate="finalist", reason=f"{self.records[name].reason}; full protocol: {reason}")
        self.say(f"{name} {self.plans[name].title()}: {reason} under the full protocol; the search goes on")

    def best_effort(self) -> tuple[str, ...]:
        """The structure that came closest, trained in full; empty when none fits."""
        nearest = closest(list(self.rows.values()), self.limits)
        if nearest is None:
            return ()
        if FULL not in nearest.auroc:
            self._attempt(nearest.id, partial(self._train, rung=FULL))
        return () if self.rows[nearest.id].failed else (nearest.id,)

    def summary(self, near: tuple[str, ...]) -> SearchSummary:
        """Counts for the report."""
        records = list(self.records.values())
        return SearchSummary(
            enumerated=len(records),
            discarded_untrained=sum(record.fate == "discarded" for record in records),
            trained=sum(bool(record.auroc) and trains(record.plan) for record in records),
            trainings=len(self.trained),
            stopped_because=self.stopped_because,
            near_ties=near,
        )

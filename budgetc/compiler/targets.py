"""Targets against published rows: what `budgetc targets validate` and `budgetc targets fit` do."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from budgetc.core.cost import CostModel
from budgetc.core.fit_plan import Derived
from budgetc.core.row import Row
from budgetc.core.target import Target
from budgetc.errors import UsageError
from budgetc.load.config import LoadedTarget, list_targets, load_target
from budgetc.load.cost_block import write_cost
from budgetc.load.rows import read_rows, read_times
from budgetc.measurement.baselines import Baselines, baselines_of
from budgetc.measurement.derive import derive
from budgetc.measurement.fit_target import fit_target
from budgetc.measurement.validating import Validation, by_group, validate_rows


@dataclass(frozen=True, slots=True)
class Fitted:
    """A target's new cost model, and the file it belongs to."""

    target: str
    path: Path
    cost: CostModel


def validate_target(
    target: str | Path, rows: str | Path | Sequence[str | Path], *, networks: str | Path | None = None
) -> Validation:
    """Errors of a target's cost model on published rows.

    Args:
        target: name or path.
        rows: CSV files, see `budgetc.load.rows.read_rows`.
        networks: shapes of the networks that rows name.

    Raises:
        ConfigError: unknown target. UsageError: a file cannot be read, or the target has no cost model.
        InputRejected: no table of rows. A value that cannot be read leaves its row out.
    """
    known = load_target(target)
    if known.target.cost is None:
        raise UsageError(
            f"target {known.target.name} has no cost model: nothing is predicted that rows could be held against"
        )
    found, left_out = _read(rows, networks, strict=False)
    return validate_rows(known.target, found, left_out, _siblings(known))


def baselines(
    target: str | Path, rows: str | Path | Sequence[str | Path], *, networks: str | Path | None = None
) -> list[Baselines]:
    """What simpler predictors do on the groups of `validate_target`, in its order."""
    found, _ = _read(rows, networks, strict=False)
    known = load_target(target)
    groups, _ = by_group(known.target, found, _siblings(known))
    return [baselines_of(members, found) for _, members in groups]


def fit_targets(
    targets: Sequence[str | Path],
    rows: str | Path | Sequence[str | Path],
    *,
    networks: str | Path | None = None,
    never_fitted: str | Path | Sequence[str | Path] = (),
    write: bool = False,
) -> list[Fitted]:
    """Cost models of targets that say how they are fitted, in order.

    Args:
        targets: names or paths; one that is derived from another takes it as fitted just before, else from its file.
        rows: CSV files of the rows that are fitted.
        never_fitted: CSV files of rows whose errors alone are reported.
        write: replace the `cost:` block of the files.

    Raises:
        as `validate_target`; UsageError: a target does not say how it is fitted.
    """
    known = [load_target(target) for target in targets]
    for one in known:
        if one.target.fit is None:
            raise UsageError(f"{one.path}: has no `fit:`, which says whose rows make its cost model; nothing to fit")
    fitted, _ = _read(rows, networks)
    others, _ = _read(never_fitted, networks)
    elsewhere = [row for file in _files(rows) for row in read_times(file)]
    made: dict[str, Fitted] = {}
    for one in known:
        plan = one.target.fit
        if plan is not None and plan.derived is not None:
            cost = derive(_base(one, plan.derived, made), plan.derived, one.target)
        else:
            cost = fit_target(one.target, fitted, others, elsewhere)
        made[one.target.name] = Fitted(one.target.name, one.path, cost)
    if write:
        for each in made.values():
            write_cost(each.path, each.cost)
    return list(made.values())


def _base(one: LoadedTarget, plan: Derived, made: dict[str, Fitted]) -> CostModel:
    if plan.target in made:
        return made[plan.target].cost
    base = load_target(plan.target, one.path.parent).target.cost
    if base is None:
        raise UsageError(f"{one.path}: derived from {plan.target}, which has no cost model; fit that first")
    return base


def _siblings(known: LoadedTarget) -> list[Target]:
    """Shipped targets: those of the same device price rows of other numbers of threads."""
    if known.target.fit is None or known.target.compute_unit == "gpu":
        return []
    return [load_target(name).target for name in list_targets()]


def _files(rows: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(file) for file in ([rows] if isinstance(rows, str | Path) else rows)]


def _read(
    rows: str | Path | Sequence[str | Path], networks: str | Path | None, *, strict: bool = True
) -> tuple[list[Row], Counter[str]]:
    shapes = None if networks is None else Path(networks)
    found, left_out = list[Row](), Counter[str]()
    for file in _files(rows):
        some, skipped = read_rows(file, shapes, strict=strict)
        found += some
        left_out += skipped
    return found, left_out

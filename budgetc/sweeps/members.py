"""What a sweep compiles: its file, and every combination in it as a compilation of its own."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from budgetc.core.frozen import Frozen
from budgetc.errors import UsageError
from budgetc.load.config import load_budget, load_target
from budgetc.load.validation import validate
from budgetc.load.yaml_file import parse_yaml, read_config_bytes, read_yaml
from budgetc.store.durable import storage_errors, write_durably


class Sweep(Frozen):
    """A sweep file. Paths start at its folder; budgets and targets may also be names of those that ship."""

    models: tuple[str, ...] = Field(min_length=1)
    budgets: tuple[str, ...] = Field(min_length=1)
    targets: tuple[str, ...] = ()
    """In place of the target that a budget names; none: that one."""
    seeds: tuple[int, ...] = ()
    """In place of the seed of a budget's search; none: that one."""
    data: str | None = None
    """Wins over the data that a budget names."""


@dataclass(frozen=True, slots=True)
class Member:
    """One compilation to do."""

    name: str
    model: Path
    budget: Path
    target: str
    seed: int


def load_sweep(path: Path) -> Sweep:
    """A sweep file, its paths made to start where the process runs.

    Raises:
        ConfigError: no such file, or not a valid one.
    """
    content = validate(Sweep, read_yaml(path), path)

    def found(name: str) -> str:
        beside = path.parent / name
        return str(beside) if beside.exists() else name

    data = None if content.data is None else str(path.parent / content.data)
    models = tuple(str(path.parent / model) for model in content.models)
    budgets, targets = tuple(map(found, content.budgets)), tuple(map(found, content.targets))
    return content.model_copy(update={"models": models, "budgets": budgets, "targets": targets, "data": data})


def members_of(
    models: Sequence[str | Path], targets: Sequence[str | Path], budgets: Sequence[str | Path], seeds: Sequence[int], *,
    folder: Path,
) -> Iterator[Member]:  # fmt: skip
    """Members of one model and seed in a row: they share most. Budgets and targets are read before anything is done."""
    names = set[str]()
    for model in map(Path, models):
        for seed in tuple(seeds) or (None,):
            for target in tuple(targets) or (None,):
                for budget in budgets:
                    member = _member(model, budget, (target, seed), folder)
                    if member.name in names:
                        raise UsageError(
                            f"two combinations are called {member.name}: rename a file, so that models, budgets and "
                            "targets of one sweep have names of their own"
                        )
                    names.add(member.name)
                    yield member


def _member(model: Path, budget: str | Path, instead: tuple[str | Path | None, int | None], folder: Path) -> Member:
    loaded, (target, seed) = load_budget(budget), instead
    settled = load_target(loaded.budget.target, loaded.path.parent) if target is None else load_target(target)
    parts = [model.stem, loaded.path.stem]
    parts += [] if target is None else [settled.path.stem]
    parts += [] if seed is None else [f"seed{seed}"]
    name = ".".join(parts)
    path = loaded.path
    if target is not None or seed is not None:
        path = folder / "budgets" / f"{name}.yaml"
        _write_budget(loaded.path, path, None if target is None else settled.path, seed)
    return Member(name, model, path, settled.target.name, loaded.budget.search.seed if seed is None else seed)


def _write_budget(source: Path, path: Path, target: Path | None, seed: int | None) -> None:
    """The budget with another target or seed as a file of its own: what a report names can be read and run again."""
    content = parse_yaml(read_config_bytes(source), source)
    assert isinstance(content, dict)  # it was validated
    start = source.parent.absolute()
    search = dict(content.get("search", {}))
    if "recipes" in search:
        search["recipes"] = [_absolute(start, name) for name in search["recipes"]]
    if seed is not None:
        search["seed"] = seed
    changed = {**content, "target": str(target.absolute()) if target else _absolute(start, content["target"])}
    changed |= {"search": search} if search else {}
    changed |= {"data": str(start / content["data"])} if "data" in content else {}
    with storage_errors(path.parent):
        path.parent.mkdir(exist_ok=True)
    # JSON is YAML that the strict reader takes, too.
    write_durably(path, (json.dumps(changed, indent=2) + "\n").encode())


def _absolute(start: Path, name: str) -> str:
    return str(start / name) if (start / name).is_file() else name

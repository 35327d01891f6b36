"""Budgets, targets and recipes: found as a path or by name, read strictly, with the digest of their bytes."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from budgetc.core.budget import Budget
from budgetc.core.plan import Step
from budgetc.core.recipe import Recipe
from budgetc.core.target import Fact, Target
from budgetc.errors import ConfigError
from budgetc.load.cpu import host_cpu, weight_levels_for
from budgetc.load.validation import Model, did_you_mean, invalid, sentences, validate, written_nulls
from budgetc.load.yaml_file import parse_yaml, read_config_bytes

Kind = Literal["target", "budget", "recipe"]
_FOLDERS: dict[Kind, str] = {"target": "targets/devices", "budget": "targets/budgets", "recipe": "recipes"}


@dataclass(frozen=True, slots=True)
class LoadedBudget:
    """A budget and the file it stands in; paths in it start at `path.parent`."""

    budget: Budget
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class LoadedTarget:
    """A target, `weight_levels` settled, and the file it stands in."""

    target: Target
    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe whose steps all settle, and the file it stands in."""

    recipe: Recipe
    path: Path
    sha256: str


def load_budget(name_or_path: str | Path) -> LoadedBudget:
    """A budget by path, else by name among targets/budgets/.

    Raises:
        ConfigError: no such budget (the known ones are listed), or not a valid one.
    """
    return LoadedBudget(*_load(Budget, "budget", name_or_path, None))


def load_target(name_or_path: str | Path, relative_to: Path | None = None) -> LoadedTarget:
    """A target by path, else by name among targets/devices/; `weight_levels: detect` is settled for this CPU.

    `relative_to` is the folder that relative paths start from: that of the budget which names the target.

    Raises:
        ConfigError: no such target (the known ones are listed), or not a valid one.
    """
    target, path, sha256 = _load(Target, "target", name_or_path, relative_to)
    return LoadedTarget(_settle_weight_levels(target), path, sha256)


def load_recipe(name_or_path: str | Path, relative_to: Path | None = None) -> LoadedRecipe:
    """A recipe by path, else by name among recipes/; `relative_to` as for `load_target`.

    Raises:
        ConfigError: no such recipe (the known ones are listed), or a step of it cannot be settled.
    """
    recipe, path, sha256 = _load(Recipe, "recipe", name_or_path, relative_to)
    problems = _step_problems(recipe)
    if problems:
        raise invalid(path, "recipe", problems)
    return LoadedRecipe(recipe, path, sha256)


def list_targets() -> tuple[str, ...]:
    """Names of the targets that ship with budgetc."""
    return _names("target")


def list_budgets() -> tuple[str, ...]:
    """Names of the budgets that ship with budgetc."""
    return _names("budget")


def list_recipes() -> tuple[str, ...]:
    """Names of the recipes that ship with budgetc."""
    return _names("recipe")


def shipped_dir(kind: Kind) -> Path:
    """Where the files that ship with budgetc live: inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_shipped" / _FOLDERS[kind]
    return installed if installed.is_dir() else package.parent / _FOLDERS[kind]


def _names(kind: Kind) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in shipped_dir(kind).glob("*.yaml")))


def _load(
    model_type: type[Model], kind: Kind, name_or_path: str | Path, relative_to: Path | None
) -> tuple[Model, Path, str]:
    path = _find(kind, os.fspath(name_or_path), relative_to or Path())
    content = read_config_bytes(path)
    data = parse_yaml(content, path)
    # `auroc:` above lines that were commented out would else be a limit that nobody checks.
    nulls = [] if kind == "recipe" else written_nulls(data)
    if nulls:
        raise invalid(path, kind, nulls)
    return validate(model_type, data, path), path, hashlib.sha256(content).hexdigest()


def _find(kind: Kind, name: str, start: Path) -> Path:
    path = start / Path(name).expanduser()
    # A folder called like a shipped budget must not hide it; a FIFO is found here and refused when read.
    if os.path.lexists(path) and not path.is_dir():
        return path
    known = _names(kind)
    if name.removesuffix(".yaml") in known:
        return shipped_dir(kind) / f"{name.removesuffix('.yaml')}.yaml"
    what = "is a folder" if path.is_dir() else "no such file"
    hint = did_you_mean(name.removesuffix(".yaml"), known)
    others = "" if hint.startswith("known") else f" known: {', '.join(known)}"
    raise ConfigError(f"unknown {kind} {name!r}: {path}: {what}, and no such name in {_FOLDERS[kind]}/; {hint}{others}")


def _settle_weight_levels(target: Target) -> Target:
    if target.weight_levels != "detect":
        return target
    machine, flags = host_cpu()
    levels, reason = weight_levels_for(machine, flags)
    fact = Fact(fact="INT8 weight levels", value=f"+-{levels}: {reason}", source=f"CPU flags of this {machine}")
    return target.model_copy(update={"weight_levels": levels, "facts": (*target.facts, fact)})


def _step_problems(recipe: Recipe) -> list[str]:
    problems: list[str] = []
    for number, template in enumerate(recipe.steps):
        empty = [setting for setting, values in template.choices.items() if not values]
        twice = sorted(set(template.settings) & set(template.choices))
        problems += [f"steps.{number}.choices.{setting}: no value to try" for setting in empty]
        problems += [f"steps.{number}: {setting} is in settings and in choices; keep one" for setting in twice]
        written = {"step": template.step, **template.settings, **dict.fromkeys(template.choices)}
        try:
            tuple(template.settled())
        except ValidationError as error:
            problems += sentences(error, Step, written, ("steps", number))
    return problems

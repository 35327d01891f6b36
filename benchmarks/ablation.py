"""What each step of a winner is worth: the same search without it, under the same budget.

    python benchmarks/ablation.py --case NAME --model model.pt --budget BUDGET --data DIR --out OUT --store DIR -o DIR
        [--quick]

OUT is a finished compilation. For every step of its plan the recipe that gave the plan is compiled again with that step
left out; everything else may be chosen anew. The bar is the bytes of what then complies, over the winner's; where
nothing complies, of what comes nearest.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from line import Line  # beside this script
from ruamel.yaml import YAML

import budgetc
from budgetc.core.plan import Plan
from budgetc.core.recipe import Recipe
from budgetc.load.config import load_budget, load_recipe
from budgetc.report.nearest import judged_candidates, nearest
from budgetc.report.schema import Report


def main() -> None:
    """One winner."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, help="what the lines are headed with")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--budget", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the artifact that was compiled")
    parser.add_argument("--store", type=Path, required=True, help="results of that compilation")
    parser.add_argument("-o", type=Path, required=True, metavar="DIR", help="everything is written here")
    parser.add_argument("--quick", action="store_true", help="leave out the last step only")
    options = parser.parse_args()
    for line in lines(options):
        line.show()


def lines(options: argparse.Namespace) -> Iterator[Line]:
    """The winner, and one line for every step that is left out."""
    report = Report.model_validate_json((options.out / "report.json").read_text(encoding="utf-8"))
    winner = next(record for record in report.candidates if record.fate == "chosen")
    assert winner.artifact_size is not None
    yield Line(f"{options.case} winner, {winner.plan.title()}", winner.artifact_size, "reported", True, "B", 1, "")
    recipe = load_recipe(winner.plan.recipe).recipe
    kinds = kinds_of(winner.plan)
    for kind in kinds[-1:] if options.quick else kinds:
        again = _compile_without(kind, recipe, options)
        yield line_without(f"{options.case} without {kind}", again, winner.artifact_size)


def kinds_of(plan: Plan) -> list[str]:
    """What can be left out: every kind of step once, as a recipe without it has none of that kind."""
    return list(dict.fromkeys(step.step for step in plan.steps))


def line_without(name: str, again: Report, winner: int) -> Line:
    """The bytes of what complies, else of the nearest miss, over those of the winner; 0 where neither has a size."""
    complies = again.verdict is not None and again.verdict.overall.startswith("compliant")
    found = next((one for one in again.candidates if one.fate == "chosen"), None)
    if found is None and (closest := nearest(judged_candidates(again))) is not None:
        found = closest.candidate
    if found is None or found.artifact_size is None:
        return Line(f"{name}: nothing complies", 0, "reported", False, "1", 1, "")
    words = found.plan.title() if complies else f"nothing complies; nearest: {found.plan.title()}"
    ratio = round(found.artifact_size / winner, 3)
    return Line(f"{name}: bytes over the winner's", ratio, "reported", complies, "1", 1, words)


def _compile_without(kind: str, recipe: Recipe, options: argparse.Namespace) -> Report:
    folder: Path = options.o / f"without-{kind}"
    folder.mkdir(parents=True, exist_ok=True)
    rest = recipe.model_copy(
        update={"name": f"without-{kind}", "steps": tuple(step for step in recipe.steps if step.step != kind)}
    )
    path = folder / f"without-{kind}.yaml"
    YAML().dump(rest.model_dump(mode="json", exclude_defaults=True), path)
    budget = load_budget(options.budget).budget
    raw = budget.model_dump(mode="json", exclude_none=True)
    raw["search"] = {**raw["search"], "recipes": [str(path)], "seeds": 1}
    YAML().dump(raw, folder / "budget.yaml")
    return budgetc.compile(
        options.model, budget=folder / "budget.yaml", data=options.data, out=folder / "out", store=options.store
    )


if __name__ == "__main__":
    main()

"""`recipes`, `schema`: what ships with budgetc beside targets, and what its files look like."""

from pathlib import Path
from typing import Annotated

import typer

from budgetc.cli.output import Json, show, show_file, show_listed
from budgetc.errors import UsageError

Name = Annotated[str, typer.Argument(help="Its name, or a path.")]
File = Annotated[Path, typer.Argument(help="The file to check.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    recipes = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Recipes: list, show, check.")
    recipes.command("list")(list_recipes)
    recipes.command("show")(show_recipe)
    recipes.command("check")(check_recipe)
    app.add_typer(recipes, name="recipes")
    app.command("schema")(schema)


def list_recipes(json: Json = False) -> None:
    """Recipes that ship with budgetc."""
    from budgetc.load import config

    show_listed(
        "recipes", {name: config.load_recipe(name).recipe.description for name in config.list_recipes()}, json=json
    )


def show_recipe(name: Name) -> None:
    """The file of a recipe."""
    from budgetc.load.config import load_recipe

    show_file(load_recipe(name).path)


def check_recipe(file: File) -> None:
    """Whether a file is a valid recipe, and how many plans it makes."""
    from budgetc.load.config import load_recipe

    loaded = load_recipe(file)
    plans = {plan.id for plan in loaded.recipe.plans(0)}
    show(f"{loaded.path}: a valid recipe, {loaded.recipe.name}, {len(plans)} plans")


def schema(file: Annotated[str, typer.Argument(help="report or artifact.")]) -> None:
    """The JSON Schema of report.json or artifact.json."""
    from budgetc.report.emit import artifact_json_schema, report_json_schema

    kinds = {"report": report_json_schema, "artifact": artifact_json_schema}
    if file not in kinds:
        raise UsageError(f"schema {file}: unknown; there are {', '.join(kinds)}")
    import json

    show(json.dumps(kinds[file](), indent=2, ensure_ascii=False))

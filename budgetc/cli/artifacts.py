"""`budgetc run`: score pictures with an artifact."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.output import Json, show, show_json
from budgetc.cli.progress import printable
from budgetc.errors import InputRejected

if TYPE_CHECKING:
    from budgetc.runtime.artifact import ScoredImage


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("run")(run)


def run(
    out: Annotated[Path, typer.Argument(help="Directory of an artifact.")],
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    json: Json = False,
) -> None:
    """Score pictures: a line each with its score and whether it is anomalous."""
    from budgetc.runtime.artifact import load_artifact

    artifact = load_artifact(out)
    scored: list[tuple[Path, ScoredImage]] = []
    unreadable: list[tuple[Path, str]] = []
    for image in images:
        try:
            found = artifact.score(image)
        except InputRejected as error:
            unreadable.append((image, str(error)))
            continue
        scored.append((image, found))
        if not json:
            show(f"{found.score:.6g}\t{'anomalous' if found.anomalous else 'normal'}\t{printable(str(image), keep='')}")
    if json:
        show_json({
            "threshold": artifact.spec.threshold,
            "images": [{"file": str(path), "score": one.score, "anomalous": one.anomalous} for path, one in scored],
            "unreadable": [{"file": str(path), "reason": reason} for path, reason in unreadable],
        })  # fmt: skip
    if unreadable:
        named = "\n".join(f"  {reason}" for _, reason in unreadable)
        raise InputRejected(f"{len(unreadable)} of {len(images)} images could not be scored:\n{named}")

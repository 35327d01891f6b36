"""`budgetc run` and `budgetc install`: score pictures with an artifact, and make it load faster on this machine."""

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.output import Json, show, show_json
from budgetc.cli.progress import Display, printable
from budgetc.errors import InputRejected

if TYPE_CHECKING:
    from budgetc.runtime.artifact import Artifact, ScoredImage
    from budgetc.runtime.monitor import MonitorState


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("run")(run)
    app.command("install")(install)


Out = Annotated[Path, typer.Argument(help="Directory of an artifact.")]
Cache = Annotated[
    Path | None, typer.Option(help="Directory of optimized graphs; by default `budgetc` in the user's cache.")
]


def install(out: Out, cache: Cache = None, json: Json = False) -> None:
    """Optimize an artifact's graph once for this machine. Every load then takes less time and memory.

    The artifact is only read, and scores the same without. Do it again after a new onnxruntime.
    """
    from budgetc.core.quantities import format_bytes
    from budgetc.runtime.artifact import install_artifact

    graph = install_artifact(out, cache=cache)
    size = sum(file.stat().st_size for file in graph.parent.iterdir())
    if json:
        show_json({"graph": str(graph), "bytes": size})
    else:
        show(f"installed {printable(str(graph))} ({format_bytes(size)})")


def run(
    out: Out,
    images: Annotated[list[Path], typer.Argument(help="Image files.")],
    *,
    cache: Cache = None,
    category: Annotated[
        str | None, typer.Option(help="What the images show: judge them by the threshold of this category.")
    ] = None,
    monitor: Annotated[
        bool, typer.Option("--monitor", help="Images are successive frames: p-value, martingale, alarm, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Score pictures with an artifact. A line each with its score and whether it is anomalous.

    Of a detector of motion the images are successive frames of one clip, in order; the first ones have no score yet.
    """
    artifact = _loaded(out, cache)
    threshold = artifact.spec.threshold_of(category)
    watch = artifact.monitor() if monitor else None
    scored: list[tuple[Path, ScoredImage, MonitorState | None]] = []
    unreadable: list[tuple[Path, str]] = []
    for image in images:
        try:
            found = artifact.score(image, category)
        except InputRejected as error:
            unreadable.append((image, str(error)))
            continue
        state = watch.update(found.score) if watch is not None and not found.missing else None
        scored.append((image, found, state))
        if not json:
            show(f"{_judged(found, state)}\t{printable(str(image), keep='')}")
    if json:
        show_json({
            "threshold": threshold,
            "images": [
                {"file": str(path), **_plain(one), **(asdict(state) if state else {})} for path, one, state in scored
            ],
            "unreadable": [{"file": str(path), "reason": reason} for path, reason in unreadable],
        })  # fmt: skip
    if unreadable:
        named = "\n".join(f"  {reason}" for _, reason in unreadable)
        raise InputRejected(f"{len(unreadable)} of {len(images)} images could not be scored:\n{named}")


def _judged(found: "ScoredImage", state: "MonitorState | None") -> str:
    """Score and verdict; of a frame that comes too early for a score, how many more are needed."""
    if found.missing:
        return f"-\t{found.missing} more frames needed"
    return "\t".join([f"{found.score:.6g}", "anomalous" if found.anomalous else "normal", *_watched(state)])


def _plain(found: "ScoredImage") -> dict[str, object]:
    if found.missing:
        return {"missing": found.missing}
    return {"score": found.score, "anomalous": found.anomalous, **found.parts}


def _watched(state: "MonitorState | None") -> list[str]:
    """Columns of a line of `run --monitor`."""
    if state is None:
        return []
    numbers = f"p={state.p_value:.4g}", f"log_martingale={state.log_martingale:.4g}", f"cusum={state.cusum:.4g}"
    return [*numbers, "alarm" if state.alarm else "-"]


def _loaded(out: Path, cache: Path | None) -> "Artifact":
    """The artifact; what the runtime warns of, or that it lacks its optimized graph, is a line on stderr."""
    from budgetc.runtime.artifact import load_artifact

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        artifact = load_artifact(out, cache=cache)
    said = [f"warning: {one.message}" for one in caught]
    if artifact.spec.session.preoptimized and not (artifact.installed or said):
        said.append(
            f"note: {out} was measured with its graph optimized beforehand: "
            f"`budgetc install {out}` makes it load faster, and with the memory that was promised"
        )
    for sentence in said:
        Display().say(" ".join(sentence.split()))
    return artifact

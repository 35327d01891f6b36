"""`budgetc train DETECTOR`: a detector from normal pictures; each has options of its own beside those of all."""

import sys
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from budgetc.cli.output import Group, Json, show, show_json
from budgetc.cli.progress import Display
from budgetc.cli.trainable import TRAINABLE, Trainable
from budgetc.cli.values import input_size_of

if TYPE_CHECKING:
    from budgetc.compiler.training import Trained
    from budgetc.compiler.untrained import Untrained
    from budgetc.detectors.detector import Detector

_LEARNING = ("variants", "epochs", "learning_rate", "batch")
"""Options of a detector that learns by steps."""


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    train = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None,
        help="Train a detector on normal pictures and fit its threshold.",
    )  # fmt: skip
    for name, known in TRAINABLE.items():
        train.command(name)(_command(name, known))
    app.add_typer(train, name="train")


def _command(name: str, known: Trainable) -> Callable[..., None]:
    """`train NAME`: the options of all detectors, with this one's epochs and rate, and then its own."""
    own = [one for one in signature(known.make).parameters.values() if one.kind is Parameter.KEYWORD_ONLY]

    def command(**given: Any) -> None:
        options = {one.name: given.pop(one.name) for one in own}
        given = {"variants": 1} | given
        _train(name, lambda size, seed: known.make(size, seed, **options), **given)

    defaults = {"epochs": known.epochs, "learning_rate": known.learning_rate}
    shared = [one.replace(default=defaults.get(one.name, one.default))
              for one in signature(_train).parameters.values() if one.kind is Parameter.KEYWORD_ONLY
              and (known.epochs > 0 or one.name not in _LEARNING)]  # fmt: skip
    command.__doc__ = known.make.__doc__
    command.__signature__ = Signature([*shared[:3], *own, *shared[3:]])  # type: ignore[attr-defined]  # inspect reads it
    command.__annotations__ = {one.name: one.annotation for one in (*shared, *own)}
    return command


def _train(
    name: str,
    make: "Callable[[tuple[int, int], int], Detector | Untrained]",
    *,
    data: Annotated[Path, typer.Option(help="Data set; only its normal training pictures are used.")],
    output: Annotated[Path, typer.Option("-o", "--out", help="The bundle to write.")] = Path("model.pt"),
    input_size: Annotated[str, typer.Option(help="SIDE or HEIGHTxWIDTH in pixels.")] = "64",
    variants: Annotated[
        int | None,
        typer.Option(min=1, help="Pictures made of each normal. [as many as make 2500, at most 16, of frames 3]"),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="At most; it stops early.")] = 1,
    learning_rate: Annotated[float, typer.Option(min=1e-8, help="Of Adam.")] = 1.0,
    batch: Annotated[int, typer.Option(min=2, help="Pictures of one gradient step.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and the held-out choice.")] = 0,
    group: Group = None,
    train_device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Json = False,
) -> None:
    """Train what `make` makes of a size and a seed."""
    size = input_size_of(input_size)

    from budgetc.compiler.training import train_bundle
    from budgetc.compiler.untrained import Untrained
    from budgetc.training.loop import Effort

    made = make(size, seed)
    detector, source = (made.detector, made.source) if isinstance(made, Untrained) else (made, None)
    effort = Effort(epochs, learning_rate, seed, batch, label=f"training {name}")
    display = Display()
    trained = train_bundle(
        detector, data=data, out=output, effort=effort, group=group, variants=variants,
        train_device=train_device, source=source, progress=display.progress,
    )  # fmt: skip
    if trained.curve.advice is not None:
        print(f"note: {trained.curve.advice}", file=sys.stderr)
    _print(trained, json=json)


def _print(trained: "Trained", *, json: bool) -> None:
    from budgetc.report.words import aligned, quantity

    if json:
        show_json({
            "bundle": str(trained.path), "size_bytes": trained.size_bytes, "detector": trained.detector.family,
            "parameters": trained.detector.parameters(), "epochs": trained.curve.epochs,
            "best_epoch": trained.curve.best_epoch, "training_loss": trained.curve.training_loss,
            "held_out_loss": trained.curve.held_out_loss,
            "threshold": trained.threshold, "training_images": trained.images,
            "calibration_images": trained.calibration,
        })  # fmt: skip
        return
    loss = trained.curve.held_out_loss
    normals = f"{trained.images} normal {_samples(trained.detector)}"
    learned = [("fitted to", normals)] if loss is None else [
        ("trained on", f"{normals}, {trained.curve.epochs} epoch{'s' * (trained.curve.epochs > 1)}"),
        ("held-out loss", f"{loss:.5g}"),
    ]  # fmt: skip
    rows = [
        ("bundle", f"{trained.path}  ({quantity(trained.size_bytes, 'B')})"),
        ("deployed parameters", f"{trained.detector.parameters():,}"),
        *learned,
        ("threshold", f"{trained.threshold:.6g}  (5 % of {trained.calibration} calibration normals exceed it)"),
    ]
    show(aligned(rows))


def _samples(detector: "Detector") -> str:
    return "pictures" if detector.config.motion is None else "samples of motion"

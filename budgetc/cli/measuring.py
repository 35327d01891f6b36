"""`measure`: what a detector costs, here, on a board, or as predicted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.evidence import counted_row, measured_row
from budgetc.cli.output import Group, Json, leave, show, show_json
from budgetc.cli.progress import Display
from budgetc.cli.values import new_file, only_one
from budgetc.errors import UsageError

if TYPE_CHECKING:
    from budgetc.compiler.emulating import Emulated
    from budgetc.compiler.measuring import Cost
    from budgetc.measurement.board.record import BoardRecord

DEVICE_HELP = (
    "Board to measure on: ssh://user@host, ssh://user@host:port, either with ?python=PATH. The system's ssh is used, "
    "with keys and known hosts from ~/.ssh or BUDGETC_SSH_OPTIONS; it asks nothing, and the host key must be known."
)

EMULATE_HELP = (
    "Score on the target's instruction set under QEMU instead: AUROC there, nothing about time. What that needs is "
    "fetched once (Debian, PyPI); OpenCV only for a detector of motion."
)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("measure")(measure)


def measure(
    file: Annotated[Path, typer.Argument(help="Directory of an artifact, or a bundle.")],
    *,
    target: Annotated[str, typer.Option(help="Name in targets/devices/, or a path.")] = "host-cpu",
    data: Annotated[
        Path | None, typer.Option(help="Data set whose pictures are timed, as compile does; else noise of input size.")
    ] = None,
    group: Group = None,
    emulate: Annotated[
        bool,
        typer.Option("--emulate", help=EMULATE_HELP),
    ] = False,
    device: Annotated[str | None, typer.Option(help=DEVICE_HELP)] = None,
    kit: Annotated[
        Path | None,
        typer.Option(help="Write this zip for a board without a network: unpack it there, run python3 run_me.py."),
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--import", help="results.json that a kit of the same file wrote on the board.")
    ] = None,
    with_load: Annotated[int, typer.Option(help="Busy processes beside, on the board (--device, --kit).")] = 0,
    soak: Annotated[
        float, typer.Option(help="Also score for this many minutes, on the board (--device, --kit).")
    ] = 0.0,
    json: Json = False,
) -> None:
    """Size, latency and memory of a detector on a target. Here, on a board, or predicted; --emulate: scores there.

    A detector of motion gets successive frames of one clip, with --emulate all clips; its time holds the optical flow.

    Exit code 6: the board is not there, or lacks something; 7: somebody else measures on it.
    """
    only_one({"--emulate": emulate, "--device": device, "--kit": kit, "--import": results})
    if kit is not None:
        _new_kit(kit, json=json)
    if emulate:
        _emulate(file, target=target, data=data, group=group, json=json)
        return
    from budgetc.compiler import boards
    from budgetc.compiler.measuring import measure_file
    from budgetc.report.words import aligned

    question = boards.Question(file, target, data, group, boards.Beside(with_load, soak))
    if kit is not None:
        boards.write_kit(question, kit)
        show(f"{kit}: carry it to the board, unpack it, run python3 run_me.py, and bring results.json back")
        return
    if device is not None:
        found = boards.measure_on_board(question, device, Display().say)
    else:
        _refuse_beside(question.beside)
        brought = boards.measure_imported(question, results, Display().say) if results is not None else None
        found = brought or measure_file(file, target=target, data=data, group=group)
    if json:
        show_json(found)
        return
    rows = [measured_row(one.metric, one) for one in found.measurements]
    show(f"{aligned(rows)}\n\n{found.target} ({found.measurements[-1].device}){_board_words(found)}")


def _new_kit(kit: Path, *, json: bool) -> None:
    new_file("--kit", kit)
    if json:
        raise UsageError("--kit measures nothing yet, so there is no --json of it; give --json with --import")


def _refuse_beside(beside: "object") -> None:
    from budgetc.compiler.boards import Beside

    if beside != Beside():
        raise UsageError("--with-load and --soak are for a board: give --device or --kit, too")


def _board_words(found: "Cost") -> str:
    """What else is known of a board; nothing where there is none."""
    from budgetc.report.words import aligned

    return "" if found.board is None else f"\n\n{aligned(_board_rows(found.board))}"


def _board_rows(board: "BoardRecord") -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in board.versions.items())
    rows = [("runtime", f"Python {board.facts.get('python', '?')}, {versions}")]
    if board.facts.get("power_mode"):
        rows.append(("power mode", str(board.facts["power_mode"])))
    hottest = max((t for one in board.samples for t in one.temperatures_c.values()), default=None)
    if hottest is not None:
        rows.append(("hottest sensor", f"{hottest:.1f} C"))
    rows.append(("throttled by", ", ".join(board.throttled_by) or "nothing seen"))
    if board.parity is not None:
        one = board.parity
        difference = f"scores differ by at most {one.largest_difference:.2g} on {one.n} images"
        rows.append(("beside this machine", f"{difference}, {one.other_decisions} other decisions"))
    if board.soak_drift is not None:
        rows.append(("soak", f"slowest ten seconds {board.soak_drift:+.1%} against the first"))
    return rows


def _emulate(file: Path, *, target: str, data: Path | None, group: str | None, json: bool) -> None:
    from budgetc.compiler.emulating import emulate_file

    display = Display()
    found = emulate_file(file, target=target, data=data, group=group, progress=display.progress)
    display.clear()
    if json:
        show_json(found)
    else:
        show(_emulated(found))
    leave(0 if found.agreement.holds else 3)


def _emulated(found: "Emulated") -> str:
    from budgetc.report.words import aligned, percent

    agreement = found.agreement
    rows = []
    if found.quality is not None and found.here is not None and found.auroc_loss is not None:
        rows = [
            counted_row("AUROC there", found.quality.auroc_mean),
            counted_row("AUROC on this machine", found.here.auroc_mean),
            counted_row("AUROC lost there", found.auroc_loss),
            measured_row("false-positive rate there", found.quality.false_positive_rate),
            ("other decisions", str(agreement.decisions), f"of {agreement.n} images"),
        ]
    middle, most = percent(agreement.median_difference), percent(agreement.largest_difference)
    rows.append(("scores differ by", f"{middle} of their range (median), {most} at most", f"n = {agreement.n}"))
    words = "it agrees with this machine" if agreement.holds else f"it does not agree: {agreement.problem}"
    return f"{aligned(rows)}\n\n{found.target} ({found.device}, {found.runtime}): {words}"

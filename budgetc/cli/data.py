"""`budgetc data check`: is this data set enough, and what should be photographed next?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.output import Group, Json, leave, show, show_json
from budgetc.cli.progress import Display

if TYPE_CHECKING:
    from budgetc.compiler.data_record import Curve, DataCheck, Finding

_FILES = 3
_REJECTED = 4
_TRENDS = {
    "still improves": "more normals still help",
    "flat": "more normals of the same kind would hardly help",
    "not clear": "not clear: the draws disagree",
    "too few to tell": "too few normals to tell",
    "not seen": "cannot tell: the plain memory does not see these anomalies, a detector may",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Data sets: check.")
    data.callback()(_group)
    data.command("check")(check)
    app.add_typer(data, name="data")


def _group() -> None:
    """Data sets: check."""


def check(
    path: Annotated[Path, typer.Argument(help="A data set, or a folder of pictures that is to become one.")],
    *,
    group: Group = None,
    files: Annotated[
        bool, typer.Option("--files", help=f"Name every picture of a finding, not only {_FILES}.")
    ] = False,
    json: Json = False,
) -> None:
    """Look a data set over: enough normals, copies, exposure, sharpness, groups; what to photograph next.

    Exit codes: 0 budgetc compiles with this data, whatever was found in it; 4 it does not, and the reason is given;
    2 there is nothing at the path, or its factors.yaml is no YAML.
    """
    from budgetc.compiler.data_check import check_data

    display = Display()
    found = check_data(path, group=group)
    display.clear()
    if json:
        show_json(found)
    else:
        show(_text(found, None if files else _FILES))
    if not found.accepted:
        display.say(f"budgetc would not compile with this data: {found.refusal}")
        leave(_REJECTED)


def _text(found: "DataCheck", files: int | None) -> str:
    from budgetc.report.controls import control_rows
    from budgetc.report.words import aligned, clean

    sections = [_stock(found)]
    sections.append("What to look at\n" + ("\n".join(_finding(one, files) for one in found.findings) or "  nothing"))
    if found.label_light:
        sections.append("Without real anomalies\n" + "\n".join(f"  {clean(one)}" for one in found.label_light))
    if found.curves:
        sections.append("Enough normals? (a plain memory of patches with more and more of them; 10 draws each)\n"
                        + "\n".join(_curve(one) for one in found.curves))  # fmt: skip
    if found.controls:
        rows = [(f"  {name}", words) for name, words in control_rows(found.controls)]
        sections.append("Without any detector, on the selection split\n" + aligned(rows))
    if found.floors:
        sections.append(_floors(found))
    photograph = "\n".join(f"  {number}. {clean(one)}" for number, one in enumerate(found.photograph, 1))
    sections.append("What to photograph next\n" + (photograph or "  nothing that this check could think of"))
    return "\n\n".join(sections)


def _stock(found: "DataCheck") -> str:
    from budgetc.report.words import aligned, clean

    rows = [("part", "category", "kind", "pictures", "groups")]
    rows += [(one.part, clean(one.category), clean(one.defect), str(one.pictures), str(one.groups))
             for one in found.stock]  # fmt: skip
    groups = found.groups
    spread = f"{groups.count} groups ({groups.source}) of {groups.smallest} to {groups.largest} pictures"
    lines = [f"{clean(found.data)}: {'accepted' if found.accepted else 'not accepted'}", aligned(rows), spread]
    if found.splits:
        counts = [
            (name, *(str(split[what]) for what in ("good", "bad", "groups"))) for name, split in found.splits.items()
        ]
        lines.append(aligned([("split", "good", "bad", "groups"), *counts]))
    return "\n\n".join(lines)


def _finding(one: "Finding", files: int | None) -> str:
    from budgetc.report.words import clean

    shown = one.files[:files]
    more = ", ..." if len(shown) < len(one.files) else ""
    names = f"\n    {', '.join(map(clean, shown))}{more}" if shown else ""
    return f"  {one.kind}: {clean(one.text)}{names}"


def _curve(one: "Curve") -> str:
    from budgetc.report.words import clean

    name = "AUROC on selection" if one.metric == "auroc" else "score of unseen normals (lower is better)"
    steps = ", ".join(f"{point.normals}: {point.value:.3f}" for point in one.points)
    lines = [f"  {clean(one.category)}: {_TRENDS[one.trend]}"]
    if steps:
        lines.append(f"    {name} by normals: {steps}")
    if one.per_doubling is not None:
        sign = f"{one.per_doubling:+.3f}" if one.metric == "auroc" else f"{-100 * one.per_doubling:+.0f} %"
        lines.append(f"    last doubling: {sign}")
    return "\n".join(lines)


def _floors(found: "DataCheck") -> str:
    from budgetc.report.words import aligned

    rows = [("  floor", "if the AUROC is", "groups needed", "good", "bad")]
    for one in found.floors:
        short = [f"{have} ({_short(one.needed - have)})" for have in (one.good, one.bad)]
        rows.append((f"  {one.floor:.2f}", f"{one.truth:.2f}", f"{one.needed} of each", short[0], short[1]))
    return "What the confirmation split can certify (95 % confidence, 80 % power)\n" + aligned(rows)


def _short(missing: int) -> str:
    return f"{missing} short" if missing > 0 else "enough"

"""The controls beside an AUROC, in words and as a table."""

from collections.abc import Sequence

from budgetc.core.quality import Control
from budgetc.report.tables import Table
from budgetc.report.words import ABSENT, backing, clean, described, markdown_table, quantity

ABOUT_CONTROLS = (
    "What can be told without a detector: the Mahalanobis distance of two or four plain numbers to the training "
    "normals, on the same images. A detector that is less than 0.05 above the better one is not worth compressing."
)


def control_rows(controls: Sequence[Control]) -> list[tuple[str, str]]:
    """(name, words) of each control, for a terminal."""
    return [(one.control, _words(one)) for one in controls]


def controls_markdown(controls: Sequence[Control]) -> list[str]:
    """Paragraph and table; empty without controls."""
    table = controls_table(controls)
    return [ABOUT_CONTROLS, markdown_table(table.header, table.rows)] if table.rows else []


def controls_table(controls: Sequence[Control]) -> Table:
    """Each control with how far baseline and artifact are above it."""
    subjects = list(dict.fromkeys(subject for one in controls for subject in one.gaps))
    rows = [
        (one.control, one.reason or ABSENT if one.auroc is None else described(one.auroc.model_copy(update=_NO_NOTE)),
         *(_gap(one, subject) for subject in subjects), _defects(one))
        for one in controls
    ]  # fmt: skip
    header = ["Control", "AUROC", *(f"{subject.capitalize()} above it" for subject in subjects), "By defect type"]
    return Table(header, rows)


_NO_NOTE = {"note": None}


def _words(control: Control) -> str:
    if control.auroc is None:
        return control.reason
    gaps = "; ".join(f"{subject} {gap.value:+.3f}" for subject, gap in control.gaps.items())
    support = backing(control.auroc, with_confidence=True, with_note=False)
    above = f"; {gaps} above it" if gaps else ""
    return clean(f"AUROC {quantity(control.auroc.value, '1')} ({support}){above}")


def _gap(control: Control, subject: str) -> str:
    gap = control.gaps.get(subject)
    return ABSENT if gap is None else described(gap.model_copy(update=_NO_NOTE))


def _defects(control: Control) -> str:
    return ", ".join(f"{defect} {value:.2f}" for defect, value in control.defects.items()) or ABSENT

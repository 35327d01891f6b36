"""The tables of a report as plain cells: `report.md` and `report.html` write the same ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from budgetc.core.layout import REPORT_HTML, REPORT_MARKDOWN
from budgetc.core.measurement import Measurement
from budgetc.report.schema import CandidateRecord, CategoryLoss, Fate, Quality, Report, SeedRecord, Subject
from budgetc.report.words import ABSENT, described, percent, quantity

FATES: tuple[Fate, ...] = ("chosen", "finalist", "trained", "not needed", "discarded", "failed")
"""The order in which candidates are listed."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are text: whoever writes them escapes them."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def trail_table(candidate: CandidateRecord) -> Table:
    """What each step did to a candidate, as its training saw it."""
    rows = [
        (step.step, f"{step.parameters:,}", f"{step.seconds:.1f} s", str(step.epochs or ABSENT),
         loss_words(step.training_loss), loss_words(step.held_out_loss), step.note)
        for step in candidate.trail
    ]  # fmt: skip
    header = ["Step", "Parameters after it", "Time", "Epochs", "Training loss", "Held-out loss", "Note"]
    return Table(header, rows)


def seeds_table(seeds: Sequence[SeedRecord]) -> Table:
    """How much of the AUROC is luck."""
    rows = [
        (str(one.seed), f"{one.selection_auroc:.3f}", f"{one.confirmation_auroc:.3f}", f"{one.auroc_loss:+.3f}")
        for one in seeds
    ]
    return Table(["Seed", "AUROC (selection)", "AUROC (confirmation)", "Loss against the baseline"], rows)


def splits_table(report: Report) -> Table:
    """Pictures and groups of every split."""
    counted = list(dict.fromkeys(what for counts in report.splits.values() for what in counts))
    rows = [(name, *(str(counts.get(what, ABSENT)) for what in counted)) for name, counts in report.splits.items()]
    return Table(["Split", *counted], rows)


def splits_words(report: Report) -> str:
    """What was done so that the figures are no luck."""
    uses = report.confirmation_uses
    often = {0: "not opened", 1: "opened once"}.get(
        uses, f"opened {uses} times with different inputs, which makes its figures optimistic"
    )
    return f"Groups (one physical part, or one clip) never cross splits. The confirmation split was {often}."


def aurocs_table(quality: Quality, before: Quality | None) -> Table:
    """Overall figures beside the baseline's."""
    names = ["AUROC, mean over categories", "AUROC, worst category", "AUROC, all images pooled",
             "Pixel AUROC, mean over categories", "Pixel AUROC, worst category", "AUPRO, mean over categories",
             "AUPRO, worst category", "False-positive rate at the threshold"]  # fmt: skip
    columns = [_overall_figures(quality), _overall_figures(before)]
    rows = [row for row in zip(names, *columns, strict=True) if row[1:] != (ABSENT, ABSENT)]
    return Table(["", "Artifact", "Baseline"], rows)


def categories_table(quality: Quality, before: Quality | None, losses: Sequence[CategoryLoss] = ()) -> Table:
    """AUROC by product, and what each lost."""
    then = {category.category: category.auroc for category in before.categories} if before else {}
    lost = {one.category: _auroc_cell(one.auroc_loss) for one in losses}
    rows = [
        (one.category, str(one.good), str(one.bad), _auroc_cell(one.auroc), _auroc_cell(then.get(one.category)),
         *([lost.get(one.category, ABSENT)] if lost else []))
        for one in quality.categories
    ]  # fmt: skip
    # The notes on the method are those of the table above.
    return Table(["Category", "Good", "Bad", "AUROC", "Baseline's AUROC", *(["Loss"] if lost else [])], rows)


def lost_most(losses: Sequence[CategoryLoss]) -> str:
    """The sentence about the category that a mean may hide; empty where there is only one."""
    if not losses:
        return ""
    return f"The category that lost most is {losses[0].category}: {_auroc_cell(losses[0].auroc_loss)}."


def alarms_table(quality: Quality) -> Table:
    """False alarms by product, by the threshold of all and by its own; empty where there is only one product."""
    if len(quality.categories) < 2:
        return Table([], [])
    rows = [
        (one.category, *(ABSENT if found is None else described(found.model_copy(update={"note": None}))
                         for found in (one.false_positive_rate, one.own_false_positive_rate)),
         "too few calibration normals" if one.threshold is None else f"{one.threshold:.6g}")
        for one in quality.categories
    ]  # fmt: skip
    return Table(["Category", "False alarms, threshold of all", "False alarms, own threshold", "Own threshold"], rows)


def own_words(quality: Quality) -> str:
    """How to use the thresholds of single categories; empty where there are none."""
    if all(one.threshold is None for one in quality.categories):
        return ""
    return " With `--category NAME` the threshold of that category counts, for a machine that knows what it looks at."


def pixels_table(quality: Quality, before: Quality | None) -> Table:
    """How well maps mark defects, by product; a product without masks has no figures, and the reason says so."""
    if quality.pixels is None:
        return Table([], [])
    then = {one.category: one for one in before.pixels.categories} if before and before.pixels else {}
    rows = []
    for one in quality.pixels.categories:
        both = (one, then.get(one.category))
        figures = [found for who in both for found in ((who.auroc, who.aupro) if who is not None else (None, None))]
        rows.append((one.category, *map(_pixel_cell, figures), one.reason))
    return Table(["Category", "Pixel AUROC", "AUPRO", "Baseline's pixel AUROC", "Baseline's AUPRO", "Note"], rows)


def defects_table(quality: Quality, before: Quality | None) -> Table:
    """AUROC and recall by defect type, the worst first."""
    found, found_before = _recalls(quality), _recalls(before)
    auroc, auroc_before = _defect_aurocs(quality), _defect_aurocs(before)
    own = {one.defect: _share(one.found_by_own, one.of) for one in quality.recall if one.found_by_own is not None}
    names = [*auroc, *(name for name in found if name not in auroc)]
    columns = [auroc, auroc_before, found, found_before, *([own] if own else [])]
    rows = [(name, *(column.get(name, ABSENT) for column in columns)) for name in names]
    header = ["Defect type or factor", "AUROC", "Baseline's AUROC", "Found at the threshold", "Baseline finds",
              *(["Found at the own thresholds"] if own else [])]  # fmt: skip
    return Table(header, rows)


def files_table(subject: Subject) -> Table:
    """What is deployed."""
    files = [(file, quantity(size, "B"), f"{size:,}") for file, size in subject.files.items()]
    return Table(["Deployed file", "Size", "Bytes"], files)


def measurements_table(subject: Subject) -> Table:
    """Every number of the full protocol."""
    rows = [
        (one.metric, described(one.model_copy(update={"note": None})), one.device, one.runtime or ABSENT)
        for one in subject.measurements
    ]  # fmt: skip
    return Table(["Measurement", "Value", "Device", "Runtime"], rows)


def notes(subject: Subject) -> dict[str, list[str]]:
    """Each note on how numbers were found once, with the names it is about."""
    about: dict[str, list[str]] = {}
    for one in subject.measurements:
        if one.note:
            about.setdefault(one.note, []).append(one.metric)
    return about


def search_rows(report: Report) -> list[tuple[str, str]]:
    """What the search did."""
    search = report.search
    return [
        ("Structures enumerated", str(search.enumerated)),
        ("Discarded without training", str(search.discarded_untrained)),
        ("Candidates trained", str(search.trained)),
        ("Training runs, all rungs", str(search.trainings)),
        ("Stopped because", search.stopped_because),
        ("Near ties", ", ".join(search.near_ties) or "none"),
        ("Time", f"{report.seconds:.0f} s"),
    ]


def candidates_table(report: Report) -> Table:
    """Every candidate with what became of it and why, the chosen one first."""
    order = sorted(report.candidates, key=lambda one: (FATES.index(one.fate), one.artifact_size or 0, one.id))
    limited = frozenset(name for name, limit in report.budget.limits if limit is not None)
    rows = [
        (one.id, one.plan.title(), one.fate, ABSENT if one.artifact_size is None else quantity(one.artifact_size, "B"),
         _screened(one, limited), _by_rung(one), one.reason)
        for one in order
    ]  # fmt: skip
    return Table(["Candidate", "Plan", "Fate", "Size", "Screened", "AUROC (selection)", "Reason"], rows)


def digests_table(report: Report) -> Table:
    """Inputs and outputs."""
    # The forms of the report cannot hold their own digests; report.json does.
    outputs = {name: value for name, value in report.outputs.items() if name not in (REPORT_MARKDOWN, REPORT_HTML)}
    rows = [("input", name, digest) for name, digest in report.inputs.items()]
    rows += [("output", name, digest) for name, digest in outputs.items()]
    return Table(["", "Name", "sha256"], rows)


def loss_words(loss: float | None) -> str:
    """Four digits."""
    return ABSENT if loss is None else f"{loss:.4g}"


def _overall_figures(quality: Quality | None) -> list[str]:
    if quality is None:
        return [ABSENT] * 8
    maps = quality.pixels
    pixels = (None, None, None) if maps is None else (maps.auroc, maps.auroc_worst, maps.aupro_worst)
    found = (quality.auroc_mean, quality.auroc_worst, quality.auroc_pooled, *pixels[:2], quality.aupro, pixels[2],
             quality.false_positive_rate)  # fmt: skip
    return [ABSENT if measurement is None else described(measurement) for measurement in found]


def _auroc_cell(measurement: Measurement | None) -> str:
    return "too few images to tell" if measurement is None else described(measurement.model_copy(update={"note": None}))


def _pixel_cell(measurement: Measurement | None) -> str:
    return ABSENT if measurement is None else described(measurement.model_copy(update={"note": None}))


def _recalls(quality: Quality | None) -> dict[str, str]:
    return {one.defect: _share(one.found, one.of) for one in quality.recall} if quality else {}


def _defect_aurocs(quality: Quality | None) -> dict[str, str]:
    """The worst first."""
    return {one.defect: _auroc_cell(one.auroc) for one in quality.defects} if quality else {}


def _share(found: int, of: int) -> str:
    return f"{found} of {of}" + (f" ({percent(found / of)})" if of else "")


def _screened(candidate: CandidateRecord, limited: Collection[str]) -> str:
    """What the budget limits; the rest stands in report.json."""
    seen = (one for one in candidate.screened if one.metric in limited)
    return ", ".join(f"{one.metric} {quantity(one.value, one.unit)}" for one in seen) or ABSENT


def _by_rung(candidate: CandidateRecord) -> str:
    return ", ".join(f"{rung} {value:.3f}" for rung, value in candidate.auroc.items()) or ABSENT

"""`report.md`: for the engineer at the machine first, then for those who check and repeat."""

from collections.abc import Collection, Iterable, Sequence

from budgetc.core.layout import REPORT_MARKDOWN
from budgetc.core.measurement import Measurement
from budgetc.report.controls import controls_markdown
from budgetc.report.refusal import refusal
from budgetc.report.schema import CandidateRecord, Fate, Quality, Report, SeedRecord, Subject
from budgetc.report.verdict_table import HEADER, gains, limit_rows, overall_words, plan_of, verdict_table
from budgetc.report.words import ABSENT, code, described, markdown_table, percent, quantity
from budgetc.report.words import cell as text

__all__ = ["render_markdown", "verdict_table"]

_THROUGH_THE_FILE = "Every score comes from the deployed file in its runtime, on images that the search never saw."
_MEANINGS = {
    "latency_p50": "`latency_p50`: half of the images take at most that long, from the file to the score.",
    "latency_p95": "`latency_p95`: 95 of 100 images take at most that long, from the file to the score.",
    "latency_p99": "`latency_p99`: 99 of 100 images take at most that long, from the file to the score.",
    "peak_memory": "`peak_memory`: most memory that the process which scores ever holds, its runtime included.",
    "artifact_size": "`artifact_size`: all files that the detector is.",
    "auroc": "`auroc`: the chance that an anomalous image scores higher than a normal one; 0.5 is guessing.",
    "auroc_loss": "`auroc_loss`: AUROC of the baseline less that of the artifact, on the same images.",
    "aupro": "`aupro`: how well the maps mark the defects themselves; 1 is perfect.",
    "baseline": "Baseline: the detector as it was given, with everything left out that scoring does not need.",
    "margin": "Margin: the share of the limit that is left.",
    "estimate": "`pass (estimate)`: the value reaches the floor, but its interval also holds values below it.",
}
_STEPS = {
    "direct": "*direct*: a smaller network trained on normals alone, without the given one: a control.",
    "truncate": "*truncate*: the first stages of the network on smaller pictures; normals fitted again, nothing trained.",
    "distill": "*distill*: smaller networks, trained to imitate the given ones; the number is the share of width.",
    "prune": "*prune*: whole channels removed, then trained on; the number is the share that stays.",
    "quantize": "*quantize*: weights and activations as 8-bit integers.",
    "fp16": "*fp16*: weights stored with 16 bits.",
}
_FATES: tuple[Fate, ...] = ("chosen", "finalist", "trained", "not needed", "discarded", "failed")


def render_markdown(report: Report) -> str:
    """The whole report as Markdown; ends with a line end."""
    sections = (
        _head(report), _next(report), _gained(report), _quality(report), _details(report),
        _search(report), _candidates(report), _provenance(report),
    )  # fmt: skip
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(report: Report) -> str:
    title = f"# {text(report.budget_name)}: {overall_words(report)}"
    about = f"Detector {code(report.detector)} for target {code(report.target.name)}, {text(report.created)}."
    table = markdown_table([name.capitalize() for name in HEADER], limit_rows(report))
    judged = [row[0] for row in limit_rows(report)]
    notes = "\n".join(
        f"- {_MEANINGS[name]}" for name in [*judged, "baseline", "margin", "estimate"] if name in _MEANINGS
    )
    warnings = "\n".join(f"- **Warning:** {text(warning)}" for warning in report.warnings)
    return "\n\n".join(part for part in (title, about, table, warnings, notes) if part)


def _next(report: Report) -> str:
    """What to do now."""
    if report.verdict is None or not report.verdict.overall.startswith("compliant"):
        return f"## What to do\n\n```text\n{refusal(report).replace('```', '')}\n```"
    quality = report.artifact.quality if report.artifact is not None else None
    threshold = "" if quality is None else (
        f"An image is anomalous when its score is above **{quality.threshold:.6g}**. On images that neither training "
        f"nor search saw, {percent(quality.false_positive_rate.value)} of the normal ones were "
        f"({_counted(quality.false_positive_rate)})."
    )  # fmt: skip
    return "\n\n".join(["## How to run it", _run_lines(), threshold])


def _run_lines() -> str:
    return "\n".join([
        "In this directory:",
        "",
        "```sh",
        "budgetc run . IMAGE...                  # score, verdict per image",
        "python3 device/score.py IMAGE...        # the same without budgetc: copy model.onnx and device/ to the board",
        "budgetc evaluate . --data DIR           # on images of your own; do this before you rely on it",
        "budgetc verify .                        # nothing was changed, and the verdict follows from the numbers",
        "budgetc check . --budget OTHER.yaml     # would it keep another budget?",
        "```",
        "",
        "`device/score.py` needs Python 3.6 or newer with numpy, onnxruntime and Pillow.",
    ])  # fmt: skip


def _gained(report: Report) -> str:
    candidate = plan_of(report)
    if candidate is None:
        return f"## Choice\n\n{text(report.why)}" if report.why else ""
    lines = [f"{code(candidate.plan.title())} (candidate {code(candidate.id)}). {text(report.why)}"]
    used = dict.fromkeys(step.step for step in candidate.plan.steps)
    lines.append("\n".join(f"- {_STEPS[step]}" for step in used))
    rows = gains(report)
    if rows:
        lines.append(markdown_table(["Against the baseline", ""], rows))
    if candidate.trail:
        lines.append(_trail(candidate))
    if report.seeds:
        lines.append(_seeds(report.seeds))
    return "\n\n".join(["## Choice", *filter(None, lines)])


def _trail(candidate: CandidateRecord) -> str:
    rows = [
        (step.step, f"{step.parameters:,}", f"{step.seconds:.1f} s", str(step.epochs or ABSENT),
         _loss(step.training_loss), _loss(step.held_out_loss), step.note)
        for step in candidate.trail
    ]  # fmt: skip
    header = ["Step", "Parameters after it", "Time", "Epochs", "Training loss", "Held-out loss", "Note"]
    return markdown_table(header, rows)


def _seeds(seeds: Sequence[SeedRecord]) -> str:
    """How much of the AUROC is luck."""
    rows = [
        (str(one.seed), f"{one.selection_auroc:.3f}", f"{one.confirmation_auroc:.3f}", f"{one.auroc_loss:+.3f}")
        for one in seeds
    ]
    about = "The same plan trained with several seeds; the first is the artifact, and nothing was chosen among them."
    header = ["Seed", "AUROC (selection)", "AUROC (confirmation)", "Loss against the baseline"]
    return f"{about}\n\n{markdown_table(header, rows)}"


def _quality(report: Report) -> str:
    if report.artifact is None:
        return ""
    quality = report.artifact.quality
    before = report.baseline.quality if report.baseline is not None else None
    return "\n\n".join([
        f"## Quality on the {text(quality.split)} split",
        _THROUGH_THE_FILE,
        _aurocs(quality, before),
        *controls_markdown(report.controls),
        *_by_category(quality, before),
        *_by_defect(quality, before),
        *_splits(report),
    ])  # fmt: skip


def _splits(report: Report) -> Iterable[str]:
    counted = list(dict.fromkeys(what for counts in report.splits.values() for what in counts))
    rows = [(name, *(str(counts.get(what, ABSENT)) for what in counted)) for name, counts in report.splits.items()]
    if rows:
        yield markdown_table(["Split", *map(text, counted)], rows)
    uses = report.confirmation_uses
    often = {0: "not opened", 1: "opened once"}.get(
        uses, f"opened {uses} times with different inputs, which makes its figures optimistic"
    )
    yield f"Groups (one physical part, or one clip) never cross splits. The confirmation split was {often}."


def _aurocs(quality: Quality, before: Quality | None) -> str:
    names = ["AUROC, mean over categories", "AUROC, worst category", "AUROC, all images pooled",
             "False-positive rate at the threshold", "AUPRO"]  # fmt: skip
    columns = [_overall_figures(quality), _overall_figures(before)]
    rows = [row for row in zip(names, *columns, strict=True) if row[1:] != (ABSENT, ABSENT)]
    return markdown_table(["", "Artifact", "Baseline"], rows)


def _overall_figures(quality: Quality | None) -> list[str]:
    if quality is None:
        return [ABSENT] * 5
    found = (quality.auroc_mean, quality.auroc_worst, quality.auroc_pooled, quality.false_positive_rate, quality.aupro)
    return [_described(measurement) for measurement in found]


def _by_category(quality: Quality, before: Quality | None) -> list[str]:
    then = {category.category: category.auroc for category in before.categories} if before else {}
    rows = [
        (one.category, str(one.good), str(one.bad), _auroc_cell(one.auroc), _auroc_cell(then.get(one.category)))
        for one in quality.categories
    ]
    # The notes on the method are those of the table above.
    return [markdown_table(["Category", "Good", "Bad", "AUROC", "Baseline's AUROC"], rows)] if rows else []


def _by_defect(quality: Quality, before: Quality | None) -> list[str]:
    found, found_before = _recalls(quality), _recalls(before)
    auroc, auroc_before = _defect_aurocs(quality), _defect_aurocs(before)
    names = [*auroc, *(name for name in found if name not in auroc)]
    rows = [
        (name, *(table.get(name, ABSENT) for table in (auroc, auroc_before, found, found_before))) for name in names
    ]
    header = ["Defect type or factor", "AUROC", "Baseline's AUROC", "Found at the threshold", "Baseline finds"]
    return [markdown_table(header, rows)] if rows else []


def _recalls(quality: Quality | None) -> dict[str, str]:
    return {one.defect: _share(one.found, one.of) for one in quality.recall} if quality else {}


def _defect_aurocs(quality: Quality | None) -> dict[str, str]:
    """The worst first."""
    return {one.defect: _auroc_cell(one.auroc) for one in quality.defects} if quality else {}


def _details(report: Report) -> str:
    """Every number of the full protocol."""
    subjects = [("Artifact", report.artifact), ("Baseline", report.baseline)]
    parts = [part for name, subject in subjects if subject is not None for part in _subject(name, subject)]
    return "\n\n".join(["## Measurements", *parts]) if parts else ""


def _subject(name: str, subject: Subject) -> Iterable[str]:
    yield f"### {name}"
    files = [(file, quantity(size, "B"), f"{size:,}") for file, size in subject.files.items()]
    yield markdown_table(["Deployed file", "Size", "Bytes"], files)
    rows = [
        (one.metric, described(one.model_copy(update={"note": None})), one.device, one.runtime or ABSENT)
        for one in subject.measurements
    ]  # fmt: skip
    yield markdown_table(["Measurement", "Value", "Device", "Runtime"], rows)
    yield from _notes(subject)
    yield f"{subject.parameters:,} parameters."


def _notes(subject: Subject) -> Iterable[str]:
    """Each note on how numbers were found once, with the names it is about."""
    about: dict[str, list[str]] = {}
    for one in subject.measurements:
        if one.note:
            about.setdefault(one.note, []).append(one.metric)
    if about:
        yield "\n".join(f"- {', '.join(map(text, names))}: {text(note)}" for note, names in about.items())


def _search(report: Report) -> str:
    search = report.search
    counts = [
        ("Structures enumerated", str(search.enumerated)),
        ("Discarded without training", str(search.discarded_untrained)),
        ("Candidates trained", str(search.trained)),
        ("Training runs, all rungs", str(search.trainings)),
        ("Stopped because", search.stopped_because),
        ("Near ties", ", ".join(search.near_ties) or "none"),
        ("Time", f"{report.seconds:.0f} s"),
    ]
    return "## Search\n\n" + markdown_table(["", ""], counts)


def _candidates(report: Report) -> str:
    order = sorted(report.candidates, key=lambda one: (_FATES.index(one.fate), one.artifact_size or 0, one.id))
    limits = frozenset(type(report.budget.limits).model_fields)
    header = ["Candidate", "Plan", "Fate", "Size", "Screened", "AUROC (selection)", "Reason"]
    rows = [
        (one.id, one.plan.title(), one.fate, ABSENT if one.artifact_size is None else quantity(one.artifact_size, "B"),
         _screened(one, limits), _by_rung(one), one.reason)
        for one in order
    ]  # fmt: skip
    return f"## All {len(rows)} candidates\n\n" + markdown_table(header, rows) if rows else ""


def _screened(candidate: CandidateRecord, limits: Collection[str]) -> str:
    """What a budget can limit; the parts of it stand in report.json."""
    seen = (one for one in candidate.screened if one.metric in limits)
    return ", ".join(f"{one.metric} {quantity(one.value, one.unit)}" for one in seen) or ABSENT


def _by_rung(candidate: CandidateRecord) -> str:
    return ", ".join(f"{rung} {value:.3f}" for rung, value in candidate.auroc.items()) or ABSENT


def _provenance(report: Report) -> str:
    environment = report.environment
    packages = ", ".join(f"{text(name)} {text(version)}" for name, version in environment.packages.items())
    # report.md cannot hold its own digest; report.json does.
    outputs = {name: digest for name, digest in report.outputs.items() if name != REPORT_MARKDOWN}
    digests = [("input", name, digest) for name, digest in report.inputs.items()]
    digests += [("output", name, digest) for name, digest in outputs.items()]
    return "\n\n".join([
        "## Provenance",
        f"Repeat it:\n\n```sh\n{report.command.replace('```', '')}\n```",
        f"budgetc {text(environment.budgetc)}, Python {text(environment.python)}, {text(environment.platform)}, "
        f"{text(environment.cpu)} ({text(', '.join(environment.cpu_features))}); {packages}.",
        markdown_table(["", "Name", "sha256"], digests),
    ])  # fmt: skip


def _described(measurement: Measurement | None) -> str:
    return ABSENT if measurement is None else described(measurement)


def _auroc_cell(measurement: Measurement | None) -> str:
    return "too few images to tell" if measurement is None else described(measurement.model_copy(update={"note": None}))


def _counted(rate: Measurement) -> str:
    return f"{round(rate.value * rate.n)} of {rate.n}"


def _share(found: int, of: int) -> str:
    return f"{found} of {of}" + (f" ({percent(found / of)})" if of else "")


def _loss(loss: float | None) -> str:
    return ABSENT if loss is None else f"{loss:.4g}"

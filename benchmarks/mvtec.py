"""The table of arXiv 2407.02968 for every image detector, and what `budgetc compile` makes of each.

    python benchmarks/mvtec.py --data DIR -o OUT [--detectors NAME ...] [--input-size N] [--quick]
    python benchmarks/mvtec.py --table LINES.jsonl

DIR is MVTec AD, or any folder of its layout: a folder a category. One unified detector a family is trained on the
normals of all categories (OUT/NAME/model.pt, once). Its stages are those of the paper: FP32, PTQ that is calibrated on
normals, on augmented normals and on noise, and QAT; here all networks are quantized, there the students alone. The
last stage is the winner of a search for an eighth of the bytes and a third of the median latency at no more than .02
AUROC lost. Figures are of the confirmation split, about half of the test pictures, through the file. Those of the
paper stand beside them where it has any: MVTec AD, 15 categories, other machines, other training.

`--table` makes Markdown of such lines. `--quick` takes two categories, 64 pixels, an epoch: its figures mean nothing.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from detectors import MINUTES, TRAININGS, write_budget  # beside this script, as the next ones
from line import Line
from papers import ROUNDS, bytes_line, paper_a, staged, time_line
from real import interval
from ruamel.yaml import YAML
from unified import overall_lines

import budgetc
from budgetc.candidate import Written, score_split
from budgetc.compiler.confirming import sample_images
from budgetc.compiler.inputs import load_inputs
from budgetc.compiler.localizing import locate
from budgetc.compiler.pipeline import make_workshop
from budgetc.core.dataset import SplitName
from budgetc.core.quantities import format_bytes
from budgetc.measurement.quality import quality_of
from budgetc.report.schema import Quality, Report
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop

SIDE, QUICK_SIDE, QUICK_CATEGORIES = 256, 64, 2
SPLIT: SplitName = "confirmation"
CONFIDENCE = 0.95
WINNER = "budgetc compile"
PAPER = "arXiv 2407.02968"
RECIPES = {
    "stfpm": ("stfpm-truncate-quantize", "distill-quantize"),
    "reverse_distillation": ("rd-distill-quantize",),
    "uninformed_students": ("students-distill-quantize",),
    "efficientad": ("efficientad-distill-quantize",),
    "gaussian": ("truncate-quantize",),
}
"""Detector -> what searches for its winner."""
QUICK_RECIPES, QUICK_SIZE = ("fp16",), 3 / 4
"""What finds something at once."""


class Published(NamedTuple):
    """A row of the paper; None where it has no figure."""

    megabytes: float | None
    milliseconds: float | None
    """On its Xeon, in PyTorch."""
    pixel_auroc: float


PUBLISHED: dict[str, dict[str, Published]] = {
    "uninformed_students": {
        "FP32": Published(26.8, 18274, 0.79),
        "PTQ, calibration": Published(11.8, 13969, 0.63),
        "PTQ, noise": Published(None, None, 0.64),
        "QAT": Published(None, None, 0.60),
    },
    "reverse_distillation": {
        "FP32": Published(644, 1365, 0.96),
        "PTQ, calibration": Published(406, 1018, 0.50),
        "PTQ, noise": Published(None, None, 0.75),
        "QAT": Published(None, None, 0.96),
    },
    "stfpm": {
        "FP32": Published(88, 275, 0.94),
        "PTQ, calibration": Published(55, 234.9, 0.75),
        "PTQ, noise": Published(None, None, 0.83),
        "QAT": Published(None, None, 0.92),
    },
}
"""Detector -> stage -> the paper's row."""
COLUMNS = {
    "bytes": "bytes", "over FP32": "time over FP32", "mean": "AUROC, mean over categories",
    "worst": "AUROC, worst category", "pooled": "AUROC, pooled", "pixel AUROC": "pixel AUROC, mean over categories",
    "AUPRO": "AUPRO, mean over categories", "the paper's pixel AUROC": "the paper's pixel AUROC",
}  # fmt: skip
"""Column of the table -> the line that it comes from."""


def main() -> None:
    """The detectors that were asked for, or the table of lines that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="MVTec AD: a folder with one folder a category")
    parser.add_argument("-o", type=Path, metavar="OUT", help="everything is written here")
    parser.add_argument("--detectors", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--input-size", type=int, metavar="N", help=f"pixels [{SIDE}, as the paper's]")
    parser.add_argument("--table", type=Path, metavar="LINES", help="lines of an earlier run; prints Markdown")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.table is not None:
        print(table(json.loads(line) for line in options.table.read_text(encoding="utf-8").splitlines()))
        return
    if options.data is None or options.o is None:
        parser.error("give --data and -o")
    out, data = options.o.resolve(), options.data.resolve()
    side = options.input_size or (QUICK_SIDE if options.quick else SIDE)
    if options.quick:
        data = fewer(data, out / "data")
    for name in options.detectors:
        for line in lines(name, data, out / name, side=side, quick=options.quick):
            line.show()


def fewer(data: Path, folder: Path) -> Path:
    """The first two categories alone, with their groups."""
    shutil.rmtree(folder, ignore_errors=True)
    names = sorted(path.name for path in data.iterdir() if path.is_dir())[:QUICK_CATEGORIES]
    for name in names:
        shutil.copytree(data / name, folder / name)
    if (data / "groups.csv").exists():
        head, *rows = (data / "groups.csv").read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if row.partition("/")[0] in names]
        (folder / "groups.csv").write_text("\n".join([head, *kept, ""]), encoding="utf-8", newline="\n")
    return folder


def lines(name: str, data: Path, folder: Path, *, side: int, quick: bool) -> Iterator[Line]:
    """One detector through all stages."""
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model.pt"
    if not model.exists():
        quickly = ("--epochs", "1", "--variants", "1") if quick and name != "gaussian" else ()
        subprocess.run(
            [sys.executable, "-m", "budgetc", "train", name, "--data", data, "--input-size", str(side), *quickly,
             "-o", model],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
    inputs = load_inputs(model, "host-cpu", data)
    with tempfile.TemporaryDirectory() as scratch, RunDirectory.open(Path(scratch) / "run") as run:
        yield from stage_lines(name, make_workshop(inputs, run), Path(scratch), quick=quick)
    if quick:
        budget = _quick_budget(model)
    else:
        budget = write_budget(model, data, recipes=RECIPES[name], minutes=MINUTES, trainings=TRAININGS)
    report = budgetc.compile(
        model, budget=budget, data=data, out=folder / "out", store=folder / "store",
        say=lambda sentence: print(sentence, file=sys.stderr, flush=True),
    )  # fmt: skip
    yield from winner_lines(f"{name}, {WINNER}", report)


def _quick_budget(model: Path) -> Path:
    limits = {"artifact_size": f"{int(model.stat().st_size * QUICK_SIZE)} B"}
    search = {"recipes": list(QUICK_RECIPES), "trainings": 2, "time": "5 min"}
    path = model.with_name("budget.yaml")
    YAML().dump({"target": "host-cpu", "limits": limits, "search": search}, path)
    return path


def stage_lines(name: str, shop: Workshop, scratch: Path, *, quick: bool) -> Iterator[Line]:
    """Bytes, time and quality of every stage, and what the paper says of it."""
    images = sample_images(shop.dataset, scratch / "pictures")
    first: Written | None = None
    for stage, _, written in staged(paper_a(quick=quick), shop, scratch):
        first, head = first or written, f"{name}, {stage}"
        yield bytes_line(head, written, first)
        yield time_line(head, written, first, images=images, rounds=1 if quick else ROUNDS)
        yield from overall_lines(head, _quality(written, shop))
        yield from published_lines(name, stage)


def _quality(written: Written, shop: Workshop) -> Quality:
    pixels = locate(written, shop, SPLIT, CONFIDENCE)
    return quality_of(score_split(written, shop, SPLIT), written.threshold, CONFIDENCE, pixels=pixels)


def published_lines(name: str, stage: str) -> Iterator[Line]:
    """What the paper has of a stage, marked as its own; bytes and time as shares of its FP32."""
    known = PUBLISHED.get(name, {})
    if stage not in known:
        return
    row, whole, head = known[stage], known["FP32"], f"{name}, {stage}"
    said = f"{PAPER}: MVTec AD, 15 categories in one model, students alone quantized"
    yield Line(f"{head}: the paper's pixel AUROC", row.pixel_auroc, "reported", True, "1", 15, said, "published")
    if row == whole:
        return
    if row.megabytes is not None and whole.megabytes is not None:
        share = round(row.megabytes / whole.megabytes, 4)
        yield Line(f"{head}: the paper's bytes over FP32", share, "reported", True, "1", 1,
                   f"{said}; {row.megabytes:g} of {whole.megabytes:g} MB", "published")  # fmt: skip
    if row.milliseconds is not None and whole.milliseconds is not None:
        share = round(row.milliseconds / whole.milliseconds, 3)
        yield Line(f"{head}: the paper's time over FP32", share, "reported", True, "1", 1,
                   f"{said}; {row.milliseconds:g} of {whole.milliseconds:g} ms on a Xeon", "published")  # fmt: skip


def winner_lines(head: str, report: Report) -> Iterator[Line]:
    """The artifact beside the baseline; its verdict alone where nothing was built."""
    verdict = "nothing built" if report.verdict is None else report.verdict.overall
    holds = verdict.startswith("compliant")
    yield Line(f"{head}: verdict", float(holds), "= 1", holds, "1", 1, f"{verdict}; {report.why}")
    if report.artifact is None or report.comparison is None:
        return
    share, ratio = report.comparison.size_ratio.value, report.comparison.latency_p50_ratio
    size = sum(report.artifact.files.values())
    yield Line(f"{head}: bytes", size, "reported", True, "B", 1, f"{share:.4f} of FP32")
    assert ratio.kind != "declared", "nothing here is taken from a data sheet"
    yield Line(f"{head}: time over FP32", round(ratio.value, 3), "reported", True, "1", ratio.n, interval(ratio),
               ratio.kind)  # fmt: skip
    yield from overall_lines(head, report.artifact.quality)


def table(rows: Iterable[dict[str, object]]) -> str:
    """Markdown: a row a detector and stage, from the lines of a run."""
    found: dict[str, dict[str, float]] = {}
    for one in rows:
        head, _, bar = str(one["bar"]).partition(": ")
        found.setdefault(head, {})[bar] = float(str(one["value"]))
    head = f"| detector | stage | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 2)}"
    return "\n".join([head, *(_row(name, known) for name, known in found.items())])


def _row(head: str, known: dict[str, float]) -> str:
    name, _, stage = head.partition(", ")
    cells = []
    for bar in COLUMNS.values():
        value = known.get(bar)
        cells.append("-" if value is None else format_bytes(value) if bar == "bytes" else f"{value:.3f}")
    return f"| `{name}` | {stage} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

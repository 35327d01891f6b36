"""One unified detector against one detector a category, each compiled under the same relative budget.

    BUDGETC_TEST_DATA=DIR python benchmarks/unified.py -o DIR [--quick]

Makes DIR/data in the MVTec layout: photographs of magnetic tiles, and the demo's crops of three textures with drawn
defects. Trains one detector on the normals of all, and one on those of each category: same family, same size. All are
compiled with one recipe; each may take a share of its own baseline's bytes, and lose at most .02 of AUROC. AUROC, AUPRO
and false alarms are on the confirmation split, through the file. `--quick` looks at smaller pictures.
"""

import argparse
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from line import Line  # beside this script
from ruamel.yaml import YAML

import budgetc
from budgetc.compiler.measuring import measure_file
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_gaussian
from budgetc.core.measurement import Measurement
from budgetc.demo.dataset import write_demo_data
from budgetc.report.schema import CategoryQuality, Quality, Report, Subject
from budgetc.training.loop import Effort

TILE = "magnetic-tile"
SIDE, QUICK_SIDE = 128, 64
CONTRAST = 2.0
"""Of the drawn defects, as in the demo."""
RECIPE = "truncate-quantize"
SIZE = 1 / 8
"""Of the baseline's bytes."""
MAX_DROP = 0.02
MINUTES = 5
"""A compilation may take."""


def make_data(tile: Path, folder: Path) -> tuple[str, ...]:
    """DIR/data with one folder a category; their names."""
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    write_demo_data(data, seed=0, contrast=CONTRAST)
    shutil.copytree(tile, data / TILE, ignore=shutil.ignore_patterns("groups.csv"))
    head, *rows = (tile / "groups.csv").read_text(encoding="utf-8").splitlines()
    with (data / "groups.csv").open("a", encoding="utf-8", newline="\n") as table:
        table.writelines(f"{TILE}/{file},{TILE}-{group}\n" for file, group in (row.rsplit(",", 1) for row in rows))
    assert head == "file,group", "the rows below it are of these"
    return tuple(sorted(path.name for path in data.iterdir() if path.is_dir()))


def part_of(data: Path, category: str, folder: Path) -> Path:
    """The same pictures and groups of one category alone."""
    alone = folder / f"data-{category}"
    shutil.rmtree(alone, ignore_errors=True)
    shutil.copytree(data / category, alone)
    head, *rows = (data / "groups.csv").read_text(encoding="utf-8").splitlines()
    mine = [row.removeprefix(f"{category}/") for row in rows if row.startswith(f"{category}/")]
    (alone / "groups.csv").write_text("\n".join([head, *mine, ""]), encoding="utf-8", newline="\n")
    return alone


def compiled(name: str, data: Path, folder: Path, *, side: int) -> tuple[Report, float]:
    """A baseline on all normals of the data and its artifact; seconds of both."""
    model, path, started = folder / f"{name}.pt", folder / f"{name}.yaml", time.monotonic()
    train_bundle(new_gaussian((side, side)), data=data, out=model, effort=Effort(1, 1e-3, 0))
    size = next(one.value for one in measure_file(model).measurements if one.metric == "artifact_size")
    limits = {"artifact_size": f"{int(size * SIZE)} B", "auroc": {"max_drop": MAX_DROP}}
    search = {"recipes": [RECIPE], "time": f"{MINUTES} min"}
    YAML().dump({"target": "host-cpu", "data": str(data), "limits": limits, "search": search}, path)
    out = folder / f"out-{name}"
    shutil.rmtree(out, ignore_errors=True)
    report = budgetc.compile(model, budget=path, out=out)
    return report, time.monotonic() - started


def reported(bar: str, found: Measurement | None) -> Iterator[Line]:
    """A figure without a goal; nothing where it is not known."""
    if found is not None:
        words = "" if found.lower is None or found.upper is None else f"{found.lower:.4f} to {found.upper:.4f}"
        yield Line(bar, round(found.value, 4), "reported", True, "1", found.n, words)


def quality_lines(head: str, quality: Quality) -> Iterator[Line]:
    """Overall figures, then those of each category."""
    for name, found in (
        ("AUROC, mean over categories", quality.auroc_mean),
        ("AUROC, worst category", quality.auroc_worst),
        ("AUROC, pooled", quality.auroc_pooled),
        ("pixel AUROC, mean over categories", quality.pixels.auroc if quality.pixels else None),
        ("AUPRO, mean over categories", quality.aupro),
        ("AUPRO, worst category", quality.pixels.aupro_worst if quality.pixels else None),
    ):
        yield from reported(f"{head}: {name}", found)
    for one in quality.categories:
        yield from category_lines(head, one)


def category_lines(head: str, one: CategoryQuality) -> Iterator[Line]:
    """AUROC, and false alarms by both thresholds."""
    yield from reported(f"{head}: AUROC of {one.category}", one.auroc)
    yield from reported(f"{head}: false alarms of {one.category}, threshold of all", one.false_positive_rate)
    yield from reported(f"{head}: false alarms of {one.category}, own threshold", one.own_false_positive_rate)


def unified_lines(report: Report, seconds: float) -> Iterator[Line]:
    """Before and after."""
    verdict = "none" if report.verdict is None else report.verdict.overall
    holds = verdict == "compliant"
    yield Line(f"unified: verdict {verdict}", float(holds), "= 1", holds, "1", 1, f"{seconds:.0f} s")
    for who, subject in (("baseline", report.baseline), ("artifact", report.artifact)):
        if subject is not None:
            yield Line(f"unified {who}: bytes", bytes_of(subject), "reported", True, "B", 1, "")
            yield from quality_lines(f"unified {who}", subject.quality)
    if report.comparison is not None:
        loss = report.comparison.auroc_loss
        words = f"{loss.lower:.4f} to {loss.upper:.4f}"
        holds = loss.value <= MAX_DROP
        yield Line("unified: loss of mean AUROC", round(loss.value, 4), "<= 0.02", holds, "1", loss.n, words)
        for one in report.comparison.category_losses:
            yield from reported(f"unified: loss of {one.category}", one.auroc_loss)


def against(report: Report, alone: dict[str, Report]) -> Iterator[Line]:
    """The artifacts of the categories together, beside the unified one."""
    artifacts = [one.artifact for one in alone.values() if one.artifact is not None]
    if report.artifact is None or len(artifacts) < len(alone):
        return
    for who in ("baseline", "artifact"):
        subjects = [getattr(one, who) for one in alone.values()]
        total = sum(bytes_of(one) for one in subjects)
        yield Line(f"per category, {who}s: bytes together", total, "reported", True, "B", len(subjects), "")
        values = [one.quality.auroc_mean.value for one in subjects]
        words = ", ".join(f"{name} {value:.4f}" for name, value in zip(alone, values, strict=True))
        yield Line(f"per category, {who}s: mean AUROC", round(mean(values), 4), "reported", True, "1",
                   len(subjects), words)  # fmt: skip
        marked = [one.quality.aupro.value for one in subjects if one.quality.aupro is not None]
        yield Line(f"per category, {who}s: mean AUPRO", round(mean(marked), 4), "reported", True, "1", len(marked), "")
    total = sum(bytes_of(one) for one in artifacts)
    share = bytes_of(report.artifact) / total
    yield Line("unified artifact: bytes over those of all categories' together", round(share, 4), "< 1", share < 1, "1",
               len(artifacts), "")  # fmt: skip
    gap = mean(one.quality.auroc_mean.value for one in artifacts) - report.artifact.quality.auroc_mean.value
    yield Line("mean AUROC of the categories' artifacts - that of the unified one", round(gap, 4), "reported", True,
               "1", len(artifacts), "positive: one detector a category is better")  # fmt: skip


def bytes_of(subject: Subject) -> int:
    """All deployed files."""
    return sum(subject.files.values())


def main() -> None:
    """The unified one, then each category."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, required=True, metavar="DIR")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    root = os.environ.get("BUDGETC_TEST_DATA")
    if root is None:
        parser.error("set BUDGETC_TEST_DATA to the folder that holds magnetic-tile/")
    folder, side = options.o.resolve(), QUICK_SIDE if options.quick else SIDE
    folder.mkdir(parents=True, exist_ok=True)
    categories = make_data(Path(root) / TILE, folder)
    report, seconds = compiled("unified", folder / "data", folder, side=side)
    for line in unified_lines(report, seconds):
        line.show()
    alone = {}
    for category in categories:
        data = part_of(folder / "data", category, folder)
        alone[category], seconds = compiled(category, data, folder, side=side)
        verdict = alone[category].verdict
        said = "none" if verdict is None else verdict.overall
        Line(f"{category} alone: verdict {said}", float(said == "compliant"), "reported", True, "1", 1,
             f"{seconds:.0f} s").show()  # fmt: skip
    for line in against(report, alone):
        line.show()


if __name__ == "__main__":
    main()

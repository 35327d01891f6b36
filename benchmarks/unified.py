"""One unified detector against one detector a category, each compiled under the same relative budget.

    BUDGETC_TEST_DATA=DIR python benchmarks/unified.py -o DIR [--quick]

Makes DIR/data in the MVTec layout: photographs of magnetic tiles, and the demo's crops of three textures with drawn
defects. Trains one detector on the normals of all, and one on those of each category: same family, same size. All are
compiled with one recipe of twelve plans; each may take a share of its own baseline's bytes, and lose at most .02 of
AUROC; the unified one is compiled again with that limit on its worst category. AUROC, AUPRO and false alarms are on the
confirmation split, through the file. The target's latency is predicted, so that nothing has to be timed. `--quick`
looks at smaller pictures.
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
from budgetc.compiler.emitting import category_warnings
from budgetc.compiler.measuring import measure_file
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_gaussian
from budgetc.core.budget import Over
from budgetc.core.measurement import Measurement
from budgetc.core.statistics import auroc_loss_by_category
from budgetc.demo.dataset import write_demo_data
from budgetc.load.datasets import load_dataset
from budgetc.report.schema import CategoryQuality, DefectRecall, Quality, Report, ScoredPicture, Subject
from budgetc.training.loop import Effort

TILE = "magnetic-tile"
TARGET = "x86-avx2"
"""Has INT8 and one thread, and is not emulated."""
SIDE, QUICK_SIDE = 96, 64
CONTRAST = 2.0
"""Of the drawn defects, as in the demo."""
RECIPE = """\
name: unified
description: the first stages of a pretrained network on smaller pictures, then INT8
detectors: [gaussian]
steps:
  - step: truncate
    optional: true
    choices:
      stages: [6, 5]
      input: [0.75]
  - step: quantize
  - step: store-bits
    choices:
      bits: [8, 6, 5, 4]
"""
SIZE = 1 / 8
"""Of the baseline's bytes."""
MAX_DROP = 0.02


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


def trained(name: str, data: Path, folder: Path, *, side: int) -> Path:
    """A baseline on all normals of the data."""
    model = folder / f"{name}.pt"
    train_bundle(new_gaussian((side, side)), data=data, out=model, effort=Effort(1, 1e-3, 0))
    return model


def compiled(model: Path, data: Path, folder: Path, *, over: Over = "mean") -> tuple[Report, float]:
    """The artifact of a baseline, and seconds."""
    name, started = f"{model.stem}-{over}", time.monotonic()
    path = folder / f"{name}.yaml"
    measured = measure_file(model, target=TARGET).measurements
    size = next(one.value for one in measured if one.metric == "artifact_size")
    limits = {"artifact_size": f"{int(size * SIZE)} B", "auroc": {"max_drop": MAX_DROP, "over": over}}
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    raw = {"target": TARGET, "evidence": "predicted", "data": str(data), "limits": limits}
    YAML().dump({**raw, "search": {"recipes": ["recipe.yaml"]}}, path)
    out = folder / f"out-{name}"
    shutil.rmtree(out, ignore_errors=True)
    report = budgetc.compile(model, budget=path, out=out, store=folder / "store")
    return report, time.monotonic() - started


def reported(bar: str, found: Measurement | None) -> Iterator[Line]:
    """A figure without a goal; nothing where it is not known."""
    if found is not None:
        words = "" if found.lower is None or found.upper is None else f"{found.lower:.4f} to {found.upper:.4f}"
        yield Line(bar, round(found.value, 4), "reported", True, "1", found.n, words)


def quality_lines(head: str, quality: Quality) -> Iterator[Line]:
    """Overall figures, then those of each category."""
    yield from overall_lines(head, quality)
    for one in quality.categories:
        yield from category_lines(head, one)
    for recall in quality.recall:
        yield recall_line(head, recall)


def overall_lines(head: str, quality: Quality) -> Iterator[Line]:
    """Of all categories together."""
    for name, found in (
        ("AUROC, mean over categories", quality.auroc_mean),
        ("AUROC, worst category", quality.auroc_worst),
        ("AUROC, pooled", quality.auroc_pooled),
        ("pixel AUROC, mean over categories", quality.pixels.auroc if quality.pixels else None),
        ("AUPRO, mean over categories", quality.aupro),
        ("AUPRO, worst category", quality.pixels.aupro_worst if quality.pixels else None),
    ):
        yield from reported(f"{head}: {name}", found)


def recall_line(head: str, one: DefectRecall) -> Line:
    """By the threshold of all; by those of the categories in words."""
    words = f"{one.found} by the threshold of all, {one.found_by_own} by those of the categories"
    return Line(f"{head}: recall of {one.defect}", round(one.found / one.of, 4), "reported", True, "1", one.of, words)


def category_lines(head: str, one: CategoryQuality) -> Iterator[Line]:
    """AUROC, and false alarms by both thresholds."""
    yield from reported(f"{head}: AUROC of {one.category}", one.auroc)
    yield from reported(f"{head}: false alarms of {one.category}, threshold of all", one.false_positive_rate)
    yield from reported(f"{head}: false alarms of {one.category}, own threshold", one.own_false_positive_rate)


def unified_lines(head: str, report: Report, seconds: float) -> Iterator[Line]:
    """Before and after."""
    verdict = "none" if report.verdict is None else report.verdict.overall
    holds = verdict.startswith("compliant")
    yield Line(f"{head}: verdict {verdict}", float(holds), "= 1", holds, "1", 1, f"{seconds:.0f} s")
    for who, subject in (("baseline", report.baseline), ("artifact", report.artifact)):
        if subject is not None:
            yield Line(f"{head} {who}: bytes", bytes_of(subject), "reported", True, "B", 1, "")
            yield from quality_lines(f"{head} {who}", subject.quality)
    if report.comparison is not None:
        loss = report.comparison.auroc_loss
        words = f"{loss.lower:.4f} to {loss.upper:.4f}"
        holds = loss.value <= MAX_DROP
        yield Line(f"{head}: loss of the AUROC that is limited", round(loss.value, 4), "<= 0.02", holds, "1", loss.n,
                   words)  # fmt: skip
        for one in report.comparison.category_losses:
            yield from reported(f"{head}: loss of {one.category}", one.auroc_loss)
        warned = category_warnings(report.budget, report.comparison)
        yield Line(f"{head}: categories that lost more unseen", len(warned), "reported", True, "categories", 1,
                   "; ".join(warned))  # fmt: skip


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
    sizes = {name: bytes_of(one) for name, one in zip(alone, artifacts, strict=True)}
    share = bytes_of(report.artifact) / sum(sizes.values())
    yield Line("unified artifact: bytes over those of all categories' together", round(share, 4), "< 1", share < 1, "1",
               len(artifacts), ", ".join(f"{name} {size} B" for name, size in sizes.items()))  # fmt: skip


def gaps(data: Path, report: Report, alone: dict[str, Report]) -> Iterator[Line]:
    """AUROC that one detector a category has more than the unified one, paired: all are judged by the same images."""
    samples = load_dataset(data).samples["confirmation"]
    scores = {one.file: one for one in pictures(report)}
    own = {f"{category}/{one.file}": one for category, each in alone.items() for one in pictures(each)}
    if {sample.file for sample in samples} != set(scores) or set(scores) != set(own):
        raise RuntimeError("the splits differ, so nothing can be paired")
    for who in ("baseline", "artifact"):
        separate, together = ([getattr(of[sample.file], who) for sample in samples] for of in (own, scores))
        found = auroc_loss_by_category(
            separate, together, [sample.label for sample in samples],
            categories=[sample.category for sample in samples], groups=[sample.group for sample in samples],
        )  # fmt: skip
        for name, one in {"mean": found.mean, **found.categories}.items():
            bar = f"AUROC of the categories' {who}s - that of the unified {who}, {name}"
            words = f"{one.lower:.4f} to {one.upper:.4f}; positive: one detector a category is better"
            yield Line(bar, round(one.value, 4), "reported", True, "1", one.n_good + one.n_bad, words)


def pictures(report: Report) -> tuple[ScoredPicture, ...]:
    """Of the confirmation split."""
    return report.exhibits.pictures if report.exhibits is not None else ()


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
    model = trained("unified", folder / "data", folder, side=side)
    report, seconds = compiled(model, folder / "data", folder)
    for line in unified_lines("unified", report, seconds):
        line.show()
    for line in unified_lines("unified, over worst-category", *compiled(model, folder / "data", folder,
                                                                        over="worst-category")):  # fmt: skip
        line.show()
    alone = {}
    for category in categories:
        data = part_of(folder / "data", category, folder)
        alone[category], seconds = compiled(trained(category, data, folder, side=side), data, folder)
        verdict = alone[category].verdict
        said = "none" if verdict is None else verdict.overall
        Line(f"{category} alone: verdict {said}", float(said.startswith("compliant")), "reported", True, "1", 1,
             f"{seconds:.0f} s").show()  # fmt: skip
    for line in (*against(report, alone), *gaps(folder / "data", report, alone)):
        line.show()


if __name__ == "__main__":
    main()

"""Every detector family on real data, from training to verdict: the table of the README.

    BUDGETC_TEST_DATA=DIR python benchmarks/detectors.py -o DIR [--only NAME ...] [--quick]
    python benchmarks/detectors.py --table benchmarks/results/DATE-detectors.jsonl

Trains each baseline once (`budgetc train` with the options below; DIR/NAME/model.pt), compiles it to an eighth of its
bytes and a third of what its graph takes here, at no more than .02 AUROC lost, and prints a line a figure. The goal is
a third of the whole call, decoding included, which no compression makes faster: its share is a line of its own.
`--table` makes Markdown of such lines. `--quick` trains an epoch and searches a minute: its figures mean nothing.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import driving_case  # beside this script, as the next ones
from line import Line
from real import interval
from ruamel.yaml import YAML

import budgetc
from budgetc.compiler.measuring import measure_file
from budgetc.core.measurement import Measurement
from budgetc.core.quantities import format_bytes
from budgetc.report.schema import Quality, Report

SIZE, LATENCY, LOSS = 1 / 8, 1 / 3, 0.02
MINUTES, TRAININGS = 8, 24


def tiles(source: Path, folder: Path) -> Path:
    """Photographs of magnetic tiles, split by tile."""
    return source / "magnetic-tile"


def traffic(source: Path, folder: Path) -> Path:
    """Frames of traffic under eight factors."""
    return driving_case.make_data(source / "driving", folder)


def motion(source: Path, folder: Path) -> Path:
    """The highway, driven backwards, three times as fast, and with a shaking camera."""
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(source / "driving" / "train" / "highway", data / "train" / "highway")
    (data / "factors.yaml").write_text("factors:\n  reverse: [1]\n  faster: [0.34]\n  shake: [0.1, 0.3]\n")
    return data


@dataclass(frozen=True)
class Row:
    """A detector, how its baseline is trained, and what compiles it."""

    title: str
    data: Callable[[Path, Path], Path]
    train: tuple[str, ...]
    recipes: tuple[str, ...]
    minutes: int = MINUTES
    """Of search."""
    share: float | None = None
    """Of the whole call that the budget allows; None: what a third of the graph leaves."""
    before: str = "decoding"
    """What a call does before the graph."""


_VAE = ("--input-size", "96", "--prototypes", "16", "--variants", "1", "--batch", "8", "--epochs", "24")
_SMALL = ("--input-size", "64")
ROWS = {
    "vae": Row("traffic under factors", traffic, _VAE, ("quantize", "vae-direct-quantize")),
    "stfpm": Row("tiles at 256 px", tiles, ("--input-size", "256", "--epochs", "40"),
                 ("stfpm-truncate-quantize", "distill-quantize"), minutes=40),
    "reverse_distillation": Row("tiles at 64 px", tiles, _SMALL, ("rd-distill-quantize",)),
    "efficientad": Row("tiles at 64 px", tiles, _SMALL, ("efficientad-distill-quantize",), minutes=16),
    "flow_vae": Row("traffic in other motion", motion, ("--input-size", "56x77"),
                    ("flow-vae-direct-quantize",), share=0.6, before="decoding and flow"),
    "uninformed_students": Row("tiles at 64 px", tiles, _SMALL, ("students-distill-quantize",)),
}  # fmt: skip


def main() -> None:
    """The rows that were asked for, or the table of lines that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", type=Path, metavar="DIR", help="everything is written here")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--table", type=Path, metavar="FILE", help="lines of an earlier run; prints Markdown")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.table is not None:
        print(table([json.loads(line) for line in options.table.read_text().splitlines()]))
        return
    root = os.environ.get("BUDGETC_TEST_DATA")
    if root is None or options.o is None:
        parser.error("set BUDGETC_TEST_DATA to the folder that holds magnetic-tile/ and driving/, and give -o")
    for name in options.only:
        for line in row(name, Path(root), options.o.resolve() / name, quick=options.quick):
            line.show()


def row(name: str, source: Path, folder: Path, *, quick: bool) -> Iterator[Line]:
    """Train where there is no model yet, compile, and what came of it."""
    folder.mkdir(parents=True, exist_ok=True)
    known = ROWS[name]
    data, model = known.data(source, folder), folder / "model.pt"
    if not model.exists():
        epochs = ("--epochs", "1") if quick else ()
        subprocess.run(
            [sys.executable, "-m", "budgetc", "train", name, "--data", data, *known.train, *epochs, "-o", model],
            check=True, stdout=sys.stderr,
        )  # fmt: skip
    minutes, trainings = (1, 2) if quick else (known.minutes, TRAININGS)
    budget = write_budget(model, data, recipes=known.recipes, minutes=minutes, trainings=trainings, share=known.share)
    report = budgetc.compile(
        model, budget=budget, data=data, out=folder / "out",
        store=folder / "store", say=lambda sentence: print(sentence, file=sys.stderr, flush=True),
    )  # fmt: skip
    yield from lines(name, report)


def write_budget(
    model: Path, data: Path, *, recipes: Sequence[str], minutes: int, trainings: int, share: float | None = None
) -> Path:
    """Shares of what the baseline costs here: `share` of the whole call, or what a third of the graph leaves."""
    cost = {one.metric: one.value for one in measure_file(model, calls=300, data=data).measurements}
    left = cost["latency_p50"] - cost["latency_graph_p50"] * (1 - LATENCY)
    limits = {
        "artifact_size": f"{int(cost['artifact_size'] * SIZE)} B",
        "latency_p50": f"{left if share is None else share * cost['latency_p50']:.4f} ms",
        "auroc": {"max_drop": LOSS},
    }
    search = {"recipes": list(recipes), "trainings": trainings, "time": f"{minutes} min"}
    path = model.with_name("budget.yaml")
    YAML().dump({"target": "host-cpu", "limits": limits, "search": search}, path)
    return path


def lines(name: str, report: Report) -> Iterator[Line]:
    """Baseline, artifact and what lies between them."""
    verdict = "nothing built" if report.verdict is None else report.verdict.overall
    yield Line(f"{name}: verdict", float(verdict == "compliant"), "= 1", verdict == "compliant", "1", 1,
               f"{verdict}; {report.why}")  # fmt: skip
    for who, subject in (("baseline", report.baseline), ("artifact", report.artifact)):
        if subject is None:
            continue
        yield Line(f"{name}: {who} bytes", sum(subject.files.values()), "reported", True, "B", 1, "")
        yield from _quality(f"{name}: {who}", subject.quality)
        times = {one.metric: one for one in subject.measurements}
        whole, before = (times[metric] for metric in ("latency_p50", "latency_decode_p50"))
        yield Line(f"{name}: {who} share of decoding and resizing", round(before.value / whole.value, 3), "reported",
                   True, "1", whole.n, f"{before.value:.3f} of {whole.value:.3f} ms")  # fmt: skip
    if report.comparison is None:
        return
    share = report.comparison
    yield _line(
        f"{name}: bytes over the baseline's", share.size_ratio, f"<= {SIZE:.4g}", share.size_ratio.value <= SIZE
    )
    ratio = share.latency_p50_ratio
    yield _line(f"{name}: p50 over the baseline's", ratio, f"<= {LATENCY:.4g}", ratio.value <= LATENCY)
    yield _line(f"{name}: AUROC loss", share.auroc_loss, f"<= {LOSS}", share.auroc_loss.value <= LOSS)


def _quality(head: str, quality: Quality) -> Iterator[Line]:
    yield _line(f"{head} AUROC on {quality.split}", quality.auroc_mean, "reported", True)
    if quality.aupro is not None:
        yield _line(f"{head} AUPRO on {quality.split}", quality.aupro, "reported", True)


def _line(name: str, found: Measurement, goal: str, ok: bool) -> Line:
    assert found.kind != "declared", "nothing here is taken from a data sheet"
    return Line(name, round(found.value, 4), goal, ok, found.unit, found.n, interval(found), found.kind)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a row a detector, from the lines of a run."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for one in rows:
        name, _, bar = str(one["bar"]).partition(": ")
        found.setdefault(name, {})[bar.partition(" on ")[0]] = one
    head = (
        "| detector | baseline | artifact | p50 | AUROC before, after | lost | AUPRO |\n|---|---|---|---|---|---|---|"
    )
    return "\n".join([head, *(_row(name, known) for name, known in found.items())])


def _row(name: str, known: dict[str, dict[str, Any]]) -> str:
    title = f"`{name}`, {ROWS[name].title}"
    if "artifact bytes" not in known:
        return f"| {title} | - | nothing built | - | - | - | - |"
    value = {bar: one["value"] for bar, one in known.items()}
    before, after = value["baseline bytes"], value["artifact bytes"]
    ratio, loss = value["p50 over the baseline's"], known["AUROC loss"]
    reason = ""
    if ratio > LATENCY:
        reason = f": {100 * value['baseline share of decoding and resizing']:.0f} % of the call is {ROWS[name].before}"
    lower, upper = (float(bound) for bound in loss["spread"].partition(",")[0].split(" to "))
    aupro = f"{value['baseline AUPRO']:.3f}, {value['artifact AUPRO']:.3f}" if "baseline AUPRO" in value else "-"
    verdict = "" if known["verdict"]["ok"] else f": {known['verdict']['spread'].partition(';')[0]}"
    return (
        f"| {title}{verdict} | {format_bytes(before)} "
        f"| {format_bytes(after)} (1/{before / after:.0f}) | {ratio:.2f} x{reason} "
        f"| {value['baseline AUROC']:.3f}, {value['artifact AUROC']:.3f} "
        f"| {loss['value']:.3f} ({lower:.3f} to {upper:.3f}) | {aupro} |"
    )


if __name__ == "__main__":
    main()

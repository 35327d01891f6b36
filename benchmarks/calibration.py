"""Calibration method x source, what the other settings of PTQ add, and QAT: through the file, on real data.

    BUDGETC_TEST_DATA=DIR python benchmarks/calibration.py --case tile-gaussian|tile-stfpm|driving-vae --model model.pt
        [--data DIR] [-o DIR] [--part matrix|settings|qat] [--quick]

`--model` is the trained baseline of the case (`benchmarks/real.py` leaves two of them), `--data` its pictures where
they do not lie in BUDGETC_TEST_DATA. `-o` keeps calibrated networks and files for another run. Every figure is given on
selection and on confirmation; a choice may be made by the first alone. `--quick` takes two methods and two sources.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from line import Line  # beside this script
from numpy.typing import NDArray

from budgetc.candidate import Built, build, finish, score_split
from budgetc.compiler.inputs import load_inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.core.dataset import SplitName
from budgetc.core.plan import Fp16, Method, Plan, Qat, Quantize, Source, Step, Truncate
from budgetc.core.statistics import auroc
from budgetc.detectors.detector import score_images
from budgetc.runtime.artifact import load_artifact
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop

SPLITS: tuple[SplitName, ...] = ("selection", "confirmation")
PARITY = 0.001
"""Largest difference of the AUROC of the file and of fake quantization in torch."""


@dataclass(frozen=True)
class Case:
    """What is quantized: the baseline after these steps."""

    name: str
    before: tuple[Step, ...]
    qat: Qat


CASES = {
    case.name: case
    for case in (
        Case("tile-gaussian", (Truncate(stages=5, input=0.625),), Qat(epochs=2, learning_rate=3e-5, samples=256)),
        Case("tile-stfpm", (), Qat(epochs=1, learning_rate=3e-5, samples=128)),
        Case("driving-vae", (), Qat(epochs=2, learning_rate=1e-5, samples=256)),
    )
}


CORRECTED = Quantize(method="percentile", bias_correction=True)
SETTINGS = (
    Quantize(), Quantize(bias_correction=True), CORRECTED, Quantize(first_convolution=True), Quantize(depthwise=False),
    Quantize(last_layers=False), Quantize(float_layers=2),
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The AUROC of one plan's file on each split."""

    built: Built
    directory: Path
    size: int
    aurocs: dict[SplitName, float]
    counts: dict[SplitName, int]
    scores: NDArray[np.float64]
    """On selection."""


class Bench:
    """One case on one workshop."""

    def __init__(self, case: Case, shop: Workshop) -> None:
        self.case, self.shop = case, shop
        self.fp32 = self.score()

    def score(self, *steps: Step) -> Row:
        """Build, export and score through the runtime."""
        plan = Plan(recipe="calibration", steps=(*self.case.before, *steps), seed=0)
        built = build(plan, self.shop, 1.0)
        written = finish(built, self.shop, self.shop.run.path / "candidates" / plan.id)
        scored = {split: score_split(written, self.shop, split) for split in SPLITS}
        return Row(
            built,
            written.directory,
            written.size,
            {split: auroc(one.scores, one.labels) for split, one in scored.items()},
            {split: len(one.labels) for split, one in scored.items()},
            scored["selection"].scores,
        )

    def show(self, what: str, row: Row, reference: Row, against: str = "FP32") -> None:
        """A line a split, with what was lost."""
        for split in SPLITS:
            lost = reference.aurocs[split] - row.aurocs[split]
            name = f"{self.case.name} {what}, AUROC on {split}"
            Line(name, round(row.aurocs[split], 4), "reported", True, "1", row.counts[split],
                 f"{-lost:+.4f} to {against}").show()  # fmt: skip

    def show_moved(self, what: str, row: Row) -> None:
        """By which factor scores of selection differ from those of the FP32 file: the median, less what is common."""
        moved = np.log(row.scores / self.fp32.scores)
        apart = np.abs(moved - np.median(moved))
        name = f"{self.case.name} {what}, change of log scores on selection around their median change"
        Line(name, round(float(np.median(apart)), 4), "reported", True, "1", len(moved),
             f"median change {np.median(moved):+.3f}, 95 % within {np.quantile(apart, 0.95):.3f}").show()  # fmt: skip

    def parity(self, what: str, row: Row) -> None:
        """The AUROC of the file against that of fake quantization in torch, on selection."""
        detector, labels = row.built.detector, self.shop.dataset.labels("selection")
        images = self.shop.dataset.images("selection", detector.config.input_size)
        torch_scores = score_images(detector.deployed(), images).astype(np.float64)
        apart = abs(row.aurocs["selection"] - auroc(torch_scores, labels))
        name = f"{self.case.name} {what}, AUROC of the file against torch on selection"
        Line(name, round(apart, 5), f"<= {PARITY}", apart <= PARITY, "1", len(labels), "").show()

    def matrix(self, *, quick: bool) -> None:
        """Method x source, and the file against torch in every compute format."""
        methods, sources = (get_args(Method), get_args(Source))
        self.show("fp32", self.fp32, self.fp32)
        self.parity("fp32", self.fp32)
        self.parity("fp16", self.score(Fp16()))
        self.parity("int8", self.score(Quantize()))
        for source in sources[:: 3 if quick else 1]:
            for method in methods[:: 3 if quick else 1]:
                self.show(f"int8 {method} x {source}", self.score(Quantize(method=method, source=source)), self.fp32)

    def settings(self) -> None:
        """One setting at a time: what it does to AUROC, to the scores of selection, to bytes and to latency."""
        default = self.score(Quantize())
        for step in SETTINGS:
            row, name = self.score(step), Plan(recipe="", steps=(step,), seed=0).title()
            self.show(f"int8 {name}", row, self.fp32)
            self.show_moved(f"int8 {name}", row)
            if row.size != default.size or step == Quantize():
                times = latencies_in_turn(row.directory, default.directory)
                low, middle = (np.quantile(times, share, axis=0) for share in (0.25, 0.5))
                Line(f"{self.case.name} int8 {name}, lower quartile of latency over that of quantize",
                     round(float(low[0] / low[1]), 3), "reported", True, "1", len(times),
                     f"{row.size} B; medians {middle[0] / middle[1]:.3f}; one thread, interleaved").show()  # fmt: skip

    def qat(self) -> None:
        """QAT after PTQ by the same settings."""
        for quantize in (Quantize(), CORRECTED):
            ptq, trained = self.score(quantize), self.score(quantize, self.case.qat)
            name = Plan(recipe="", steps=(quantize, self.case.qat), seed=0).title()
            self.show(f"int8 {name}", trained, ptq, against="PTQ")
            self.parity(f"int8 {name}", trained)
            self.show_moved(f"int8 {Plan(recipe='', steps=(quantize,), seed=0).title()}, before QAT", ptq)
            self.show_moved(f"int8 {name}", trained)
            gain = trained.aurocs["selection"] - ptq.aurocs["selection"]
            Line(f"{self.case.name} {name} above PTQ, AUROC on selection", round(gain, 4), ">= 0", gain >= 0, "1",
                 ptq.counts["selection"], "").show()  # fmt: skip


def latencies_in_turn(first: Path, second: Path, calls: int = 100) -> NDArray[np.float64]:
    """(calls, 2) seconds of both artifacts, measured in turn in one process."""
    sides = [load_artifact(folder, cache=False) for folder in (first, second)]
    height, width = sides[0].spec.height, sides[0].spec.width
    image = np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)
    times = np.zeros((calls + 5, 2))
    for call in range(calls + 5):
        for side in (0, 1) if call % 2 else (1, 0):
            started = time.perf_counter()
            sides[side].score_pixels(image)
            times[call, side] = time.perf_counter() - started
    return times[5:]


def main() -> None:
    """One case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(CASES), required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="default: magnetic-tile in BUDGETC_TEST_DATA")
    parser.add_argument("-o", type=Path, help="folder that keeps what was calibrated")
    parser.add_argument("--part", choices=("matrix", "settings", "qat"), help="one of three; default: all")
    parser.add_argument("--quick", action="store_true", help="two methods, two sources")
    options = parser.parse_args()
    data = options.data or Path(os.environ["BUDGETC_TEST_DATA"]) / "magnetic-tile"
    with tempfile.TemporaryDirectory() as scratch:
        inputs = load_inputs(options.model, "host-cpu", data)
        with RunDirectory.open((options.o or Path(scratch)) / "run") as run:
            bench = Bench(CASES[options.case], make_workshop(inputs, run))
            if options.part in (None, "matrix"):
                bench.matrix(quick=options.quick)
            if options.part in (None, "settings"):
                bench.settings()
            if options.part in (None, "qat"):
                bench.qat()


if __name__ == "__main__":
    main()

"""Channels pruned without a gradient step: importances and allocations side by side at equal weights.

    python benchmarks/pruning.py tile-gaussian|tile-stfpm|driving-vae -m model.pt --data DIR [--quick]

A level is what equal shares of all groups leave; a knapsack gets as many weights. Everything is chosen on the selection
split: AUROC on confirmation is beside it to be reported. `--quick` takes one level and two importances.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from line import Line  # beside this script

from budgetc.core.dataset import Dataset, SplitName
from budgetc.core.plan import Importance, Prune, Step, Truncate
from budgetc.core.statistics import auroc
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector, score_images
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.measurement.operators import read_workload
from budgetc.passes.apply import apply_step
from budgetc.passes.pruning.narrowing import goal_of
from budgetc.passes.pruning.subject import subject_of
from budgetc.passes.work import OutputCache, Work
from budgetc.training.pictures import Pictures, make_pictures

CASES: dict[str, tuple[Step, ...]] = {
    "tile-gaussian": (Truncate(stages=5, input=0.625),),
    "tile-stfpm": (),
    "driving-vae": (),
}
LEVELS = {"tile-gaussian": (0.5, 0.75, 0.375), "tile-stfpm": (0.5, 0.75), "driving-vae": (0.5, 0.25)}
IMPORTANCES: tuple[Importance, ...] = get_args(Importance)


@dataclass(frozen=True)
class Case:
    """A detector, pruned in one way after another."""

    name: str
    start: Detector
    dataset: Dataset
    work: Work
    target: Target

    def line(self, what: str, detector: Detector, floor: float, seconds: float = 0.0) -> Line:
        """AUROC on selection, held against that of the reference at the same weights."""
        found = {split: self._auroc(detector, split) for split in ("selection", "confirmation")}
        model = export_detector(detector, self.target).model
        macs = sum(op.macs for op in read_workload(model, self.target).operators)
        words = (f"confirmation {found['confirmation']:.4f}, {detector.parameters()} weights, {macs / 1e6:.1f} MMACs, "
                 f"{len(model)} bytes FP32, {seconds:.0f} s")  # fmt: skip
        value = round(found["selection"], 4)
        count = len(self.dataset.samples["selection"])
        bar = f"{self.name}, {what}, AUROC on selection"
        return Line(bar, value, f">= {floor:.4f}" if floor else "reported", value >= floor, "1", count, words)

    def pruned(self, step: Prune) -> tuple[Detector, float]:
        """And its seconds."""
        started = time.monotonic()
        return apply_step(self.start, step, self.work), time.monotonic() - started

    def share_of_weights(self, keep: float) -> float:
        """That equal shares leave."""
        before, after = (goal_of(subject_of(one, "student"), 1.0).weights
                         for one in (self.start, self.pruned(Prune(keep=keep, epochs=0))[0]))  # fmt: skip
        return after / before

    def _auroc(self, detector: Detector, split: SplitName) -> float:
        """Mean over defect types: factors of frames, kinds of defects."""
        labels = self.dataset.labels(split)
        scores = score_images(detector.deployed(), self.dataset.images(split, detector.config.input_size))
        if self.name.startswith("tile"):
            return auroc(scores.astype(np.float64), labels)
        defects = np.array([sample.defect for sample in self.dataset.samples[split]])
        chosen = [(labels == 0) | (defects == one) for one in sorted(set(defects[labels == 1]))]
        return float(np.mean([auroc(scores[rows].astype(np.float64), labels[rows]) for rows in chosen]))


def lines(case: Case, *, quick: bool) -> Iterator[Line]:
    """Equal shares by magnitude are the reference of each level."""
    yield case.line("unpruned", case.start, 0.0)
    for keep in LEVELS[case.name][: 1 if quick else None]:
        reference, seconds = case.pruned(Prune(keep=keep, epochs=0))
        first = case.line(f"keep {keep:g}, uniform, l2", reference, 0.0, seconds)
        yield first
        share = case.share_of_weights(keep)
        for importance in IMPORTANCES if not quick else ("l2", "reconstruction"):
            if importance != "l2":
                found, seconds = case.pruned(Prune(keep=keep, importance=importance, epochs=0))
                yield case.line(f"keep {keep:g}, uniform, {importance}", found, first.value, seconds)
            packed = Prune(keep=share, importance=importance, allocation="knapsack", epochs=0)
            found, seconds = case.pruned(packed)
            yield case.line(f"keep {keep:g}, knapsack, {importance}", found, first.value, seconds)


def open_case(name: str, model: Path, data: Path) -> Case:
    """The detector after the steps that come first, and what passes work with."""
    dataset, baseline = load_dataset(data), load_model(model).detector
    known = dict[tuple[int, int], Pictures]()

    def pictures(size: tuple[int, int]) -> Pictures:
        if size not in known:
            groups = [sample.group for sample in dataset.samples["train"]]
            known[size] = make_pictures(dataset.images("train", size), groups, seed=0, variants=1,
                                        upright=dataset.upright)  # fmt: skip
        return known[size]

    work = Work(pictures=pictures, calibration=lambda size: dataset.images("calibration", size), baseline=baseline,
                weight_levels=63, effort=1.0, seed=0, cache=OutputCache())  # fmt: skip
    start = baseline
    for step in CASES[name]:
        start = apply_step(start, step, work)
    return Case(name, start, dataset, work, load_target("host-cpu", Path()).target)


def main() -> None:
    """One case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("-m", "--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    for line in lines(open_case(chosen.case, chosen.model, chosen.data), quick=chosen.quick):
        line.show()


if __name__ == "__main__":
    main()

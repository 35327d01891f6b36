"""Students and losses side by side: a student-teacher detector of magnetic tiles, a VAE of driving.

    BUDGETC_TEST_DATA=DIR python benchmarks/distillation.py {stfpm,vae} MODEL --data DIR [--quick]

Each row is built from the trained MODEL, exported and scored through its file on the selection split; nothing sees the
confirmation split. Trainings are short, the same for all of a table, so that a row says what is worth a long one, not
what a long one gives. Latency is the processor time of the graph with one thread, which busy neighbors hardly disturb,
in blocks that alternate with the baseline's.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import onnxruntime as ort
import torch
from line import Line  # beside this script

from budgetc.candidate import write
from budgetc.core.dataset import Dataset
from budgetc.core.plan import Direct, Distill, Plan, Prune, Quantize, Step, Truncate
from budgetc.core.statistics import auroc
from budgetc.detectors.detector import Detector
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.datasets import load_dataset
from budgetc.load.model import load_model
from budgetc.measurement.quality import score_pixels
from budgetc.passes.apply import apply_step
from budgetc.passes.work import OutputCache, Size, Work
from budgetc.runtime.artifact import load_artifact
from budgetc.training.pictures import Pictures, make_pictures

TARGET = load_target("host-cpu").target
BLOCKS, CALLS = 5, 5
EPOCHS = 8
"""Of a student of the tiles: one to three minutes on one busy core."""
SIDE = 0.625
"""160 px: where students are compared that differ in nothing else."""
VAE_EPOCHS = 12


def stfpm_plans(epochs: int) -> Iterator[tuple[Step, ...]]:
    """Without training; students that differ in one thing; losses of one student; orders of the same steps."""
    yield ()
    cuts = (
        Truncate(first=3), Truncate(first=5), Truncate(stages=3), Truncate(stages=2), Truncate(first=3, stages=3),
        Truncate(input=0.75), Truncate(input=SIDE), Truncate(first=3, input=0.75), Truncate(first=3, input=SIDE),
    )  # fmt: skip
    yield from ((cut,) for cut in cuts)
    half, quarter = (Distill(student=share, epochs=epochs, input=SIDE) for share in (0.5, 0.25))
    shapes: list[dict[str, object]] = [{"student": 1.0}, {}, {"depth": 0}, {"backbone": "separable"}, {"shared": 1}]
    yield from ((half.model_copy(update=shape),) for shape in shapes)
    shapes = [
        {}, {"shared": 1}, {"backbone": "separable"}, {"student": 0.125}, {"loss": "map", "loss_weight": 3.0},
        {"loss": "relation"}, {"loss": "ranking", "loss_weight": 0.3}, {"teacher": 0.5},
    ]  # fmt: skip
    yield from ((quarter.model_copy(update=shape),) for shape in shapes)
    for first, stages, shared in ((3, None, 0), (3, None, 2), (None, 3, 0), (None, 3, 1), (3, 3, 2)):
        yield Truncate(first=first, stages=stages), quarter.model_copy(update={"shared": shared})
    # Two trainings a plan: shorter ones on still smaller pictures.
    taught = half.model_copy(update={"epochs": max(1, epochs // 2), "input": 0.375})
    prune = Prune(keep=0.5, epochs=max(1, epochs // 4))
    yield taught, prune, Quantize()
    yield prune, taught, Quantize()
    yield Quantize(), taught, prune


def vae_plans(epochs: int) -> Iterator[tuple[Step, ...]]:
    """Students that learn from normals, and students that imitate; input size, latent size, losses."""
    yield ()
    small = Direct(student=0.125, drop_hidden=True, epochs=epochs)
    direct: list[dict[str, object]] = [
        {}, {"latents": 0.5}, {"latents": 0.25}, {"latents": 0.5, "input": 2 / 3}, {"drop_hidden": False}
    ]  # fmt: skip
    yield from ((small.model_copy(update=change),) for change in direct)
    taught = Distill(student=0.125, drop_hidden=True, epochs=epochs)
    losses: list[dict[str, object]] = [
        {}, {"latents": 0.5}, {"loss": "ranking"}, {"loss": "relation"}, {"loss": "divergence"}, {"input": 2 / 3}
    ]  # fmt: skip
    yield from ((taught.model_copy(update=change),) for change in losses)


@dataclass(frozen=True)
class Case:
    """A family's plans, and what its tables are called."""

    name: str
    plans: Callable[[int], Iterator[tuple[Step, ...]]]
    epochs: int
    variants: int
    damage: int
    seeds: int


CASES = {
    "stfpm": Case("magnetic-tile stfpm", stfpm_plans, EPOCHS, 1, 1, 2),
    "vae": Case("driving vae", vae_plans, VAE_EPOCHS, 1, 4, 3),
}


def work_of(case: Case, detector: Detector, dataset: Dataset) -> Work:
    """As a compilation's, of fewer pictures."""

    @cache
    def pictures(size: Size) -> Pictures:
        groups = [sample.group for sample in dataset.samples["train"]]
        return make_pictures(
            dataset.images("train", size), groups, seed=0, variants=case.variants, damage=case.damage,
            upright=dataset.upright,
        )  # fmt: skip

    return Work(
        pictures=pictures, calibration=lambda size: dataset.images("calibration", size), baseline=detector,
        weight_levels=TARGET.weight_levels if isinstance(TARGET.weight_levels, int) else 127, effort=1.0, seed=0,
        cache=OutputCache(),
    )  # fmt: skip


def rows(case: Case, detector: Detector, dataset: Dataset, folder: Path, *, quick: bool) -> Iterator[Line]:
    """Three lines a plan: AUROC, bytes over the baseline's, latency over the baseline's."""
    work, first, size = work_of(case, detector, dataset), folder / "0-0", 0
    for number, steps in enumerate(case.plans(1 if quick else case.epochs)):
        values, seconds = [], perf_counter()
        for seed in range(case.seeds if steps and not quick else 1):
            built = detector
            for step in steps:
                built = apply_step(built, step, replace(work, seed=seed))
            out = folder / f"{number}-{seed}"
            written = write(export_detector(built, TARGET), built, out, threshold=0.0, threads=1)
            pixels = dataset.images("selection", built.config.input_size)
            scores = score_pixels(load_artifact(out, cache=False), pixels).astype(np.float64)
            values.append(auroc(scores, dataset.labels("selection")))
        size = size or written.size
        title = f"{case.name}, {Plan(recipe='', steps=steps, seed=0).title()}"
        each = f"seeds {', '.join(f'{value:.3f}' for value in values)}; selection, {len(pixels)} pictures"
        took = f"{each}; {(perf_counter() - seconds) / len(values):.0f} s each"
        yield Line(f"{title}: AUROC", round(float(np.mean(values)), 4), "reported", True, "1", len(values), took)
        yield Line(f"{title}: bytes", written.size, "reported", True, "B", 1, f"{written.size / size:.4f} of baseline")
        ratios = latency_ratios(out / "model.onnx", first / "model.onnx", blocks=2 if quick else BLOCKS)
        spread = f"{min(ratios):.3f} to {max(ratios):.3f} over pairs of blocks of {CALLS} calls, processor time"
        yield Line(
            f"{title}: latency over baseline", round(median(ratios), 4), "reported", True, "1", len(ratios), spread
        )


def latency_ratios(one: Path, baseline: Path, *, blocks: int) -> list[float]:
    """Medians of blocks of calls over those of the baseline's block beside them; the order alternates."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    runs = [_runner(ort.InferenceSession(path.read_bytes(), options)) for path in (one, baseline)]
    ratios = []
    for block in range(blocks + 1):
        order = (0, 1) if block % 2 else (1, 0)
        times = {which: _block(runs[which]) for which in order}
        ratios.append(times[0] / times[1])
    return ratios[1:]  # the first block warms up


def _runner(session: ort.InferenceSession) -> Callable[[], object]:
    (wanted,) = session.get_inputs()
    image = np.random.default_rng(0).random(wanted.shape, dtype=np.float32)
    return lambda: session.run(None, {wanted.name: image})


def _block(run: Callable[[], object]) -> float:
    times = []
    for _ in range(CALLS):
        started = process_time()
        run()
        times.append(process_time() - started)
    return median(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """One table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=sorted(CASES))
    parser.add_argument("model", type=Path, help="a trained detector of the family")
    parser.add_argument("--data", type=Path, required=True, help="the data set that it was trained on")
    parser.add_argument("--quick", action="store_true", help="one epoch each")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    case, detector = CASES[options.case], load_model(options.model).detector
    with tempfile.TemporaryDirectory() as scratch:
        for line in rows(case, detector, load_dataset(options.data), Path(scratch), quick=options.quick):
            line.show()


if __name__ == "__main__":
    main()

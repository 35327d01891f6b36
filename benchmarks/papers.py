"""The comparisons of the two papers in kind: what every stage does to bytes, time, memory, loss and AUROC.

    python benchmarks/papers.py A --model stfpm.pt --data DIR [--quick]
    python benchmarks/papers.py B --model vae.pt --data DIR [--quick]

A (arXiv 2407.02968): a student-teacher detector in FP32, after PTQ that is calibrated on normals, on augmented normals
and on noise, and after QAT. B (arXiv 2409.00880): a VAE quantized, then distilled under that rounding, then pruned with
the first detector as guide. Time is of the whole call, interleaved with the baseline; AUROC through the file.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from line import Line  # beside this script

from budgetc.candidate import Built, Written, build, finish, score_split
from budgetc.compiler.confirming import sample_images
from budgetc.compiler.inputs import load_inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.core.plan import Distill, Plan, Prune, Qat, Quantize, Source, Step
from budgetc.measurement.latency import screen_latency
from budgetc.measurement.memory import measure_memory
from budgetc.measurement.quality import by_category, loss_between
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop

ROUNDS = 5
SOURCES: tuple[Source, ...] = ("calibration", "augmented", "noise")


def main() -> None:
    """One paper."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paper", choices=["A", "B"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="one epoch of everything: figures mean nothing")
    options = parser.parse_args()
    inputs = load_inputs(options.model, "host-cpu", options.data)
    stages = paper_a(quick=options.quick) if options.paper == "A" else paper_b(quick=options.quick)
    with tempfile.TemporaryDirectory() as scratch, RunDirectory.open(Path(scratch) / "run") as run:
        shop = make_workshop(inputs, run)
        for line in lines(options.paper, stages, shop, Path(scratch), rounds=1 if options.quick else ROUNDS):
            line.show()


def paper_a(*, quick: bool) -> dict[str, tuple[Step, ...]]:
    """Sections on PTQ and QAT."""
    found: dict[str, tuple[Step, ...]] = {"FP32": ()}
    for source in SOURCES:
        found[f"PTQ, {source}"] = (Quantize(source=source),)
    return {**found, "QAT": (Quantize(), Qat(epochs=1 if quick else 4))}


def paper_b(*, quick: bool) -> dict[str, tuple[Step, ...]]:
    """The three stages, each on top of the one before."""
    distill = Distill(student=0.5, epochs=1 if quick else 8, learning_rate=1e-3)
    prune = Prune(keep=0.5, epochs=1 if quick else 4)
    return {
        "FP32": (),
        "1 quantized": (Quantize(),),
        "2 distilled": (Quantize(), distill),
        "3 pruned": (Quantize(), distill, prune),
    }


def lines(
    paper: str, stages: dict[str, tuple[Step, ...]], shop: Workshop, scratch: Path, *, rounds: int
) -> Iterator[Line]:
    """Five figures a stage, each beside the first one's."""
    images = sample_images(shop.dataset, scratch / "pictures")
    first: Written | None = None
    for name, built, written in staged(stages, shop, scratch):
        first = first or written
        head = f"paper {paper}, {name}"
        yield bytes_line(head, written, first)
        yield time_line(head, written, first, images=images, rounds=rounds)
        memory = measure_memory(written.directory, images)["run_memory"]
        yield Line(f"{head}: memory of scoring above the runtime", memory.value, "reported", True, "B", memory.n,
                   f"{memory.lower:.0f} to {memory.upper:.0f}")  # fmt: skip
        held_out = [record.held_out_loss for record in built.trail if record.held_out_loss is not None]
        if held_out:
            yield Line(f"{head}: held-out loss of its training", round(held_out[-1], 5), "reported", True, "1", 1, "")
        yield from _aurocs(head, written, first, shop)


def staged(stages: dict[str, tuple[Step, ...]], shop: Workshop, scratch: Path) -> Iterator[tuple[str, Built, Written]]:
    """Every stage as a file."""
    for name, steps in stages.items():
        built = build(Plan(recipe="papers", steps=steps, seed=0), shop, 1.0)
        yield name, built, finish(built, shop, scratch / name.replace(" ", "-"))


def bytes_line(head: str, written: Written, first: Written) -> Line:
    """Of all deployed files."""
    return Line(f"{head}: bytes", written.size, "reported", True, "B", 1, f"{written.size / first.size:.4f} of FP32")


def time_line(head: str, written: Written, first: Written, *, images: list[Path], rounds: int) -> Line:
    """Of the whole call, in fresh processes that take turns with the first stage's."""
    ratios = []
    for number in range(rounds):
        pair = (written, first) if number % 2 else (first, written)
        spent = {id(one): screen_latency(one.directory, images)["latency_p50"].value for one in pair}
        ratios.append(spent[id(written)] / spent[id(first)])
    middle = sorted(ratios)[len(ratios) // 2]
    return Line(f"{head}: time over FP32", round(middle, 3), "reported", True, "1", rounds,
                f"{min(ratios):.3f} to {max(ratios):.3f}, fresh processes, decode to score")  # fmt: skip


def _aurocs(head: str, written: Written, first: Written, shop: Workshop) -> Iterator[Line]:
    for split in ("selection", "confirmation"):
        before, after = (score_split(one, shop, split) for one in (first, written))
        found, loss = by_category(after).over("mean"), loss_between(before, after).over("mean")
        words = f"{found.lower:.4f} to {found.upper:.4f}; loses {loss.value:.4f} ({loss.lower:.4f} to {loss.upper:.4f})"
        count = len(shop.dataset.samples[split])
        yield Line(f"{head}: AUROC on {split}", round(found.value, 4), "reported", True, "1", count, words)


if __name__ == "__main__":
    main()

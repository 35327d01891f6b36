"""Memory above the runtime with chosen session options against onnxruntime's defaults, FP32 and INT8.

    python benchmarks/memory.py --case NAME MODEL DATA [--case ...] [--resnet18 DATA] [--formats F ...] [--quick]

For each bundle: its file, the file quantized, and both with weights of 4 stored bits (or those of them that --formats
names), each with the options that take the least memory at the price that a tight `peak_memory` may cost, chosen on
three processes of each set. Then fresh processes of the chosen set, of the best set that needs no install step, and of
the defaults, alive together and timed in interleaved blocks. `--resnet18` adds an untrained STFPM of two ResNet18 at
256 px: memory and time depend on no weight. An empty graph shows what the runtime takes whatever the detector is.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from line import Line  # beside this script
from onnx import TensorProto, helper

from budgetc.candidate import sha256, write_untrained
from budgetc.compiler.confirming import sample_images
from budgetc.compiler.inputs import load_inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.compiler.sessions import ALLOWED, DEFAULT, Tried, least, option_sets, try_sessions, with_options
from budgetc.compiler.untrained import new_stfpm
from budgetc.core.layout import ARTIFACT, MODEL
from budgetc.core.measurement import Measurement
from budgetc.core.plan import Plan, Quantize, Step, StoreBits
from budgetc.core.session import Compute
from budgetc.detectors.families import bundle
from budgetc.measurement.memory import measure_memory
from budgetc.measurement.sessions import measure_sessions
from budgetc.report.schema import ArtifactSpec, Preprocessing, plain_spec
from budgetc.report.words import interval
from budgetc.store.run_directory import RunDirectory

BAR = 0.6
FORMATS: Mapping[str, tuple[Compute, tuple[Step, ...]]] = {
    "fp32": ("fp32", ()),
    "int8": ("int8", (Quantize(),)),
    "fp32 of 4 stored bits": ("fp32", (StoreBits(bits=4),)),
    "int8 of 4 stored bits": ("int8", (Quantize(), StoreBits(bits=4))),
}
_BUDGET = "target: host-cpu\nlimits: {peak_memory: 1 MiB}\nsearch: {recipes: [quantize]}\n"


def case_lines(
    name: str, model: Path, data: Path, scratch: Path, *, formats: Sequence[str], repeats: int
) -> Iterator[Line]:
    """All formats of one bundle."""
    (scratch / "budget.yaml").write_text(_BUDGET)
    inputs = load_inputs(model, scratch / "budget.yaml", data)
    with RunDirectory.open(scratch / f"{name}.run") as run:
        shop = make_workshop(inputs, run)
        images = sample_images(inputs.dataset, run.path / "pictures")
        size = inputs.detector.config.input_size
        empty = measure_memory(empty_artifact(run.path / "empty", size), images)["run_memory"]
        yield _line(f"{name}: run_memory of an empty graph", empty)
        for title in formats:
            compute, steps = FORMATS[title]
            plan = Plan(recipe="none", steps=steps, seed=0)
            written = write_untrained(plan, shop, run.path / title / "written").directory
            tried, _ = try_sessions(plan, option_sets(compute, limited=True), shop, images)
            yield from format_lines(
                f"{name} {title}", written, tried, images, compute=compute, empty=empty.value, repeats=repeats
            )


def format_lines(
    name: str, written: Path, tried: Tried, images: Sequence[Path], *, compute: Compute, empty: float, repeats: int
) -> Iterator[Line]:
    """Measured anew after the choice: what won by luck does not win twice."""
    local = [one for one in tried if not one[0].preoptimized]
    sets = {
        "default": DEFAULT,
        "chosen": least(tried, ALLOWED[compute]),
        "chosen without install": least(local, ALLOWED[compute]),
    }
    variants = {title: written.with_name(title) for title in sets}
    for title, options in sets.items():
        with_options(written, options, variants[title])
    found = measure_sessions(variants, images, rng=np.random.default_rng(1), repeats=repeats)
    yield Line(f"{name}: file", (written / MODEL).stat().st_size, "exact", True, "B", 1, "")
    for title, one in found.items():
        words = f"{name}, {title} ({sets[title].words()})"
        for metric in ("run_memory", "load_memory", "load_time"):
            yield _line(f"{words}: {metric}", one[metric])
        if title == "default":
            continue
        ratio = one["run_memory"].value / found["default"]["run_memory"].value
        yield Line(
            f"{words}: run_memory over the defaults'", round(ratio, 3), f"<= {BAR}", ratio <= BAR, "1", repeats, ""
        )
        above = (one["run_memory"].value - empty) / (found["default"]["run_memory"].value - empty)
        yield Line(f"{words}: the same above an empty graph", round(above, 3), "reported", True, "1", repeats, "")
        bar, time = ALLOWED[compute], one["latency_p50_ratio"]
        yield _line(f"{words}: time over the defaults'", time, f"<= {bar}", time.value <= bar)


def empty_artifact(directory: Path, size: tuple[int, int]) -> Path:
    """The largest value of a picture: all that remains is the runtime and the decoder."""
    shape = [1, 3, *size]
    nodes = [
        helper.make_node("GlobalMaxPool", ["image"], ["top"]),
        helper.make_node("ReduceMax", ["top"], ["score"], axes=[1, 2, 3], keepdims=0),
    ]
    ends = [("image", shape), ("score", [1])]
    image, score = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in ends)
    graph = helper.make_graph(nodes, "empty", [image], [score])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    spec = ArtifactSpec(
        detector="none", model_sha256=sha256(data), preprocessing=Preprocessing(height=size[0], width=size[1]),
        threshold=0.0, threads=1,
    )  # fmt: skip
    directory.mkdir()
    (directory / MODEL).write_bytes(data)
    (directory / ARTIFACT).write_text(json.dumps(plain_spec(spec)))
    return directory


def _line(name: str, found: Measurement, goal: str = "reported", ok: bool = True) -> Line:
    return Line(name, round(found.value, 3), goal, ok, found.unit, found.n, interval(found))


def _over(value: float | None, other: float | None) -> str:
    assert value is not None, "extremes of several processes"
    assert other is not None, "extremes of several processes"
    return f"{value / other:.3f}"


def main() -> None:
    """Every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs=3, action="append", default=[], metavar=("NAME", "MODEL", "DATA"))
    parser.add_argument("--resnet18", metavar="DATA", help="an untrained STFPM of two ResNet18")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--quick", action="store_true", help="two processes of each instead of seven")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases, scratch = [(name, Path(model), Path(data)) for name, model, data in options.case], Path(folder)
        if options.resnet18:
            network = new_stfpm((256, 256), teacher="resnet18", teacher_weights="none", student_widths="same")
            torch.save(bundle(network), scratch / "resnet18.pt")
            cases.append(("resnet18 STFPM", scratch / "resnet18.pt", Path(options.resnet18)))
        for name, model, data in cases:
            repeats = 2 if options.quick else 7
            for line in case_lines(name, model, data, scratch, formats=options.formats, repeats=repeats):
                line.show()


if __name__ == "__main__":
    main()

"""AUROC of a detector's files on instruction sets that are not here, beside this machine's: FP32 and INT8, under QEMU.

    python benchmarks/emulated.py --case NAME --model model.pt --data DIR [--steps JSON] [--quick]

`--steps` is a JSON list of steps that come first, such as '[{"step": "truncate", "stages": 5, "input": 0.625}]'. All
test pictures are scored by the device script: on a Cortex-A57 under onnxruntime 1.16.3, on a Nehalem under this
environment's. INT8 weights span what each target takes, so their files differ. Says nothing about time.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from line import Line  # beside this script
from pydantic import TypeAdapter

from budgetc.candidate import write
from budgetc.compiler.emulating import Emulated, emulate_file
from budgetc.compiler.inputs import load_inputs
from budgetc.compiler.pipeline import make_workshop
from budgetc.core.plan import Quantize, Step
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop

BUDGETS = ("nano-cpu", "x86-sse42")
"""Of which only the target counts."""
MOST = 0.005
"""AUROC that another instruction set may cost."""


def main() -> None:
    """One detector."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", required=True, help="what the lines are headed with")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", default="[]", help="that come first, as JSON")
    parser.add_argument("--quick", action="store_true", help="one processor, INT8 alone")
    options = parser.parse_args()
    steps: list[Step] = TypeAdapter(list[Step]).validate_python(json.loads(options.steps))
    for budget in BUDGETS[1:] if options.quick else BUDGETS:
        inputs = load_inputs(options.model, budget, options.data)
        with tempfile.TemporaryDirectory() as scratch, RunDirectory.open(Path(scratch) / "run") as run:
            for line in lines(options, steps, make_workshop(inputs, run), Path(scratch)):
                line.show()


def lines(options: argparse.Namespace, steps: list[Step], shop: Workshop, scratch: Path) -> Iterator[Line]:
    """Both formats on one target."""
    work, detector = shop.work(1.0, 0), shop.baseline
    for step in steps:
        detector = apply_step(detector, step, work)
    files = {} if options.quick else {"FP32": detector}
    for name, one in {**files, "INT8": apply_step(detector, Quantize(), work)}.items():
        directory = scratch / name
        write(export_detector(one, shop.target), one, directory, threshold=0.0, threads=1, session=shop.target.session)
        found = emulate_file(directory, target=shop.target.name, data=options.data)
        yield _line(f"{options.case}, {name} on {found.device} ({found.runtime})", found)


def _line(name: str, found: Emulated) -> Line:
    assert found.quality is not None and found.here is not None and found.auroc_loss is not None
    here, there, agreement = found.here.auroc_mean, found.quality.auroc_mean, found.agreement
    words = (
        f"{here.value:.4f} here ({here.runtime}), {there.value:.4f} there; scores differ by "
        f"{agreement.median_difference:.4f} of their range (median), {agreement.largest_difference:.4f} at most"
    )
    lost = found.auroc_loss.value
    return Line(f"{name}: AUROC lost", round(lost, 4), f"<= {MOST}", agreement.holds and lost <= MOST, "1", agreement.n,
                words, kind="emulated")  # fmt: skip


if __name__ == "__main__":
    main()

"""Everything the demo needs in one folder: data, a trained teacher with its student, and a demanding budget."""

from collections.abc import Callable
from pathlib import Path

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_stfpm
from budgetc.demo.dataset import write_demo_data
from budgetc.training.loop import Effort, Progress, silent

CONTRAST = 2.0
"""Of the drawn defects: the teacher finds most of them, not all."""
_INPUT_SIZE = (64, 64)
_EFFORT = Effort(epochs=20, learning_rate=3e-3, seed=0, label="training the demo's detector")
_STUDENT = (32, 48, 64, 96)

BUDGET = """\
# The demo's budget: neither the trained detector nor its plain INT8 version keeps it.
target: host-cpu                # this machine, one thread
data: data
limits:
  latency_p95: 15 ms            # decode to score, batch 1
  peak_memory: 128 MiB          # the fresh process that scores, runtime included
  artifact_size: 900 KiB        # all files that are deployed
  auroc: {min: 0.85, over: mean}
search: {recipes: [quantize, distill-quantize], trainings: 30, time: 6 min, seed: 0}
"""


def build_demo(root: Path, *, say: Callable[[str], None] = lambda sentence: None, progress: Progress = silent) -> None:
    """Fill `root` with `data/`, `model.pt` and `host-cpu.yaml`; what is there already is kept.

    Raises:
        UsageError: scikit-image or the teacher's weights are not installed.
    """
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "data").exists():
        say("cutting the demo's images from real textures")
        write_demo_data(root / "data", contrast=CONTRAST)
    if not (root / "model.pt").exists():
        say("training a student of EfficientNet-Lite0 on the normals (one to two minutes)")
        detector = new_stfpm(_INPUT_SIZE, student_widths=_STUDENT)
        train_bundle(detector, data=root / "data", out=root / "model.pt", effort=_EFFORT, progress=progress)
    if not (root / "host-cpu.yaml").exists():
        (root / "host-cpu.yaml").write_text(BUDGET, encoding="utf-8")
    say(f"{root}/ holds data/, model.pt and host-cpu.yaml")

"""EfficientAD from a trained bundle to an artifact."""

from pathlib import Path

import onnx
import pytest

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_efficientad
from budgetc.training.loop import Effort
from tests.end_to_end.command import plan_and_compile
from tests.end_to_end.conftest import SIDE, write_arrays

STEPS = """
  - step: distill
    settings: {epochs: 1, learning_rate: 0.005}
    choices: {teacher: [0.5], student: [0.5]}
  - step: prune
    settings: {keep: 0.75, epochs: 0}
  - step: quantize
  - step: store-bits
    settings: {bits: 6}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_is_compiled(tmp_path: Path) -> None:
    """Its artifact has a map, integer kernels and a threshold, is a fraction of its baseline, and nothing failed."""
    write_arrays(tmp_path / "data.npz")
    made = new_efficientad(
        (SIDE, SIDE), teacher_weights="none", teacher_widths=(16, 16, 16, 32), student_widths=(16, 16, 16)
    )
    train_bundle(
        made.detector,
        data=tmp_path / "data.npz",
        out=tmp_path / "efficientad.pt",
        effort=Effort(2, 2e-3, 0),
        variants=2,
    )
    found = plan_and_compile(tmp_path, "efficientad", STEPS, size="100 KiB", auroc=0.1)
    assert found.report["detector"] == "efficientad" and found.share < 0.3
    graph = onnx.load(found.out / "model.onnx").graph
    assert [output.name for output in graph.output] == ["score", "map"]
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) > 10

"""Uninformed students from normals to an artifact."""

from pathlib import Path

import pytest

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_uninformed_students
from budgetc.training.loop import Effort
from tests.end_to_end.command import plan_and_compile

STEPS = """
  - step: distill
    settings: {epochs: 2, learning_rate: 0.01}
    choices: {teacher: [0.5], student: [0.5], students: [1]}
  - step: prune
    settings: {epochs: 1}
  - step: quantize
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_they_are_trained_planned_and_compiled(case: Path) -> None:
    """Normalizers of the bundle are fitted; the artifact holds one narrow student, its head in FP32."""
    untrained = new_uninformed_students(
        (32, 32), receptive_field=17, teacher_weights="none", teacher_widths=(8, 16, 16, 16), students=2, descriptor=16
    )
    effort = Effort(epochs=3, learning_rate=3e-3, seed=0)
    trained = train_bundle(untrained, data=case / "data.npz", out=case / "students.pt", effort=effort, variants=2)
    assert trained.detector.module.get_buffer("scale").tolist() != [1, 1]
    found = plan_and_compile(case, "students", STEPS, size="200 KiB", auroc=0.4)
    assert found.report["detector"] == "uninformed_students" and found.share < 0.5

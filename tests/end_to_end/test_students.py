"""Uninformed students from normals to an artifact."""

import json
from pathlib import Path

import pytest

from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_uninformed_students
from budgetc.training.loop import Effort
from tests.end_to_end.test_compile import budgetc

RECIPE = """
name: students
description: one narrower student, pruned, in INT8
detectors: [uninformed_students]
steps:
  - step: distill
    settings: {epochs: 2, learning_rate: 0.01}
    choices: {teacher: [0.5], student: [0.5], students: [1]}
  - step: prune
    settings: {epochs: 1}
  - step: quantize
"""
BUDGET = """
target: host-cpu
data: data.npz
limits:
  latency_p95: 1 s
  peak_memory: 1 GiB
  artifact_size: 200 KiB
  auroc: {min: 0.4}
search: {recipes: [students.yaml], trainings: 2, time: 5 min}
"""


@pytest.mark.slow
def test_they_are_trained_planned_and_compiled(case: Path) -> None:
    """Normalizers of the bundle are fitted; the artifact holds one narrow student, its head in FP32."""
    untrained = new_uninformed_students(
        (32, 32), receptive_field=17, teacher_weights="none", teacher_widths=(8, 16, 16, 16), students=2, descriptor=16
    )
    effort = Effort(epochs=3, learning_rate=3e-3, seed=0)
    trained = train_bundle(untrained, data=case / "data.npz", out=case / "students.pt", effort=effort, variants=2)
    assert trained.detector.module.get_buffer("scale").tolist() != [1, 1]
    (case / "students.yaml").write_text(RECIPE)
    (case / "students-budget.yaml").write_text(BUDGET)
    planned = budgetc("plan", "students.pt", "--budget", "students-budget.yaml", cwd=case)
    assert planned.returncode == 0, planned.stderr
    ended = budgetc("compile", "students.pt", "--budget", "students-budget.yaml", "-o", "students-out", cwd=case)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((case / "students-out" / "report.json").read_text())
    assert report["detector"] == "uninformed_students"
    assert not [row for row in report["candidates"] if row["fate"] == "failed"]
    sizes = {row["id"]: row["artifact_size"] for row in report["candidates"]}
    baseline = next(row for row in report["candidates"] if row["plan"]["recipe"] == "none")
    assert sizes[report["chosen"]] < 0.5 * baseline["artifact_size"]

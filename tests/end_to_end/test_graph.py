"""Somebody else's ONNX file through the whole compiler."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from budgetc.compiler import compile_detector
from budgetc.core.layout import MODEL
from tests.end_to_end.conftest import write_arrays
from tests.graphs import exported, made

RECIPE = """
name: few
description: INT8 or not, weights in few bits
steps:
  - step: quantize
    optional: true
  - step: store-bits
    settings: {bits: 4}
"""
BUDGET = """
target: host-cpu
data: data.npz
limits:
  artifact_size: 64 KiB
  auroc: {min: 0.01}
search: {recipes: [few.yaml, cut.yaml], trainings: 2, time: 5 min}
"""
CUTTING = """
name: cut
description: what a graph has no use for
steps:
  - step: truncate
    settings: {input: 0.5}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_file_is_compiled(tmp_path: Path) -> None:
    """The artifact is the file stored in four bits, with its two outputs; what a graph cannot do is dropped with the
    reason, and the baseline has no dead branch.
    """
    for name, text in (("few", RECIPE), ("cut", CUTTING), ("budget", BUDGET)):
        (tmp_path / f"{name}.yaml").write_text(text)
    write_arrays(tmp_path / "data.npz")
    model = tmp_path / "theirs.onnx"
    model.write_bytes(exported(made("student-teacher")))
    said = list[str]()
    report = compile_detector(model, budget=tmp_path / "budget.yaml", out=tmp_path / "out", say=said.append)
    rows = {row.id: row for row in report.candidates}
    assert report.detector == "graph" and report.chosen is not None
    assert "store-bits(4)" in rows[report.chosen].plan.title()
    assert not [row for row in rows.values() if row.fate == "failed"]
    assert any("how its kind is built" in str(row.reason) for row in rows.values())
    assert said[0] == "note: outputs that are not shipped: pred_mask bool (1, 1, 32, 32)"
    session = ort.InferenceSession(tmp_path / "out" / MODEL, providers=["CPUExecutionProvider"])
    assert [(one.name, one.shape) for one in session.get_outputs()] == [("score", [1]), ("map", [1, 1, 32, 32])]
    found = session.run(None, {"image": np.full((1, 3, 32, 32), 0.5, np.float32)})
    assert all(np.isfinite(one).all() for one in found)

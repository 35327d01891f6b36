"""Session options reach onnxruntime: seen from what they do, in a process of their own."""

import platform
from pathlib import Path

import pytest

from budgetc.measurement.memory import measure_memory
from tests.measurement.scene import write_images
from tests.runtime.tiny import write_artifact

LEAN = {"arena": "as-requested", "memory_pattern": False, "trim": True}


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from Linux's /proc")
def test_options_save_memory(tmp_path: Path) -> None:
    """Of a graph with 12 MB of weights: running takes less with the lean options, loading less once it is installed."""
    images, found = write_images(tmp_path), {}
    for name, session in {"default": {}, "lean": LEAN, "installed": {**LEAN, "preoptimized": True}}.items():
        out = write_artifact(tmp_path / name, layers=22, channels=128, session=session)
        found[name] = {metric: one.value for metric, one in measure_memory(out, images, repeats=1).items()}
    weights = (tmp_path / "default" / "model.onnx").stat().st_size
    assert found["default"]["run_memory"] - found["lean"]["run_memory"] > weights / 2
    assert found["lean"]["load_memory"] - found["installed"]["load_memory"] > weights
    assert found["installed"]["load_time"] > 0

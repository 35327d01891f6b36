import platform
from pathlib import Path

import pytest

from budgetc.errors import InputRejected, TargetUnreachable, UsageError
from budgetc.measurement.memory import measure_memory
from tests.measurement.scene import write_images
from tests.runtime.tiny import write_artifact

linux = pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from Linux's /proc")


@linux
def test_peak_is_base_and_model(tmp_path: Path) -> None:
    """The parts of one process add up, and the peak is the larger of loading and running."""
    found = measure_memory(write_artifact(tmp_path), write_images(tmp_path), repeats=1)
    value = {name: m.value for name, m in found.items()}
    assert value["peak_memory"] == value["base_memory"] + value["model_memory"]
    assert value["model_memory"] == max(value["load_memory"], value["run_memory"])
    assert value["base_memory"] > 10_000_000


@linux
def test_larger_model_needs_its_weights(tmp_path: Path) -> None:
    """5.3 MB more of weights are at least 5.3 MB more of the model's memory; the base stays."""
    images = write_images(tmp_path)
    small = measure_memory(write_artifact(tmp_path / "small"), images, repeats=1)
    large = measure_memory(write_artifact(tmp_path / "large", layers=11, channels=128), images, repeats=1)
    weights = (tmp_path / "large" / "model.onnx").stat().st_size
    assert large["model_memory"].value - small["model_memory"].value > weights > 5_000_000
    assert abs(large["base_memory"].value - small["base_memory"].value) < 3_000_000


@linux
def test_bounds_are_the_extremes_of_the_processes(tmp_path: Path) -> None:
    """n counts fresh processes; the median lies between the extremes."""
    found = measure_memory(write_artifact(tmp_path), write_images(tmp_path), repeats=3)["peak_memory"]
    assert (found.n, found.unit, found.kind) == (3, "B", "measured")
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower <= found.value <= found.upper


def test_other_systems_are_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Linux there is no number, and no made-up one."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(TargetUnreachable, match="this is Darwin; measure on a Linux machine, or remove peak_memory"):
        measure_memory(write_artifact(tmp_path), write_images(tmp_path))


def test_repeats_must_be_positive(tmp_path: Path) -> None:
    """No process, no measurement."""
    with pytest.raises(UsageError, match="repeats is 0"):
        measure_memory(write_artifact(tmp_path), write_images(tmp_path), repeats=0)


@linux
def test_damaged_artifact_is_rejected(tmp_path: Path) -> None:
    """Rejected input is no unreachable target."""
    (write_artifact(tmp_path) / "model.onnx").write_bytes(b"")
    with pytest.raises(InputRejected, match="changed or damaged"):
        measure_memory(tmp_path, write_images(tmp_path), repeats=1)

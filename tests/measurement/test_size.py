from pathlib import Path

import pytest

from budgetc.errors import InputRejected
from budgetc.measurement.size import deployed_bytes, measure_size
from tests.runtime.tiny import write_artifact


def test_counts_what_the_detector_needs(tmp_path: Path) -> None:
    """Graph and artifact.json count, reports and the board's script do not."""
    directory = write_artifact(tmp_path)
    (directory / "report.json").write_text("{}" * 1000)
    (directory / "device").mkdir()
    (directory / "device" / "score.py").write_text("#" * 5000)
    expected = {name: len((directory / name).read_bytes()) for name in ("model.onnx", "artifact.json")}
    assert deployed_bytes(directory) == expected
    assert measure_size(directory).value == sum(expected.values())


def test_missing_file_is_named(tmp_path: Path) -> None:
    """An incomplete artifact has no size."""
    (write_artifact(tmp_path) / "model.onnx").unlink()
    with pytest.raises(InputRejected, match=r"model\.onnx missing"):
        deployed_bytes(tmp_path)

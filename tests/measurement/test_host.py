import platform
import subprocess
import sys

import pytest

from budgetc.measurement.host import cpu_features, cpu_name, device, runtime


def test_device_names_processor_and_threads() -> None:
    """The line of a measurement, in singular and plural."""
    assert device(1) == f"host: {cpu_name()}, 1 thread"
    assert device(2) == f"host: {cpu_name()}, 2 threads"


def test_processor_has_a_name() -> None:
    """There is always something to tell two machines apart."""
    assert cpu_name().strip() == cpu_name() != ""


@pytest.mark.skipif(platform.machine() != "x86_64" or sys.platform != "linux", reason="flags as x86 Linux spells them")
def test_features_are_single_flags() -> None:
    """Every x86-64 has SSE2; flags are sorted and split."""
    assert "sse2" in cpu_features()
    assert list(cpu_features()) == sorted(cpu_features())


def test_runtime_is_the_installed_one() -> None:
    """The version is what a fresh interpreter imports."""
    code = "import onnxruntime; print('onnxruntime', onnxruntime.__version__)"
    assert runtime() == subprocess.check_output([sys.executable, "-c", code], text=True).strip()

"""What importing the statistics costs."""

import subprocess
import sys


def test_import_loads_neither_scipy_nor_torch() -> None:
    """`budgetc --help` stays quick: scipy only where a function needs it, torch never."""
    code = "import sys, budgetc.core.statistics; print(sorted({'scipy', 'torch'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

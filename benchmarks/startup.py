"""How long `budgetc --help` and the import of the runtime take, and what they load.

python benchmarks/startup.py [--quick]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from line import Line  # beside this script


def seconds(command: Sequence[str], repeats: int) -> list[float]:
    """Wall-clock seconds of each run."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        found.append(time.perf_counter() - started)
    return found


def main() -> None:
    """Both commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 runs instead of 15")
    repeats = 3 if parser.parse_args().quick else 15
    found = seconds([sys.executable, "-m", "budgetc", "--help"], repeats)
    middle = statistics.median(found)
    most = f"{min(found):.3f} to {max(found):.3f}"
    Line("budgetc --help", round(middle, 3), "< 0.5", middle < 0.5, "s", repeats, most).show()
    program = "import budgetc.runtime.artifact, sys; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=False)
    Line(
        "import budgetc.runtime loads no torch", float(done.returncode == 0), "= 1", done.returncode == 0, "1", 1, ""
    ).show()


if __name__ == "__main__":
    main()

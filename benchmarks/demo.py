"""The demo's artifact against its baseline, and the same compilation again beside a busy CPU.

    python benchmarks/demo.py [--quick] [-o DIR]

Builds the demo's data and detector in DIR (kept) or a temporary folder, compiles twice into two fresh
stores, the second time while another process keeps a core busy. `--quick` compiles once.
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

from line import Line  # beside this script

import budgetc
from budgetc.core.measurement import Measurement
from budgetc.demo.build import build_demo
from budgetc.report.schema import Report


def spread(found: Measurement) -> str:
    """The interval in words."""
    return "" if found.lower is None or found.upper is None else f"{found.lower:.4g} to {found.upper:.4g}"


def compiled(folder: Path, name: str) -> tuple[Report, float]:
    """One compilation into a store of its own, and its seconds."""
    started = time.monotonic()
    report = budgetc.compile(folder / "model.pt", budget=folder / "host-cpu.yaml", out=folder / name)
    return report, time.monotonic() - started


def judge(report: Report, seconds: float) -> None:
    """The bars of one compilation."""
    verdict = report.verdict.overall if report.verdict else "none"
    Line(f"demo verdict: {verdict}", float(verdict == "compliant"), "= 1", verdict == "compliant", "1", 1, "").show()
    Line("demo compile", round(seconds, 1), "<= 540", seconds <= 540, "s", 1, "").show()
    assert report.comparison is not None, "the demo always builds something"
    for name, found in (
        ("size ratio", report.comparison.size_ratio),
        ("latency p50 ratio", report.comparison.latency_p50_ratio),
        ("model memory ratio", report.comparison.model_memory_ratio),
    ):
        Line(f"demo {name}", round(found.value, 4), "< 1", found.value < 1, "1", found.n, spread(found)).show()
    loss = report.comparison.auroc_loss
    Line(
        "demo AUROC loss, paired", round(loss.value, 4), "<= 0.05", loss.value <= 0.05, "1", loss.n, spread(loss)
    ).show()
    search = report.search
    for name, count in (
        ("structures enumerated", search.enumerated),
        ("discarded untrained", search.discarded_untrained),
        ("structures trained", search.trained),
        ("trainings, all rungs", search.trainings),
    ):
        Line(f"demo {name}", count, "reported", True, "structures", 1, "").show()


def spin() -> None:
    """A busy neighbor."""
    while True:
        pass


def repeatable(folder: Path, first: Report) -> None:
    """The same inputs into a fresh store beside a busy core."""
    neighbor = multiprocessing.Process(target=spin, daemon=True)
    neighbor.start()
    try:
        second, seconds = compiled(folder, "out-busy")
    finally:
        neighbor.kill()
    same = first.chosen == second.chosen
    near = second.chosen in first.search.near_ties or first.chosen in second.search.near_ties
    Line(
        "same choice beside a busy CPU, or a reported near-tie", float(same or near), "= 1", same or near, "1", 2, ""
    ).show()
    equal = first.outputs.get("model.onnx") == second.outputs.get("model.onnx")
    Line("same choice, same digest", float(equal), "= 1", equal or not same, "1", 2, f"{seconds:.0f} s busy").show()


def main() -> None:
    """Build, compile, compile again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="compile once")
    parser.add_argument("-o", type=Path, help="folder to build the demo in")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.o or Path(scratch) / "demo"
        build_demo(folder)
        report, seconds = compiled(folder, "out")
        judge(report, seconds)
        if not options.quick:
            repeatable(folder, report)


if __name__ == "__main__":
    main()

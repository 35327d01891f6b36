"""Kill -9 and resume: the same artifact as an undisturbed run, however often it is killed.

    python benchmarks/resume.py [--quick] [--predicted] [--seed N]

A small student-teacher detector is compiled for this machine, or (--predicted) for a board whose costs are predicted,
which times nothing and takes seconds. Every attempt is a process of its own that gets SIGKILL
after a random time: most are forked from one that has loaded the libraries, every tenth is a fresh `budgetc compile`,
so that loading is interrupted too. An attempt that ends before its time is compared with the undisturbed run, and the
next one starts from nothing.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from line import Line  # beside this script
from numpy.typing import NDArray

from budgetc.compiler.pipeline import compile_detector, run_path
from budgetc.compiler.training import train_bundle
from budgetc.compiler.untrained import new_stfpm
from budgetc.core.plan import fingerprint
from budgetc.report.verify import read_report, verify_artifact
from budgetc.store.events import LOG, parse_log
from budgetc.training.loop import Effort

SIDE = 32
RECIPE = """
name: tiny
description: two widths, INT8 or not
steps:
  - step: distill
    optional: true
    settings: {epochs: 4, learning_rate: 0.01}
    choices:
      teacher: [null, 0.5]
      student: [1.0, 0.5]
  - step: quantize
    optional: true
"""
BUDGET = """
target: TARGET
evidence: predicted
data: data.npz
limits:
  latency_p95: 1 s
  peak_memory: 1 GiB
  artifact_size: 64 KiB
  auroc: {min: 0.6}
search: {recipes: [tiny.yaml], trainings: 12, time: 10 h}
"""
LONGEST = 0.25
"""Attempts live up to this share of the undisturbed run, so that several are needed, and most get a step further."""
_AT_LEAST_S = 2.5
"""But no shorter than it takes to read the inputs and to replay what is known."""


def surface(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """(count, 32, 32) stripes of one period at any phase, with noise."""
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    stripes = 128 + 50 * np.sin(np.arange(SIDE)[None, None, :] * 0.8 + phase)
    return np.clip(stripes + rng.normal(0, 6, (count, SIDE, SIDE)), 0, 255).astype(np.uint8)


def prepare(folder: Path, target: str) -> None:
    """Data, a trained detector of a few thousand weights, a recipe and a budget."""
    rng = np.random.default_rng(0)
    good, bad = surface(rng, 40), surface(rng, 40)
    for image in bad:
        y, x = rng.integers(0, SIDE - 14, 2)
        image[y : y + 14, x : x + 14] = rng.choice([0, 255], (14, 14))
    np.savez(
        folder / "data.npz",
        train=surface(rng, 60), test=np.concatenate([good, bad]), test_label=np.array([0] * 40 + [1] * 40),
        train_group=np.array([f"n{i}" for i in range(60)]), test_group=np.array([f"t{i}" for i in range(80)]),
    )  # fmt: skip
    (folder / "tiny.yaml").write_text(RECIPE)
    (folder / "budget.yaml").write_text(BUDGET.replace("TARGET", target))
    detector = new_stfpm((SIDE, SIDE), teacher="plain", teacher_widths=(16, 24, 32, 32), student_widths=(8, 16, 16, 16))
    train_bundle(detector, data=folder / "data.npz", out=folder / "model.pt", effort=Effort(5, 1e-2, 0))


def digest(out: Path) -> str:
    """What must not depend on kills: the choice, and the bytes of everything that is deployed."""
    report = read_report(out)
    files = {name: sha for name, sha in report.outputs.items() if not name.startswith("report")}
    assert verify_artifact(out).holds, verify_artifact(out).problems
    return fingerprint([report.chosen, files])


def start_fork(folder: Path, out: Path, *, resume: bool) -> int:
    """Compile in a forked process; returns its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            compile_detector(folder / "model.pt", budget=folder / "budget.yaml", out=out, resume=resume)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def start_fresh(folder: Path, out: Path, *, resume: bool) -> int:
    """Compile by the command line in a process that has loaded nothing yet; returns its id."""
    line = [sys.executable, "-m", "budgetc", "compile", str(folder / "model.pt"), "--budget",
            str(folder / "budget.yaml"), "-o", str(out)]  # fmt: skip
    quiet = subprocess.DEVNULL
    return subprocess.Popen([*line, *["--resume"] * resume], stdout=quiet, stderr=quiet).pid


def wait(child: int, seconds: float) -> int | None:
    """Exit code of a process that ends in time; None where it had to be killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


@dataclass
class Tally:
    """What became of the attempts."""

    kills: int = 0
    digests: list[str] = field(default_factory=list)
    """Of every run that ended, after how many kills ever."""
    phases: dict[str, int] = field(default_factory=dict)
    """Last event before the kill -> how often."""
    anew: int = 0
    """Trainings carried out in all runs that ended."""
    needed: int = 0
    """Trainings that these runs needed."""

    def ended(self, out: Path) -> None:
        """Compare a run that ended, and clear the table for the next."""
        self.digests.append(digest(out))
        events = parse_log((run_path(out) / LOG).read_bytes()).events
        trainings = [event.data for event in events if event.event == "training"]
        self.anew += sum(one["anew"] is True for one in trainings)
        self.needed += len({one["key"] for one in trainings})
        shutil.rmtree(out)
        shutil.rmtree(run_path(out))

    def killed(self, out: Path) -> None:
        """Note where it happened."""
        self.kills += 1
        log = run_path(out) / LOG
        events = parse_log(log.read_bytes()).events if log.exists() else ()
        last = events[-1].event if events else "nothing recorded"
        self.phases[last] = self.phases.get(last, 0) + 1


def disturb(folder: Path, kills: int, longest: float, rng: np.random.Generator) -> Tally:
    """Attempts on one output directory, killed and resumed."""
    tally, out = Tally(), folder / "out"
    while tally.kills < kills:
        fresh = tally.kills % 10 == 9
        start = start_fresh if fresh else start_fork
        child = start(folder, out, resume=run_path(out).is_dir())
        code = wait(child, rng.uniform(0.0, longest))
        if code is None:
            tally.killed(out)
        elif code == 0:
            tally.ended(out)
        else:
            raise SystemExit(f"an attempt after {tally.kills} kills ended with code {code}")
    while wait(start_fork(folder, out, resume=run_path(out).is_dir()), 3600) != 0:
        raise SystemExit("the last attempt, undisturbed, failed")
    tally.ended(out)
    return tally


def main() -> None:
    """Undisturbed, then disturbed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 kills instead of 100")
    parser.add_argument("--predicted", action="store_true", help="for a target whose costs are predicted")
    parser.add_argument("--seed", type=int, default=0, help="of the times at which attempts are killed")
    options = parser.parse_args()
    kills, target = 5 if options.quick else 100, "jetson-nano-cpu" if options.predicted else "host-cpu"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, target)
        started = time.monotonic()
        if wait(start_fork(folder, folder / "calm", resume=False), 3600) != 0:
            raise SystemExit("the undisturbed run failed")
        longest = max(_AT_LEAST_S, LONGEST * (time.monotonic() - started))
        wanted = digest(folder / "calm")
        tally = disturb(folder, kills, longest, np.random.default_rng(options.seed))
    where = ", ".join(f"{count} after {what!r}" for what, count in sorted(tally.phases.items()))
    same = sum(found == wanted for found in tally.digests)
    runs = len(tally.digests)
    Line(
        "resume: kill -9 / resume cycles", tally.kills, f">= {kills}", tally.kills >= kills, "kills", runs, where
    ).show()
    name = "resume: runs whose digest is that of the undisturbed run"
    Line(name, same / runs, "= 1", same == runs, "1", runs, f"{same} of {runs} runs, {tally.kills} kills").show()
    lost = tally.anew - tally.needed
    name = "resume: trainings carried out more than once, over kills"
    spread = f"{lost} of {tally.anew} trainings, {tally.needed} needed"
    Line(name, round(lost / tally.kills, 3), "<= 1", lost <= tally.kills, "1", tally.kills, spread).show()


if __name__ == "__main__":
    main()

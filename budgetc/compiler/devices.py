"""A real board in place of a target's prediction: by ssh during the search, or by kits that are carried to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from budgetc.candidate import Written
from budgetc.compiler.costing import Meters
from budgetc.compiler.inputs import Inputs
from budgetc.compiler.searching import Search
from budgetc.core.plan import fingerprint
from budgetc.errors import UsageError
from budgetc.measurement.board.address import parse_address
from budgetc.measurement.board.board import Board
from budgetc.measurement.board.kit import BoardNeeded, KitMeter, kit_job, read_kits
from budgetc.measurement.board.meter import BoardMeter, Conditions, unlike
from budgetc.measurement.board.opset import least_version
from budgetc.measurement.latency import Pairs
from budgetc.report.schema import BoardRecord
from budgetc.search.finalists import finalists
from budgetc.store.durable import write_durably

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """What measures, and what the board said of itself meanwhile."""

    meters: Meters | None = None
    """None: as the target says."""
    conditions: Conditions = field(default_factory=lambda: Conditions(""))

    def record(self, pairs: Pairs | None) -> BoardRecord | None:
        """For the report; None where no board was measured."""
        if not self.conditions.facts:
            return None
        samples = {
            subject: tuple(tuple(pair.times(subject, "total_ms")) for pair in (pairs.used if pairs else ()))
            for subject in ("artifact", "baseline")
        }
        return BoardRecord(
            where=self.conditions.where, facts=self.conditions.facts, versions=self.conditions.versions,
            samples=tuple(self.conditions.samples), latency_ms=samples,
        )  # fmt: skip


def bench(inputs: Inputs, say: Say) -> Bench:
    """What measures for these inputs. A board that is not there is found out now, not after the first training.

    Raises:
        UsageError: no such address, or a kit for a target that nothing can be predicted of.
        InputRejected: imported results are damaged. TargetUnreachable: the board is not there.
    """
    device = inputs.device
    if device is None:
        return Bench()
    if device.url is not None:
        address = parse_address(device.url)
        board = Board(address, say, runtime=inputs.target.runtime, motion=inputs.dataset.inputs is not None)
        meter = BoardMeter(board, Conditions(str(address)), inputs.target)
        meter.conditions.meet(meter.board.facts)  # what the store knows of this board is not measured again
        meter.board.require(least_version(inputs.target.max_opset))
        if warning := unlike(inputs.target, meter.board.facts):
            say(warning)
        say(f"measuring on {address}: {meter.board.facts.get('model') or meter.board.facts.get('cpu')}")
        return Bench(Meters(meter, meter), meter.conditions)
    if inputs.target.cost is None:
        raise UsageError(
            f"--kit and --import: target {inputs.target.name} has no cost model, so the search before the trip to the "
            "board can predict nothing; choose a target that has one, or connect the board (--device)"
        )
    kits = KitMeter(read_kits(device.results), Conditions(""), inputs.target)
    for warning in {unlike(inputs.target, found.board) for _, found in kits.results} - {""}:
        say(warning)
    return Bench(Meters(None, kits), kits.conditions)


def pack_kit(
    search: Search,
    baseline: Written,
    images: Sequence[Path],
    *,
    error: float,
    inputs: Inputs,
    out: Path,
    why: BoardNeeded,
) -> BoardNeeded:
    """Write the kit of all finalists that the search has, and say what to do with it; `why`: what is missing.

    Raises:
        StorageFailed: the kit cannot be written.
    """
    assert inputs.device is not None
    rows = list(search.rows.values())
    names = [name for rules in (search.aims, search.limits) for name in finalists(rows, rules, error)]
    if not names:
        names = list(search.best_effort())
    kit = inputs.device.kit
    if kit is None:
        return BoardNeeded(
            f"{why}; the search has come to {', '.join(dict.fromkeys(names))}: run the same command with --kit FILE "
            "instead of --import for another kit, then import all results"
        )
    files = {name: search.written[name].files() for name in dict.fromkeys(names)}
    rng = np.random.default_rng(int(fingerprint(sorted(files))[:8], 16))
    command = replace(inputs, device=None).command(out).partition(" ")[2]
    job = kit_job(files, baseline.files(), images, rng=rng, command=command, target=inputs.target)
    write_durably(kit, job.packed().data)
    return BoardNeeded(
        f"{kit} holds {len(files)} finalists and the baseline: carry it to the board, unpack it, run python3 run_me.py "
        "there, and give the results.json to the same command: --import results.json instead of --kit. What was "
        "trained is kept"
    )

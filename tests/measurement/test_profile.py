"""Where the time of a graph goes, in which format."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from budgetc.candidate import build, finish
from budgetc.core.plan import Fp16, Plan, Quantize, Step
from budgetc.measurement.profile import NodeTime, profile_nodes
from budgetc.store.run_directory import RunDirectory
from budgetc.workshop import Workshop
from tests.small import dataset, small, target


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    """A run directory of its own."""
    with RunDirectory.open(tmp_path / "run") as opened:
        yield opened


def profiled(run: RunDirectory, family: str, *steps: Step) -> tuple[NodeTime, ...]:
    shop = Workshop(small(family), dataset(), target(), run, seed=0, key="k")
    written = finish(build(Plan(recipe="r", steps=steps, seed=0), shop, 1.0), shop, run.path / "file")
    return profile_nodes(written.directory)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_int8_shows_where_it_really_runs(family: str, run: RunDirectory) -> None:
    """Convolutions take integers, heads stay in FP32, and what changes between them is told apart."""
    nodes = profiled(run, family, Quantize())
    kinds = {node.kind: node.compute for node in nodes}
    assert kinds["QLinearConv"] == "int8"
    assert kinds["QuantizeLinear"] == "convert"
    assert "fp32" in kinds.values()


def test_stored_halves_compute_in_fp32(run: RunDirectory) -> None:
    """FP16 weights are folded back at load: nothing runs in FP16, and no Cast is left."""
    nodes = profiled(run, "stfpm", Fp16())
    assert {node.compute for node in nodes if "Conv" in node.kind} == {"fp32"}
    assert "Cast" not in {node.kind for node in nodes}


def test_every_node_has_a_name_and_a_time(run: RunDirectory) -> None:
    """Names are unique, times of the order of what such a network takes."""
    nodes = profiled(run, "stfpm")
    assert len({node.name for node in nodes}) == len(nodes) > 5
    assert all(0 <= node.ms < 1000 for node in nodes)

"""`explain`."""

import json
from pathlib import Path

import pytest

from budgetc.compiler.training import save_bundle
from tests.cli.command import Command
from tests.small import small_vae


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small detector."""
    path = tmp_path_factory.mktemp("bundle") / "model.pt"
    save_bundle(small_vae(), path)
    return path


def test_operators_roofs_and_totals(budgetc: Command, bundle: Path) -> None:
    """A row for each operator, then totals with their intervals, and what nobody measured."""
    ended = budgetc("explain", bundle, "--target", "raspberry-pi-4")
    assert ended.code == 0, ended.err
    for word in ("roof", "share", "latency", "peak memory", "90% intervals; confidence low", "not measured", " to "):
        assert word in ended.out
    found = json.loads(budgetc("explain", bundle, "--target", "raspberry-pi-4", "--json").out)
    assert (
        found["schema_version"] == 1 and found["costs"]["latency_ms"]["lower"] < found["costs"]["latency_ms"]["upper"]
    )
    assert {"name", "kind", "compute", "bytes", "ms", "roof", "share"} <= set(found["operators"][0])


def test_what_is_missing_is_said(budgetc: Command, bundle: Path) -> None:
    """A target that measures has no cost model."""
    ended = budgetc("explain", bundle, "--target", "host-cpu")
    assert ended.code == 0
    assert "missing: target host-cpu measures instead of predicting" in ended.out

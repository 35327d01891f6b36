"""Costs come from the store only where they would come out the same."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from budgetc import workshop
from budgetc.candidate import Written
from budgetc.compiler.costing import Costing
from budgetc.core.budget import Limits
from budgetc.core.measurement import Measurement
from budgetc.store.shared import Store
from tests.small import target

LIMITS = Limits.model_validate({"latency_p95": "10 ms"})
LATENCY = Measurement(metric="latency_p95", value=1.0, unit="ms", n=60, kind="measured", device="here")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories of all files that were timed, on a device that takes 1 ms for each."""
    seen = list[Path]()

    def screen(directory: Path, images: Sequence[Path]) -> dict[str, Measurement]:
        seen.append(directory)
        return {name: LATENCY.model_copy(update={"metric": name}) for name in ("latency_p50", "latency_p95")}

    monkeypatch.setattr("budgetc.compiler.costing.screen_latency", screen)
    return seen


def test_a_known_structure_is_not_timed_again(tmp_path: Path, timed: list[Path]) -> None:
    """Another file of the same structure costs the same."""
    written = Written(tmp_path, 1, "structure", 1, 0.0)
    with Store.open(tmp_path / "store") as store:
        costing = Costing(target(), LIMITS, (), store)
        assert costing.quick(written) == costing.quick(replace(written, directory=tmp_path / "other"))
    assert timed == [tmp_path]


def test_times_of_other_circumstances_are_not_served(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, timed: list[Path]
) -> None:
    """A time holds decoding: another Pillow, or newer code, is timed anew."""
    written = Written(tmp_path, 1, "structure", 1, 0.0)
    with Store.open(tmp_path / "store") as store:
        costing = Costing(target(), LIMITS, (), store)
        costing.quick(written)
        monkeypatch.setattr(workshop, "RESULTS", -1)
        costing.quick(written)
    assert timed == [tmp_path, tmp_path]


def test_a_limit_that_seems_missed_is_looked_at_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A neighbor that takes the processor for one look costs no structure its place; kept looks are not repeated."""
    waiting = [30.0, 25.0, 6.0]

    def screen(directory: Path, images: Sequence[Path]) -> dict[str, Measurement]:
        spent = waiting.pop(0)
        return {
            name: LATENCY.model_copy(update={"metric": name, "value": spent}) for name in ("latency_p50", "latency_p95")
        }

    monkeypatch.setattr("budgetc.compiler.costing.screen_latency", screen)
    written = Written(tmp_path, 1, "structure", 1, 0.0)
    with Store.open(tmp_path / "store") as store:
        costing = Costing(target(), LIMITS, (), store)
        assert costing.quick(written)["latency_p95"].value == 6.0
        assert costing.quick(written)["latency_p95"].value == 6.0
    assert waiting == []

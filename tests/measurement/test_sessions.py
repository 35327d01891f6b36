"""The same graph with other session options, side by side."""

import platform
from pathlib import Path

import numpy as np
import pytest

from budgetc.measurement.sessions import measure_sessions
from tests.measurement.scene import write_images
from tests.runtime.tiny import write_artifact


@pytest.mark.skipif(platform.system() != "Linux", reason="peak memory is read from Linux's /proc")
def test_variants_are_held_against_the_first(tmp_path: Path) -> None:
    """Of another graph with eight times the layers, so that the ratio is seen in any noise."""
    variants = {"small": write_artifact(tmp_path / "a", layers=8, channels=16),
                "large": write_artifact(tmp_path / "b", layers=8, channels=128)}  # fmt: skip
    found = measure_sessions(variants, write_images(tmp_path), rng=np.random.default_rng(0), repeats=2)
    assert found["small"]["latency_p50_ratio"].value == 1.0
    assert found["large"]["latency_p50_ratio"].value > 2
    assert found["large"]["run_memory"].value > found["small"]["run_memory"].value
    assert {one.n for each in found.values() for one in each.values()} == {2}
    assert (found["large"]["load_time"].unit, found["large"]["load_memory"].unit) == ("ms", "B")

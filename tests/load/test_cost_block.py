"""The block of a target's file that machines write."""

from pathlib import Path

import pytest

from budgetc.core.cost import CostModel
from budgetc.errors import ConfigError
from budgetc.load.config import load_target
from budgetc.load.cost_block import with_cost, write_cost
from tests.targets import cost

ABOVE = """# Written by people.
name: board                     # with comments
description: d
compute_unit: cpu
runtime: onnxruntime
threads: 1
max_opset: 17
max_ir_version: 8
dtypes: [fp32]
weight_levels: 63
fit: {devices: [board], runtimes: [ncnn], gmac_per_s: 5, gbyte_per_s: 3}
"""


def test_what_people_wrote_stays_as_it_is(tmp_path: Path) -> None:
    """Appended first, replaced after; the file reads back as the same model."""
    path = tmp_path / "board.yaml"
    path.write_text(ABOVE)
    for known in (cost(), cost(nominal=0.8)):
        write_cost(path, known)
        assert path.read_text().startswith(ABOVE)
        assert path.read_text().count("cost:\n") == 1
        assert load_target(path).target.cost == CostModel.model_validate(known.model_dump())
    assert [one.name for one in tmp_path.iterdir()] == ["board.yaml"]


def test_what_follows_the_block_is_not_lost() -> None:
    """The block must be the last one."""
    with pytest.raises(ConfigError, match=r"`cost:` must be the last block.*move 'fit: 3' above it"):
        with_cost("name: a\ncost:\n  nominal: 1\nfit: 3\n", cost())

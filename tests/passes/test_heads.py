"""Parts of a score stay in FP32 and apart, whatever the network before them became."""

import pytest

from budgetc.core.admissible import foreign_setting
from budgetc.core.plan import Direct, Distill, Prune, Quantize, Step, Truncate
from budgetc.detectors.layers import units
from budgetc.passes.apply import apply_step
from tests.small import FAMILIES, small, work_for

STEPS: tuple[Step, ...] = (
    Distill(student=0.5, epochs=0),
    Distill(student=0.5, latents=0.5, epochs=0),
    Direct(student=0.5, epochs=0),
    Prune(keep=0.5, epochs=0),
    Prune(keep=0.7, epochs=0, allocation="knapsack"),
    Prune(keep=0.5, epochs=0, latents=0.5),
    Truncate(input=0.5),
)
CASES = [
    pytest.param(family, step, id=f"{family}-{number}-{step.step}")
    for family in FAMILIES
    for number, step in enumerate(STEPS)
    if foreign_setting(step, family) is None
]


@pytest.mark.parametrize(("family", "step"), CASES)
def test_heads_stay_in_fp32(family: str, step: Step) -> None:
    """The same units are heads after a step, and INT8 everywhere else leaves them alone; means and variances of latents
    are two.
    """
    detector = small(family)
    work = work_for(detector)
    before = [name for name, unit in units(detector.module) if unit.head]
    changed = apply_step(detector, step, work)
    assert [name for name, unit in units(changed.module) if unit.head] == before
    rounded = apply_step(changed, Quantize(first_convolution=True, depthwise=True, last_layers=True), work)
    assert not set(rounded.formats) & set(before)
    assert {"encoder.mu", "encoder.logvar"} <= set(before) or family != "vae"

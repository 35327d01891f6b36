"""No pass mutates the detector it was given."""

import pytest

from budgetc.core.admissible import foreign_setting
from budgetc.core.plan import Direct, Distill, Fp16, Prune, Qat, Quantize, Step, StoreBits, Truncate
from budgetc.detectors.backbones import build_backbone
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.errors import UsageError
from budgetc.passes.apply import apply_step
from tests.small import FAMILIES, plain, small, small_stfpm, work_for

STEPS = (
    Quantize(),
    Fp16(),
    Distill(student=0.5, epochs=1),
    Distill(student=0.5, teacher=0.5, epochs=1),
    Distill(student=0.5, teacher=0.5, epochs=1, loss="map"),
    Direct(student=0.5, epochs=1),
    Prune(keep=0.5, epochs=1),
    Prune(keep=0.5, teacher=0.5, epochs=1),
    Prune(keep=0.7, epochs=0, allocation="knapsack"),
    Qat(epochs=1),
    StoreBits(bits=4),
    Truncate(input=0.5),
)
CASES = [
    pytest.param(family, quantized, step, id=f"{family}-{'int8-' if quantized else ''}{step.step}")
    for family in FAMILIES
    for step in STEPS
    for quantized in (False, True)
    if foreign_setting(step, family) is None and (quantized or not isinstance(step, Qat))
]


@pytest.mark.parametrize(("family", "quantized", "step"), CASES)
def test_the_input_stays_as_it_was(family: str, quantized: bool, step: Step) -> None:
    """Weights, statistics, formats, mode and shapes of the detector before a step are those after it."""
    detector = small(family)
    work = work_for(detector)
    if quantized:
        detector = apply_step(detector, Quantize(), work)
    before, formats = weights_digest(detector.module), dict(detector.formats)
    modes = [child.training for child in detector.module.modules()]
    result = apply_step(detector, step, work)
    assert result is not detector or isinstance(step, Qat), "only a training that helped nothing leaves all as it was"
    assert weights_digest(detector.module) == before
    assert detector.formats == formats
    assert [child.training for child in detector.module.modules()] == modes


@pytest.mark.parametrize("step", [Distill(), Prune()])
def test_a_family_that_a_pass_does_not_know_is_refused(step: Step) -> None:
    """The message names it."""
    known = small_stfpm()
    other = Detector("mystery", known.config, build_backbone(plain(8)))
    with pytest.raises(UsageError, match=f"{step.step} does not know detectors of family mystery"):
        apply_step(other, step, work_for(known))

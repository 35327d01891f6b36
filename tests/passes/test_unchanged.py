"""No pass mutates the detector it was given."""

import pytest

from budgetc.core.plan import Distill, Fp16, Prune, Quantize, Step
from budgetc.detectors.backbones import build_backbone
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.errors import UsageError
from budgetc.passes.apply import apply_step
from tests.small import plain, small, small_stfpm, work_for

STEPS = (
    Quantize(),
    Fp16(),
    Distill(student=0.5, epochs=1),
    Distill(student=0.5, teacher=0.5, epochs=1, loss="map"),
    Prune(keep=0.5, epochs=1),
)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: str(step.step))
def test_the_input_stays_as_it_was(family: str, quantized: bool, step: Step) -> None:
    """Weights, statistics, formats, mode and shapes of the detector before a step are those after it."""
    if family != "stfpm" and isinstance(step, Distill) and step.teacher is not None:
        step = Distill(student=0.5, teacher=None if family == "vae" else 0.5, epochs=2)
    detector = small(family)
    work = work_for(detector)
    if quantized:
        detector = apply_step(detector, Quantize(), work)
    before, formats = weights_digest(detector.module), dict(detector.formats)
    modes = [child.training for child in detector.module.modules()]
    result = apply_step(detector, step, work)
    assert result is not detector
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

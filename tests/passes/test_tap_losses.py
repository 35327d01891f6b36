"""What a student of an STFPM detector imitates beside features."""

from dataclasses import replace

import pytest
import torch

from budgetc.core.plan import Distill, Truncate
from budgetc.detectors.detector import Detector, as_input
from budgetc.detectors.stfpm import Stfpm
from budgetc.errors import UsageError
from budgetc.passes.distill import distill
from budgetc.passes.tap_losses import added_loss
from budgetc.passes.truncate import truncate
from budgetc.passes.work import Work
from tests.small import SIZE, small_stfpm, work_for

INDICES = torch.arange(4)


def student(detector: Detector, work: Work) -> tuple[Detector, Stfpm]:
    """Half as wide, untrained."""
    result = distill(detector, Distill(student=0.5, epochs=0), work)
    assert isinstance(result.module, Stfpm)
    return result, result.module


def value(step: Distill, detector: Detector, work: Work) -> torch.Tensor:
    """The loss over some pictures."""
    assert isinstance(detector.module, Stfpm)
    added = added_loss(detector, step, work)
    assert added is not None
    return added(INDICES, detector.module.student_taps(as_input(work.pictures(SIZE).normal[:4])))


def test_features_alone_add_nothing() -> None:
    """They are always learned."""
    detector = small_stfpm()
    assert added_loss(detector, Distill(), work_for(detector)) is None


@pytest.mark.parametrize("loss", ["map", "relation", "ranking"])
def test_its_gradient_reaches_the_student_alone(loss: str) -> None:
    """Every stage of the student learns from it; teacher and baseline stay as they are, and its weight scales it."""
    baseline = small_stfpm()
    work = work_for(baseline)
    detector, network = student(baseline, work)
    step = Distill.model_validate({"loss": loss})
    once = value(step, detector, work)
    once.backward()
    reached = [unit for unit in network.student.parameters() if unit.grad is not None and bool(unit.grad.any())]
    assert len(reached) > 0.8 * len(list(network.student.parameters()))
    assert all(weight.grad is None for weight in network.teacher.parameters())
    assert isinstance(baseline.module, Stfpm)
    assert all(weight.grad is None for weight in baseline.module.parameters())
    torch.testing.assert_close(value(step.model_copy(update={"loss_weight": 3.0}), detector, work), 3 * once)


@pytest.mark.parametrize("loss", ["map", "relation"])
def test_the_baseline_itself_has_nothing_to_learn(loss: str) -> None:
    """Its maps are its own; a student with the teacher's weights has the teacher's relations."""
    detector = small_stfpm()
    assert isinstance(detector.module, Stfpm)
    if loss == "relation":
        detector.module.student.load_state_dict(detector.module.teacher.state_dict())
    work = work_for(detector)
    assert value(Distill.model_validate({"loss": loss}), detector, work).item() == pytest.approx(0, abs=1e-6)


def test_ranking_looks_at_growing_damage() -> None:
    """A student that finds damage has less to learn than the teacher's copy, to which all pictures are alike."""
    detector = small_stfpm()
    work = work_for(detector)
    blind = small_stfpm()
    assert isinstance(blind.module, Stfpm)
    blind.module.student.load_state_dict(blind.module.teacher.state_dict())
    step = Distill(loss="ranking")
    assert value(step, detector, work) < value(step, blind, work)


def test_maps_of_other_taps_are_refused() -> None:
    """They would be compared with the wrong ones."""
    detector = small_stfpm()
    work = work_for(detector)
    cut = truncate(detector, Truncate(stages=0), work)
    with pytest.raises(UsageError, match=r"maps of 1 taps cannot follow the baseline's of 2"):
        added_loss(cut, Distill(loss="map"), work)


def test_a_smaller_picture_is_judged_by_the_baseline_at_that_size() -> None:
    """Nothing is left out in silence."""
    detector = small_stfpm()
    small = replace(detector, config=detector.config.model_copy(update={"input_size": (16, 16)}))
    work = work_for(detector)
    added = added_loss(small, Distill(loss="map"), work)
    assert added is not None
    assert isinstance(detector.module, Stfpm)
    taps = detector.module.student_taps(as_input(work.pictures((16, 16)).normal[:4]))
    assert added(INDICES, taps).item() == pytest.approx(0, abs=1e-6)

"""What passes do to uninformed students alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from budgetc.core.plan import Distill, Fp16, Prune, Quantize, StoreBits
from budgetc.detectors.detector import Detector, as_input, score_images
from budgetc.detectors.layers import units
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents
from budgetc.errors import UsageError
from budgetc.passes.apply import apply_step
from budgetc.passes.distill import distill
from budgetc.passes.prune import prune
from budgetc.passes.pruning.groups import find_groups
from budgetc.passes.pruning.subject import subject_of
from budgetc.passes.refit import refit
from tests.small import at_effort, small_students, textures, work_for


def _module(detector: Detector) -> UninformedStudents:
    assert isinstance(detector.module, UninformedStudents)
    return detector.module


@pytest.mark.parametrize("count", [1, 3])
def test_distillation_chooses_how_many_students_there_are(count: int) -> None:
    """Fewer or more networks are deployed; with one the spread is gone."""
    detector = small_students()
    result = apply_step(detector, Distill(student=1.0, students=count, epochs=1), work_for(detector))
    assert isinstance(result.config, StudentsConfig) and result.config.students == count
    assert len(_module(result).students.nets) == count
    assert len(_module(result).center) == min(2, count)  # type: ignore[arg-type]
    assert np.isfinite(score_images(result.deployed(), textures(2))).all()


def test_what_is_trained_anew_has_no_slope() -> None:
    """Students have ReLU, which fuses in INT8; a teacher that stays keeps what it learned with."""
    detector = small_students()
    kept = distill(detector, Distill(epochs=0), at_effort(work_for(detector), 0))
    assert all(unit.fuses for name, unit in units(kept.module) if name.startswith("students."))
    assert not all(unit.fuses for name, unit in units(kept.module) if name.startswith("teacher."))
    smaller = distill(detector, Distill(teacher=0.5, epochs=0), at_effort(work_for(detector), 0))
    assert all(unit.fuses for _, unit in units(smaller.module))


def test_a_smaller_teacher_is_trained_once_for_all_students() -> None:
    """And stays the same object; its descriptors are whitened again."""
    detector = small_students()
    work = work_for(detector)
    one, two = (distill(detector, Distill(student=s, teacher=0.5, epochs=2), work) for s in (0.5, 1.0))
    assert _module(one).teacher is _module(two).teacher
    module = _module(one)
    with torch.no_grad():
        found = module.teacher(module.normalized(as_input(work.pictures((32, 32)).as_taken)))
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-3)


def test_pictures_smaller_than_a_patch_are_refused() -> None:
    """With the setting that asks for them."""
    detector = small_students(margin=False, input_size=(36, 36))
    with pytest.raises(UsageError, match=r"distill.input: 0.5 is too small: .*patches of 33 px"):
        distill(detector, Distill(input=0.5), work_for(detector))


@pytest.mark.parametrize("step", [Quantize(), Prune(epochs=1), Distill(epochs=1), StoreBits(bits=4)])
def test_normalizers_follow_every_change(step: Quantize | Prune | Distill | StoreBits) -> None:
    """Both terms of training normals have mean zero and deviation one through the network that ships."""
    detector = small_students()
    work = work_for(detector)
    result = apply_step(detector, step, work)
    deployed = result.deployed()
    assert isinstance(deployed, UninformedStudents)
    with torch.no_grad():
        terms = deployed.deviations(as_input(work.pictures((32, 32)).as_taken))
    for number, term in enumerate(terms):
        standardized = (term - deployed.center[number]) / deployed.scale[number]  # type: ignore[index]
        assert float(standardized.mean()) == pytest.approx(0, abs=1e-2)
        assert float(standardized.std()) == pytest.approx(1, abs=1e-2)


def test_normalizers_see_normals_only() -> None:
    """Damaged pictures, and calibration ones, change nothing."""
    detector = small_students()
    work = work_for(detector)
    pictures = work.pictures((32, 32))
    black = replace(pictures, damaged=np.zeros_like(pictures.damaged))
    other = replace(work, pictures=lambda size: black, calibration=lambda size: textures(12, seed=77))
    one, two = (refit(detector, each) for each in (work, other))
    assert not torch.equal(_module(one).center, _module(detector).center)  # type: ignore[arg-type]
    torch.testing.assert_close(_module(one).center, _module(two).center)
    torch.testing.assert_close(_module(one).scale, _module(two).scale)


def test_int8_keeps_the_spread_of_students() -> None:
    """Rounded descriptors that nearly agree: the spread is of the order it was, not noise of large squares."""
    detector = small_students()
    result = apply_step(detector, Quantize(), work_for(detector))
    images = as_input(textures(8, seed=8))
    rounded = result.deployed()
    assert isinstance(rounded, UninformedStudents)
    with torch.no_grad():
        before, after = (module.deviations(images)[1].flatten() for module in (_module(detector), rounded))
    assert float(np.corrcoef(before, after)[0, 1]) > 0.9


def test_every_network_loses_channels_of_its_own() -> None:
    """Groups of students are apart, and no group holds a descriptor's channels."""
    detector = small_students()
    subject = subject_of(detector, "student")
    groups = find_groups(subject.network, subject.example, subject.forward)
    assert len(groups) == 8
    assert {group.root.split(".")[1] for group in groups} == {"0", "1"}
    pruned = prune(detector, Prune(keep=0.5, teacher=0.5), at_effort(work_for(detector), 0))
    assert pruned.parameters() < 0.6 * detector.parameters()
    teacher, students = _module(pruned).descriptors(torch.rand(1, 3, 32, 32))
    assert [one.shape for one in students] == [teacher.shape] * 2


@pytest.mark.parametrize("stride", [2, 4])
def test_least_squares_makes_up_for_channels_of_dilated_layers(stride: int) -> None:
    """With pooling that does not stride, later layers are dilated; pruned by reconstruction, scores stay near."""
    detector = small_students(stride=stride)
    work = work_for(detector)
    images = textures(8, seed=8)
    wanted = score_images(detector.deployed(), images)
    errors = {}
    for importance in ("l2", "reconstruction"):
        step = Prune(keep=0.9, round_to=1, importance=importance, epochs=0)
        module = prune(detector, step, work)
        errors[importance] = float(np.abs(score_images(module.deployed(), images) - wanted).mean())
    assert errors["reconstruction"] < float(np.ptp(wanted))


def test_halves_store_what_they_did() -> None:
    """FP16 weights: scores hardly move."""
    detector = small_students()
    images = textures(4, seed=4)
    halves = apply_step(detector, Fp16(), work_for(detector))
    expected = score_images(detector.deployed(), images)
    np.testing.assert_allclose(score_images(halves.deployed(), images), expected, rtol=0.02, atol=0.05)

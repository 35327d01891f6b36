"""The head of uninformed students: error, spread, normalizers, map."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from budgetc.detectors.detector import Detector, as_input, lowest_score
from budgetc.detectors.uninformed_students import (
    StudentsConfig,
    UninformedStudents,
    compactness,
    deviations_of,
    fit_normalizers,
    whiten,
)
from budgetc.errors import BudgetcError
from tests.small import small_students, textures


def _module(detector: Detector) -> UninformedStudents:
    assert isinstance(detector.module, UninformedStudents)
    return detector.module


def _published(module: UninformedStudents, image: Tensor) -> Tensor:
    """The map before it is resized, in double precision and by the formulas as the paper writes them."""
    teacher, students = module.descriptors(image)
    t, each = teacher.double(), torch.stack(students).double()
    error = (each.mean(0) - t).square().mean(1)
    spread = each.square().mean((0, 2)) - each.mean(0).square().mean(1)
    terms = zip((error, spread), module.get_buffer("center").double(), module.get_buffer("scale").double(), strict=True)
    return torch.stack([(value - mean) / deviation for value, mean, deviation in terms]).sum(0)


@pytest.mark.parametrize("half_safe", [False, True])
@pytest.mark.parametrize("margin", [False, True])
@torch.no_grad()
def test_the_map_is_the_published_one(half_safe: bool, margin: bool) -> None:
    """Sum of both terms in deviations of normals; its maximum is the score, and resized it covers the picture."""
    module = _module(small_students(margin=margin, input_size=(36, 44)))
    module.half_safe = half_safe
    image = as_input(textures(3, seed=5, size=(36, 44)))
    score, resized = module(image)
    expected = _published(module, image)
    torch.testing.assert_close(score, expected.flatten(1).amax(1).float(), rtol=1e-3, atol=1e-4)
    assert resized.shape == (3, 1, 36, 44)
    if margin:
        whole = F.interpolate(expected[:, None].float(), (36, 44), mode="bilinear", align_corners=False)
        torch.testing.assert_close(resized, whole, rtol=1e-3, atol=1e-3)
    else:
        assert resized.amax() <= score.amax() + 1e-4


@torch.no_grad()
def test_spread_is_centered() -> None:
    """Students that agree but for a thousandth, far from zero: single precision keeps what E[x^2] - E[x]^2 loses."""
    torch.manual_seed(0)
    noise = torch.randn(3, 1, 8, 4, 4)
    students = [100 + 1e-3 * one for one in noise]
    _, spread = deviations_of(torch.zeros(1, 8, 4, 4), students)
    exact = torch.stack(students).double().var(0, correction=0).mean(1, keepdim=True)
    torch.testing.assert_close(spread, exact.float(), rtol=1e-3, atol=0)
    naive = torch.stack(students).square().mean(0) - torch.stack(students).mean(0).square()
    assert (naive.mean(1, keepdim=True) / exact - 1).abs().max() > 1


@torch.no_grad()
def test_one_student_is_judged_by_its_error_alone() -> None:
    """There is no second term, neither in the map nor among the normalizers."""
    module = _module(small_students(students=1))
    image = as_input(textures(2, seed=6))
    (error,) = module.deviations(image)
    assert module.center.shape == module.scale.shape == (1,)
    expected = (error - module.center) / module.scale  # type: ignore[operator]
    torch.testing.assert_close(module(image)[0], expected.flatten(1).amax(1), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_no_score_is_below_the_lowest() -> None:
    """It is that of students who all describe as the teacher does."""
    module = _module(small_students())
    for net in module.students.nets:
        net.load_state_dict(module.teacher.state_dict())
    score, _ = module(as_input(textures(2, seed=7)))
    torch.testing.assert_close(score, torch.full((2,), lowest_score(module)), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_normals_have_mean_zero_and_deviation_one() -> None:
    """Of each term, over all places of the normals that it was fitted to."""
    module, images = _module(small_students()), as_input(textures(24, seed=24))
    for number, term in enumerate(module.deviations(images)):
        standardized = (term - module.center[number]) / module.scale[number]  # type: ignore[index]
        assert float(standardized.mean()) == pytest.approx(0, abs=1e-3)
        assert float(standardized.std()) == pytest.approx(1, abs=1e-3)


def test_errors_without_spread_are_refused() -> None:
    """And those that are not finite, before anything is divided by them."""
    module = _module(small_students())
    for value in (0.0, float("nan")):
        with pytest.raises(BudgetcError, match="all alike, or not finite"):
            fit_normalizers(module, [torch.full((2, 1, 4, 4), value)] * 2)


def test_the_teacher_stays_in_evaluation_mode() -> None:
    """Its BatchNorm would forget what it was trained on."""
    module = _module(small_students()).train()
    assert module.students.training and not any(one.training for one in module.teacher.modules())


@torch.no_grad()
def test_whitening_is_part_of_the_teacher() -> None:
    """Descriptors of the normals get zero mean and unit deviation; directions stay."""
    module, images = _module(small_students()), as_input(textures(16, seed=3))
    before = module.teacher(module.normalized(images))
    whiten(module.teacher, before)
    after = module.teacher(module.normalized(images))
    torch.testing.assert_close(after.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-4)
    torch.testing.assert_close(after.std((0, 2, 3)), torch.ones(8), rtol=1e-3, atol=0)
    correlation = np.corrcoef(before[:, 0].flatten(), after[:, 0].flatten())[0, 1]
    assert correlation == pytest.approx(1, abs=1e-4)


def test_compactness_is_zero_without_and_one_with_correlation() -> None:
    """Of independent channels, and of copies whatever their scale and sign."""
    torch.manual_seed(0)
    assert float(compactness(torch.randn(4, 6, 32, 32))) < 0.05
    one = torch.randn(4, 1, 8, 8)
    assert float(compactness(torch.cat([one, -3 * one + 1, 0.5 * one], 1))) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input_size": (20, 64), "margin": False}, "patches of 33 px need at least 33"),
        ({"teacher": {"widths": (8, 8, 8)}}, r"teacher.widths: 3 given, a patch network of 33 px has 4"),
        ({"field": 65}, "student.widths: 4 given|teacher.widths: 4 given"),
    ],
)
def test_impossible_configurations_are_named(changes: dict[str, object], reason: str) -> None:
    """With what was given and what is needed."""
    with pytest.raises(ValidationError, match=reason):
        StudentsConfig.model_validate({"input_size": (64, 64), **changes})

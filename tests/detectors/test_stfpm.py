"""STFPM: its map, its score, its frozen teacher."""

import pytest
import torch
from pydantic import ValidationError

from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.stfpm import Stfpm, StfpmConfig, matching_loss, scale_maps
from tests.small import SIZE, plain, small_stfpm


def test_a_scale_map_is_half_the_squared_distance_of_directions() -> None:
    """Orthogonal features are at distance 1 whatever their length, opposite ones at 2, equal ones at 0."""
    teacher = torch.tensor([[3.0, 0.0], [0.0, 5.0]]).T.reshape(1, 2, 1, 2)
    opposite = [-2 * teacher]
    assert scale_maps([teacher], [2 * teacher])[0].abs().max() < 1e-6
    torch.testing.assert_close(scale_maps([teacher], opposite)[0], torch.full((1, 1, 1, 2), 2.0))
    torch.testing.assert_close(scale_maps([teacher], [teacher.flip(1)])[0], torch.ones(1, 1, 1, 2))


def test_features_of_zeros_give_a_finite_map() -> None:
    """Dead positions have no direction; the map there is finite, and so is its gradient."""
    zeros = torch.zeros(1, 2, 1, 1, requires_grad=True)
    loss = matching_loss([torch.ones(1, 2, 1, 1)], [zeros])
    loss.backward()
    assert torch.isfinite(loss) and zeros.grad is not None and torch.isfinite(zeros.grad).all()


def test_the_loss_sums_over_scales_of_different_size() -> None:
    """Each scale counts by the mean of its map, so large maps do not outweigh small ones."""
    a, b = torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[1.0]]]])
    large = [a.expand(1, 2, 8, 8), b.expand(1, 2, 8, 8)]
    assert matching_loss([a, large[0]], [b, large[1]]).item() == pytest.approx(2)


@torch.no_grad()
def test_the_score_is_the_largest_value_of_the_map() -> None:
    """score (b,), map (b, 1, H, W) at the size of the input."""
    score, anomaly_map = small_stfpm().deployed()(torch.rand(2, 3, *SIZE))
    assert anomaly_map.shape == (2, 1, *SIZE)
    assert torch.equal(score, anomaly_map.amax((1, 2, 3)))


@torch.no_grad()
def test_a_student_that_knows_everything_scores_zero() -> None:
    """Equal networks: no image is an anomaly."""
    module = small_stfpm().module
    assert isinstance(module, Stfpm)
    module.student.load_state_dict(module.teacher.state_dict())
    assert module(torch.rand(1, 3, *SIZE))[0].item() < 1e-9


def test_the_teacher_stays_in_evaluation_mode() -> None:
    """Training mode reaches the student alone, so the teacher's BatchNorm statistics are frozen."""
    module = small_stfpm().module.train()
    assert isinstance(module, Stfpm)
    assert module.student.training and not any(child.training for child in module.teacher.modules())


def test_a_new_detector_does_not_learn_statistics_by_looking() -> None:
    """The teacher of a detector nobody called `eval` on keeps its statistics when images pass."""
    module = Stfpm(StfpmConfig(input_size=SIZE, teacher=plain(8), student=plain(8)))
    before = {name: weight.clone() for name, weight in module.teacher.state_dict().items()}
    module(torch.rand(4, 3, *SIZE))
    assert all(torch.equal(weight, before[name]) for name, weight in module.teacher.state_dict().items())


def test_normalization_is_part_of_the_network() -> None:
    """Images in [0, 1] come in; mean and deviation of the configuration are applied inside."""
    config = StfpmConfig(input_size=SIZE, teacher=plain(8), student=plain(8), mean=(0.5, 0.0, 1.0), std=(0.5, 1.0, 2.0))
    image = torch.ones(1, 3, *SIZE)
    assert Stfpm(config).normalized(image)[0, :, 0, 0].tolist() == [1.0, 1.0, 0.0]


def test_taps_that_do_not_agree_are_refused() -> None:
    """The message says the channels of both and which setting makes them agree."""
    with pytest.raises(ValidationError, match=r"\(8, 16\).*\(8, 8\).*tap_channels"):
        StfpmConfig(input_size=SIZE, teacher=plain(8, 16), student=plain(8, 8))


@pytest.mark.parametrize(("shared", "start"), [(2, 1), (1, 0), (3, 1)])
def test_a_trunk_ends_before_the_first_tap_where_the_student_starts(shared: int, start: int) -> None:
    """Else the student would read a tap, or features of another size."""
    teacher = plain(8, 16).model_copy(update={"taps": (1,)})
    student = BackboneConfig(
        arch="plain", widths=(16,) if start else (8, 16), taps=(1,), start=start, inputs=8 if start else 3
    )
    with pytest.raises(ValidationError, match=r"taps|shared"):
        StfpmConfig(input_size=(32, 32), teacher=teacher, student=student, shared=shared)

"""EfficientAD in the passes: smaller teachers, and who learns from whom."""

import torch

from budgetc.core.plan import Direct, Distill, Prune
from budgetc.detectors.detector import as_input, weights_digest
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig
from budgetc.passes.direct import direct
from budgetc.passes.distill import distill
from budgetc.passes.prune import prune
from tests.small import at_effort, small_efficientad, textures, work_for


def _module(detector: object) -> EfficientAd:
    module = getattr(detector, "module", None)
    assert isinstance(module, EfficientAd)
    return module


def test_a_narrower_teacher_has_fewer_features_of_unit_variance() -> None:
    """All networks agree on their number; the teacher is shared by candidates with other students."""
    detector = small_efficientad()
    work = work_for(detector)
    made = [_module(distill(detector, Distill(teacher=0.5, student=ratio, epochs=2), work)) for ratio in (1.0, 0.5)]
    assert made[0].teacher is made[1].teacher
    taken = as_input(work.pictures((32, 32)).as_taken)
    assert [one.shape[1] for one in made[0].features(taken)] == [8] * 4
    deviation, mean = torch.std_mean(made[0].features(taken)[0].detach(), (0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(8), rtol=0, atol=1e-3)
    torch.testing.assert_close(deviation, torch.ones(8), rtol=1e-3, atol=0)


def test_a_smaller_picture_has_a_smaller_embedding() -> None:
    """The teacher stays, and the last convolution of the encoder spans less."""
    detector = small_efficientad(input_size=(64, 64))
    result = distill(detector, Distill(student=0.5, input=0.5, epochs=1), work_for(detector))
    assert isinstance(result.config, EfficientAdConfig) and result.config.input_size == (32, 32)
    module = _module(result)
    assert module.teacher is _module(detector).teacher
    assert module.student.autoencoder.encoder[-1].get_parameter("conv.weight").shape[-2:] == (1, 1)
    assert module(as_input(textures(1)))[1].shape == (1, 1, 32, 32)


def test_a_teacher_trained_directly_is_random_but_scaled() -> None:
    """A narrower one that nobody taught still has features of unit variance, as its students are judged by."""
    detector = small_efficientad()
    work = work_for(detector)
    step = Direct(student=0.5, teacher=0.5, epochs=1)
    trained, bare = _module(direct(detector, step, work)), _module(direct(detector, step, at_effort(work, 0)))
    assert weights_digest(trained.teacher.conv2) == weights_digest(bare.teacher.conv2)
    spread = trained.features(as_input(work.pictures((32, 32)).as_taken))[0].std()
    assert 0.5 < float(spread.detach()) < 1.5


def test_pruning_keeps_the_number_of_features() -> None:
    """Hidden channels of teacher, student and autoencoder go; what is compared stays."""
    detector = small_efficientad()
    pruned = prune(detector, Prune(keep=0.5, teacher=0.5, round_to=4, epochs=1), work_for(detector))
    module = _module(pruned)
    assert module.teacher.widths == (4, 8, 8)
    assert module.student.patches.widths == (4, 16, 8)
    assert {one.shape[1] for one in module.features(as_input(textures(1)))} == {16}

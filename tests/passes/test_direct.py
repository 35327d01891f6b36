"""Direct training: the control that sees no baseline."""

import pytest
import torch

from budgetc.core.plan import Direct
from budgetc.detectors.detector import weights_digest
from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.reverse_distillation import TeacherStudent
from budgetc.detectors.stfpm import Stfpm
from budgetc.detectors.uninformed_students import UninformedStudents
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import UsageError
from budgetc.passes.direct import direct
from tests.small import at_effort, lively, small, small_efficientad, small_stfpm, small_vae, work_for

QUICK = Direct(student=0.5, epochs=2)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_the_result_is_smaller_and_trained(family: str) -> None:
    """Narrower networks, and not the weights that they started from."""
    detector = small(family)
    work = work_for(detector)
    trained, bare = direct(detector, QUICK, work), direct(detector, QUICK, at_effort(work, 0))
    assert trained.parameters() < 0.9 * detector.parameters()
    assert weights_digest(trained.module) != weights_digest(bare.module)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_nothing_is_learned_from_the_baselines_student(family: str) -> None:
    """Another baseline of the same shape, and the same teacher, gives the same weights."""
    one, other = small(family), small(family)
    taught = TeacherStudent | UninformedStudents
    if isinstance(other.module, taught) and isinstance(one.module, taught):
        lively(other)
        other.module.teacher = one.module.teacher
    elif isinstance(one.module, EfficientAd):
        other = small_efficientad(seed=5)
        assert isinstance(other.module, EfficientAd)
        other.module.teacher = one.module.teacher
    else:
        other = lively(small_vae(seed=5))
    assert weights_digest(direct(one, QUICK, work_for(one)).module) == weights_digest(
        direct(other, QUICK, work_for(other)).module
    )


def test_the_teacher_stays_unless_it_is_to_be_narrower() -> None:
    """A narrower one starts, and stays, random: nobody taught it."""
    detector = small_stfpm()
    assert isinstance(detector.module, Stfpm)
    kept = direct(detector, QUICK, work_for(detector)).module
    assert isinstance(kept, Stfpm) and kept.teacher is detector.module.teacher
    step = Direct(student=0.5, teacher=0.5, epochs=2)
    trained = direct(detector, step, work_for(detector)).module
    bare = direct(detector, step, at_effort(work_for(detector), 0)).module
    assert isinstance(trained, Stfpm) and isinstance(bare, Stfpm)
    assert weights_digest(trained.teacher) == weights_digest(bare.teacher)


def test_a_vae_deploys_no_teacher() -> None:
    """The message names the setting."""
    detector = small_vae()
    with pytest.raises(UsageError, match=r"direct\.teacher"):
        direct(detector, Direct(teacher=0.5), work_for(detector))


def test_a_vae_trained_directly_can_lose_its_hidden_layers() -> None:
    """Encoder and decoder have none then."""
    detector = small_vae()
    result = direct(detector, Direct(student=0.5, epochs=1, drop_hidden=True), work_for(detector))
    assert isinstance(result.config, VaeConfig)
    assert result.config.hidden == ()
    assert result.parameters() < detector.parameters()


def test_a_vae_of_smaller_pictures_and_fewer_latents_learns_from_normals() -> None:
    """Its decoder, too, fits them."""
    detector = small_vae()
    result = direct(detector, Direct(student=0.5, input=0.5, latents=0.5, epochs=1), work_for(detector))
    assert isinstance(result.config, VaeConfig)
    assert (result.config.input_size, result.config.latents) == ((16, 16), 2)
    _, kl = result.deployed()(torch.rand(1, 3, 16, 16))
    assert kl.shape == (1, 2)

"""`train_detector`: what `budgetc train` does."""

import pytest
import torch

from budgetc.detectors.detector import Detector, score_images, weights_digest
from budgetc.detectors.families import build
from budgetc.detectors.stfpm import Stfpm
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.errors import UsageError
from budgetc.training.baseline import train_detector
from budgetc.training.features import outputs_of
from budgetc.training.loop import Effort
from budgetc.training.pictures import Pictures, make_pictures
from tests.small import SIZE, small, small_stfpm, textures

EFFORT = Effort(3, 3e-3, seed=0)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """8 normals in four orientations."""
    return make_pictures(textures(8, seed=1), [str(i) for i in range(8)], seed=0, variants=4)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_more_epochs_give_a_lower_held_out_loss(family: str, pictures: Pictures) -> None:
    """Both families learn normals."""
    short, long = (train_detector(small(family), pictures, Effort(n, 3e-3, seed=0))[1] for n in (1, 8))
    assert (long.held_out_loss or 1e9) < (short.held_out_loss or 0)


@pytest.mark.parametrize("family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_training_repeats(family: str, pictures: Pictures) -> None:
    """The same seed gives the same weights."""
    digests = {weights_digest(train_detector(small(family), pictures, EFFORT)[0].module) for _ in range(2)}
    assert len(digests) == 1


def test_the_teacher_learns_nothing(pictures: Pictures) -> None:
    """Neither weights nor BatchNorm statistics."""
    detector = small_stfpm()
    assert isinstance(detector.module, Stfpm)
    before, student = weights_digest(detector.module.teacher), weights_digest(detector.module.student)
    trained = train_detector(detector, pictures, EFFORT)[0].module
    assert isinstance(trained, Stfpm)
    assert weights_digest(trained.teacher) == before
    assert weights_digest(trained.student) != student


@pytest.mark.parametrize("family", ["gaussian", "reverse_distillation", "stfpm", "uninformed_students"])
def test_statistics_of_frozen_networks_stay(family: str, pictures: Pictures) -> None:
    """BatchNorm of teacher or backbone keeps what it knows, also of a network that comes in training mode."""
    detector = small(family)
    detector.module.train()
    name = "backbone" if family == "gaussian" else "teacher"

    def statistics() -> str:
        frozen = detector.module.get_submodule(name).state_dict()
        return weights_digest({key: value for key, value in frozen.items() if "running" in key})

    before = statistics()
    train_detector(detector, pictures, EFFORT)
    assert statistics() == before != weights_digest({})


def test_a_family_without_training_is_refused(pictures: Pictures) -> None:
    """The message names it."""
    with pytest.raises(UsageError, match="training of mystery is not known"):
        train_detector(Detector("mystery", small_stfpm().config, torch.nn.Linear(1, 1)), pictures, EFFORT)


def test_cached_outputs_are_those_of_the_network() -> None:
    """In order, whatever the batch, one tensor an output."""
    images = textures(5)
    whole = outputs_of(lambda x: [x.mean((1, 2, 3)), x], images)
    parts = outputs_of(lambda x: [x.mean((1, 2, 3)), x], images, batch=2)
    assert [tuple(t.shape) for t in whole] == [(5,), (5, 3, 32, 32)]
    assert all(torch.allclose(a, b) for a, b in zip(whole, parts, strict=True))


def test_training_a_vae_with_prototypes_fits_them(pictures: Pictures) -> None:
    """Training normals score low afterwards, and the clusters differ."""
    config = VaeConfig(input_size=SIZE, widths=(8, 8), hidden=(), latents=4, prototypes=3)
    trained, _ = train_detector(build("vae", config), pictures, Effort(2, 1e-3, seed=0))
    assert isinstance(trained.module, Vae) and trained.module.encoder.distance is not None
    centers = trained.module.encoder.distance.get_buffer("centers")
    assert not torch.equal(centers[0, 0], centers[0, 1])
    scores = score_images(trained.deployed(), textures(8, seed=1))
    assert scores.mean() < 4.1 / 64

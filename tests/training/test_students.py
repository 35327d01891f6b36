"""Training of uninformed students."""

import pytest
import torch

from budgetc.compiler.untrained import new_uninformed_students
from budgetc.detectors.backbones import Backbone, BackboneConfig, build_backbone, load_efficientnet_lite0
from budgetc.detectors.detector import as_input, weights_digest
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents, students_loss
from budgetc.training import students
from budgetc.training.loop import Effort
from budgetc.training.pictures import make_pictures
from budgetc.training.students import train_students
from tests.small import textures

PICTURES = make_pictures(textures(8, seed=1), [str(i) for i in range(8)], seed=0, variants=2)


def _trained(weights: str | None, epochs: int) -> UninformedStudents:
    detector = new_uninformed_students(
        (32, 32), receptive_field=17, teacher_weights=weights, teacher_widths=(8, 8, 8, 8), students=2, descriptor=4
    )
    assert isinstance(detector.module, UninformedStudents) and isinstance(detector.config, StudentsConfig)
    effort = Effort(epochs, 1e-2, 0, patience=epochs)
    train_students(detector.module, detector.config, PICTURES, effort, progress=lambda *_: None)
    return detector.module


def test_descriptors_of_normals_are_whitened_and_students_learn_them() -> None:
    """The teacher's have mean zero and deviation one; with more epochs students are nearer to them."""
    images, losses = as_input(PICTURES.as_taken), []
    for epochs in (1, 60):
        module = _trained("none", epochs)
        with torch.no_grad():
            teacher, students = module.descriptors(images)
        torch.testing.assert_close(teacher.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-3)
        torch.testing.assert_close(teacher.std((0, 2, 3)), torch.ones(4), rtol=1e-2, atol=0)
        losses.append(float(students_loss(teacher, students)))
        assert not torch.equal(students[0], students[1])
    assert losses[1] < 0.8 * losses[0]


def test_the_pretrained_network_learns_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights nor BatchNorm statistics, while it teaches."""
    built = list[Backbone]()

    def remembered(config: BackboneConfig) -> Backbone:
        built.append(build_backbone(config).train())
        return built[-1]

    monkeypatch.setattr(students, "build_backbone", remembered)
    _trained(None, 1)
    (used,) = built
    fresh = build_backbone(used.config)
    load_efficientnet_lite0(fresh)
    assert weights_digest(used) == weights_digest(fresh)


def test_a_teacher_is_taught_unless_it_is_given() -> None:
    """EfficientNet-Lite0 changes its convolutions; of a given one only the whitening of the last layer is new."""
    start = new_uninformed_students((32, 32), receptive_field=17, teacher_widths=(8, 8, 8, 8), students=2, descriptor=4)
    assert isinstance(start.module, UninformedStudents)
    first = start.module.teacher.get_parameter("layers.0.conv.weight")
    given, taught = (_trained(weights, 1).teacher.get_parameter("layers.0.conv.weight") for weights in ("none", None))
    assert torch.equal(given, first) and not torch.equal(taught, first)

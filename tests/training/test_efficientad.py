"""How a teacher learns from a pretrained network, and what stands in for natural pictures."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from budgetc.detectors.backbones import build_backbone
from budgetc.detectors.detector import as_input, weights_digest
from budgetc.detectors.efficientad import EfficientAd
from budgetc.training import features
from budgetc.training.baseline import train_detector
from budgetc.training.efficientad import Source, learn_source, teacher_pictures
from budgetc.training.features import recalled
from budgetc.training.loop import Effort, silent
from budgetc.training.pictures import make_pictures
from budgetc.training.textures import made_textures
from tests.small import SIZE, plain, small_efficientad, textures

PICTURES = make_pictures(textures(8, seed=1), [str(i) for i in range(8)], seed=0, variants=2)


def _source() -> Source:
    torch.manual_seed(0)
    return Source(build_backbone(plain(8, 12, 16)), (0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("padding", [True, False])
def test_a_teacher_learns_from_a_source(padding: bool) -> None:
    """Twice the epochs, a smaller loss; its BatchNorm is folded away, and its shape is what it was."""
    curves = []
    for epochs in (1, 6):
        module = small_efficientad(input_size=(40, 40), padding=padding).module
        assert isinstance(module, EfficientAd)
        before = {name: weight.shape for name, weight in module.state_dict().items()}
        pictures = make_pictures(textures(8, seed=1, size=(40, 40)), [str(i) for i in range(8)], seed=0, variants=1)
        curves.append(learn_source(module, _source(), pictures, Effort(epochs, 5e-3, 0), progress=silent))
        assert {name: weight.shape for name, weight in module.state_dict().items()} == before
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in module.teacher.modules())
    assert curves[1].held_out_loss is not None and curves[0].held_out_loss is not None
    assert curves[1].held_out_loss < 0.9 * curves[0].held_out_loss


def test_a_source_learns_nothing() -> None:
    """Neither weights nor BatchNorm statistics."""
    source, module = _source(), small_efficientad().module
    assert isinstance(module, EfficientAd)
    source.backbone.train()
    before = weights_digest(source.backbone)
    learn_source(module, source, PICTURES, Effort(1, 5e-3, 0), progress=silent)
    assert weights_digest(source.backbone) == before


@torch.no_grad()
def test_training_from_a_source_ends_with_normalized_features() -> None:
    """The whole of it: teacher, scale of its features, student and autoencoder."""
    detector = small_efficientad()
    before = {name: weight.clone() for name, weight in detector.module.state_dict().items()}
    with torch.enable_grad():
        trained, curve = train_detector(detector, PICTURES, Effort(2, 2e-3, 0), source=_source())
    assert curve.epochs == 2
    module = trained.module
    assert isinstance(module, EfficientAd)
    for part in ("teacher.conv1", "student.patches.conv1", "student.autoencoder.output"):
        assert not torch.equal(module.get_parameter(f"{part}.conv.weight"), before[f"{part}.conv.weight"])
    feature = module.features(as_input(PICTURES.as_taken))[0]
    torch.testing.assert_close(feature.std((0, 2, 3), correction=0), torch.ones(16), rtol=1e-3, atol=0)


def test_a_teacher_is_watched_on_pictures_it_never_learned() -> None:
    """Of all three kinds."""
    images, train, watch = teacher_pictures(PICTURES, SIZE, 0)
    assert not set(train.tolist()) & set(watch.tolist())
    assert len(set(train.tolist()) | set(watch.tolist())) == len(images)
    assert len(watch) == len(PICTURES.held_out) + len(PICTURES.damaged_held_out) + 50


def test_outputs_too_large_to_keep_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the same, and nothing is kept."""
    calls, kept = list[int](), list[int]()

    def network(image: Tensor) -> list[Tensor]:
        calls.append(len(image))
        return [image.mean((2, 3))]

    def keep(compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        kept.append(1)
        return compute()

    images, wanted = textures(6), torch.tensor([4, 1])
    known = recalled(network, images, keep=keep)(wanted)
    monkeypatch.setattr(features, "MOST_BYTES", 1)
    again = recalled(network, images, keep=keep)(wanted)
    torch.testing.assert_close(again, known)
    assert kept == [1] and calls == [1, 6, 1, 2]


def test_made_textures_are_repeatable_and_varied() -> None:
    """Of one seed the same, of another none alike; three tenths are gray, none of the others is."""
    first = made_textures(20, (32, 48), seed=3)
    made_textures.cache_clear()
    assert first.shape == (20, 3, 32, 48) and np.array_equal(first, made_textures(20, (32, 48), seed=3))
    assert not np.array_equal(first, made_textures(20, (32, 48), seed=4))
    gray = [bool(np.ptp(picture, axis=0).max() <= 1) for picture in first]
    assert sum(gray) == 6
    assert len({picture.tobytes() for picture in first}) == 20

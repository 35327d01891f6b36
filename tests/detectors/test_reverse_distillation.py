"""Reverse distillation: shapes, loss, map, and what its traps are."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from budgetc.core.statistics import auroc
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.detector import score_images
from budgetc.detectors.families import build
from budgetc.detectors.halves import half_safe_map
from budgetc.detectors.reverse_distillation import ReverseConfig, ReverseDistillation, mirror_of, reverse_loss
from budgetc.detectors.stfpm import scale_maps
from budgetc.export.onnx_file import export_detector
from budgetc.training.baseline import train_detector
from budgetc.training.loop import Effort
from budgetc.training.pictures import make_pictures
from tests.small import SIZE, dataset, plain, small_reverse, target, textures

PUBLISHED = [
    ("wide_resnet50_2", (256, 512, 1024), (99.45, 235.54, 99.67)),
    ("resnet18", (64, 128, 256), (11.13, 46.72, 14.81)),
]


def _published(arch: str) -> ReverseConfig:
    teacher = BackboneConfig.model_validate({"arch": arch, "taps": (1, 2, 3)})
    return ReverseConfig.model_validate({"input_size": (256, 256), "teacher": teacher, **mirror_of(teacher)})


def _module(**changes: Any) -> ReverseDistillation:
    module = small_reverse(**changes).module
    assert isinstance(module, ReverseDistillation)
    return module


@pytest.mark.parametrize(("arch", "widths", "megabytes"), PUBLISHED)
def test_published_shapes_and_sizes(arch: str, widths: tuple[int, ...], megabytes: tuple[float, ...]) -> None:
    """Taps of strides 4, 8, 16 are restored from an embedding of stride 32; teacher, bottleneck and decoder weigh what
    the paper's do, the 33.5 MB of its never executed conv4 aside.
    """
    with torch.device("meta"):
        module = build("reverse_distillation", _published(arch)).module
        assert isinstance(module, ReverseDistillation)
        taps, restored = module.taps(torch.zeros(1, 3, 256, 256))
    expected = [(1, width, side, side) for width, side in zip(widths, (64, 32, 16), strict=True)]
    assert [tuple(tap.shape) for tap in taps] == [tuple(one.shape) for one in restored] == expected
    student = module.student
    parts = ([module.teacher], [student.fusion, student.neck], [student.decoder])
    found = [sum(w.numel() for part in group for w in part.parameters()) * 4 / 1e6 for group in parts]
    assert found == pytest.approx(megabytes, abs=0.01)
    with torch.device("meta"):
        fused = student.concat(*(down(tap) for down, tap in zip(student.fusion, taps, strict=False)), taps[-1])
        assert fused.shape[1:] == (3 * widths[-1], 16, 16)
        assert student.neck(fused).shape[1:] == (2 * widths[-1], 8, 8)


def test_efficientnet_and_plain_backbones_have_mirrors() -> None:
    """Any backbone whose taps halve each other's sides; the published sizes of its taps are restored."""
    for teacher in (BackboneConfig(arch="efficientnet_lite0", taps=(2, 3, 5)), plain(8, 16, 24)):
        fields = {"input_size": (64, 96), "teacher": teacher, "smoothing": 1.0, **mirror_of(teacher)}
        module = build("reverse_distillation", ReverseConfig.model_validate(fields)).module
        score, anomaly_map = module.eval()(torch.rand(2, 3, 64, 96))
        assert score.shape == (2,) and anomaly_map.shape == (2, 1, 64, 96)


def test_nothing_dead_is_shipped() -> None:
    """Every weight has a part in the score (trap 13), and the teacher counts (trap 14)."""
    detector = small_reverse()
    part = detector.deployed()
    part(torch.rand(2, 3, *SIZE))[1].square().sum().backward()
    assert all(w.grad is not None and w.grad.abs().sum() > 0 for w in part.parameters())
    assert detector.parameters() == sum(w.numel() for w in detector.module.parameters())


@torch.no_grad()
def test_the_map_is_the_published_one() -> None:
    """Sum over scales of 1 - cosine, bilinear with aligned corners, smoothed by a Gaussian; the score its maximum."""
    module, image = _module(smoothing=1.0), torch.rand(2, 3, *SIZE)
    score, found = module(image)
    maps = [1 - F.cosine_similarity(t, s)[:, None] for t, s in zip(*module.taps(image), strict=True)]
    total = torch.stack([F.interpolate(one, SIZE, mode="bilinear", align_corners=True) for one in maps]).sum(0)
    expected = np.stack([gaussian_filter(one[0], 1.0, mode="mirror") for one in total.numpy()])
    np.testing.assert_allclose(found[:, 0].numpy(), expected, atol=1e-5)
    assert torch.equal(score, found.amax((1, 2, 3)))


@torch.no_grad()
def test_without_smoothing_the_map_is_the_sum_itself() -> None:
    """A deviation of 0 leaves the filter out of network and file."""
    module, image = _module(smoothing=0.0), torch.rand(1, 3, *SIZE)
    maps = scale_maps(*module.taps(image))
    resized = [F.interpolate(one, SIZE, mode="bilinear", align_corners=True) for one in maps]
    torch.testing.assert_close(module(image)[1], resized[0] + resized[1])


def test_the_loss_is_of_whole_maps_and_the_score_of_places() -> None:
    """The trap of the official code: flattened, a place of long features outweighs one of short ones."""
    teacher = torch.tensor([[10.0, 0.1], [0.0, 0.0]]).reshape(1, 2, 1, 2)
    student = torch.tensor([[10.0, 0.0], [0.0, 0.1]]).reshape(1, 2, 1, 2)
    assert reverse_loss([teacher], [student]).item() < 1e-3
    assert scale_maps([teacher], [student])[0].mean().item() == pytest.approx(0.5)
    assert reverse_loss([teacher, teacher], [-teacher, -teacher]).item() == pytest.approx(4)


def test_small_distances_survive_halves() -> None:
    """Trap 12: 1 - cosine has no digit left near 0 in FP16; half the squared distance of directions has."""
    a = torch.randn(1, 64, 1, 200, generator=torch.Generator().manual_seed(0)) + 2
    b = a + 0.02 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    exact = scale_maps([a.double()], [b.double()])[0]
    halves = half_safe_map(a.half(), b.half(), 1.0).double()
    naive = (1 - F.cosine_similarity(a.half(), b.half())).double()[:, None]
    assert ((halves - exact).abs() / exact).median() < 0.1 < ((naive - exact).abs() / exact).median()


@torch.no_grad()
def test_the_half_safe_head_is_the_same_function() -> None:
    """In FP32 both heads agree."""
    module, image = _module(), torch.rand(2, 3, *SIZE)
    expected = module(image)[1]
    module.half_safe = True
    torch.testing.assert_close(module(image)[1], expected, rtol=1e-4, atol=1e-6)


def test_the_teacher_stays_in_evaluation_mode() -> None:
    """Training mode reaches bottleneck and decoder alone (trap 10)."""
    module = _module().train()
    assert module.student.training and not any(child.training for child in module.teacher.modules())


def test_a_higher_score_is_more_anomalous() -> None:
    """After a few epochs on normals, squares that no normal has score higher; the teacher learned nothing."""
    detector, data = small_reverse(upsampling="transposed"), dataset(selection=60)
    assert isinstance(detector.module, ReverseDistillation)
    teacher = {name: weight.clone() for name, weight in detector.module.teacher.state_dict().items()}
    pictures = make_pictures(textures(24, seed=1), [str(number) for number in range(24)], seed=0, variants=2)
    trained, curve = train_detector(detector, pictures, Effort(epochs=12, learning_rate=5e-3, seed=0))
    assert curve.held_out_loss is not None and curve.held_out_loss < 1.0
    scores = score_images(trained.deployed(), data.images("selection", SIZE))
    assert auroc(scores.astype(np.float64), data.labels("selection")) > 0.8
    assert isinstance(trained.module, ReverseDistillation)
    assert all(torch.equal(weight, teacher[name]) for name, weight in trained.module.teacher.state_dict().items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input_size": (32, 36)}, r"\(32, 36\) must be multiples of 8"),
        ({"widths": (16,)}, r"1 widths and 2 depths for 2 taps"),
        ({"teacher": plain(8, 16, 24).model_copy(update={"taps": (0, 2)})}, r"strides \(2, 8\).* twice the last"),
        ({"block": "bottleneck", "neck": 31}, "even widths"),
        ({"smoothing": 9.0}, "reaches beyond pictures"),
    ],
)
def test_shapes_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    """With what was found and what is needed."""
    with pytest.raises(ValidationError, match=said):
        small_reverse(**changes)


def test_the_decoder_is_in_the_file() -> None:
    """Unlike a VAE's: its maps are compared. Every weight is there once."""
    from budgetc.detectors.layers import fold_norms

    detector = small_reverse()
    exported = export_detector(detector, target())
    part = detector.deployed()
    fold_norms(part)
    assert exported.parameters == sum(weight.numel() for weight in part.parameters())
    assert exported.outputs == ("score", "map")

"""Structured pruning."""

import pytest
import torch
from torch import nn

from budgetc.core.plan import Fp16, Prune, Quantize
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.detector import Detector, as_input, score_images, weights_digest
from budgetc.detectors.families import build
from budgetc.detectors.layers import ConvUnit, LinearUnit, units
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.vae import Vae, VaeEncoder
from budgetc.passes.fp16 import fp16
from budgetc.passes.prune import prune
from budgetc.passes.quantize import quantize
from tests.small import SIZE, Pixels, lively, small, small_stfpm, small_vae, textures, work_for


def _widths(network: nn.Module) -> dict[str, int]:
    return {
        name: unit.conv.out_channels if isinstance(unit, ConvUnit) else unit.linear.out_features
        for name, unit in units(network)
        if isinstance(unit, (ConvUnit, LinearUnit))
    }


def _vae(detector: Detector) -> Vae:
    assert isinstance(detector.module, Vae)
    return detector.module


def _stfpm(detector: Detector) -> Stfpm:
    assert isinstance(detector.module, Stfpm)
    return detector.module


def test_channels_go_through_convolutions_flatten_and_linear_layers() -> None:
    """`keep` of every width stays, rounded to `round_to`; the heads keep their latents."""
    detector = small_vae()
    encoder = _vae(prune(detector, Prune(keep=0.5, round_to=4), work_for(detector, effort=0))).encoder
    assert list(_widths(encoder).values()) == [12, 8, 16, 8, 4, 4]
    first = encoder.hidden[0]
    assert isinstance(first, LinearUnit) and first.linear.in_features == 8 * 8 * 8


@pytest.mark.parametrize(("keep", "round_to", "width"), [(0.75, 8, 16), (0.75, 1, 18), (0.1, 8, 8), (1.0, 8, 24)])
def test_widths_are_multiples_of_round_to(keep: float, round_to: int, width: int) -> None:
    """And never less than one multiple; keeping everything changes nothing."""
    detector = small_vae()
    encoder = _vae(prune(detector, Prune(keep=keep, round_to=round_to), work_for(detector, effort=0))).encoder
    assert _widths(encoder)["blocks.0"] == width


def test_taps_keep_their_channels() -> None:
    """Student and teacher are compared on them, so only channels inside a stage go, in both plain networks."""
    detector = small_stfpm()
    result = _stfpm(prune(detector, Prune(keep=0.5, teacher=0.5), work_for(detector, effort=0)))
    for network in (result.teacher, result.student):
        assert [tap.shape[1] for tap in network(torch.zeros(1, 3, *SIZE))] == [16, 24]
        assert _widths(network) == {"stages.0.0": 8, "stages.0.1": 16, "stages.1.0": 16, "stages.1.1": 24}


@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_lite0"])
def test_residual_and_depthwise_networks_keep_their_taps(arch: str) -> None:
    """Coupled channels go together: the pruned student still runs, and is smaller."""
    torch.manual_seed(0)
    student = BackboneConfig(arch=arch, taps=(2,))  # type: ignore[arg-type]
    width = {"resnet18": 128, "efficientnet_lite0": 24}[arch]
    teacher = BackboneConfig(arch="plain", widths=(8, 8, width), depth=0, taps=(2 if arch == "resnet18" else 1,))
    if arch == "efficientnet_lite0":
        teacher = BackboneConfig(arch="plain", widths=(8, width), depth=0, taps=(1,))
    detector = build("stfpm", StfpmConfig(input_size=SIZE, teacher=teacher, student=student))
    result = _stfpm(prune(detector, Prune(keep=0.5), work_for(detector, effort=0)))
    before = sum(weight.numel() for weight in _stfpm(detector).student.parameters())
    assert sum(weight.numel() for weight in result.student.parameters()) < 0.8 * before
    assert result.student(torch.zeros(1, 3, *SIZE))[0].shape[1] == width


@torch.no_grad()
def _deaden(encoder: VaeEncoder, dead: str) -> None:
    """Half of the channels and units compute nothing, by weights or by BatchNorm gains of 0."""
    for block in encoder.blocks:
        assert isinstance(block, ConvUnit) and isinstance(block.norm, nn.BatchNorm2d)
        assert block.norm.running_mean is not None
        unused = torch.randperm(block.conv.out_channels)[: block.conv.out_channels // 2]
        (block.conv.weight if dead == "weights" else block.norm.weight)[unused] = 0
        block.norm.bias[unused], block.norm.running_mean[unused] = 0, 0
    for layer in encoder.hidden:
        assert isinstance(layer, LinearUnit)
        unused = torch.randperm(layer.linear.out_features)[: layer.linear.out_features // 2]
        layer.linear.weight[unused], layer.linear.bias[unused] = 0, 0


@pytest.mark.parametrize("dead", ["weights", "gain"])
def test_dead_channels_go_first_and_nobody_misses_them(dead: str) -> None:
    """Half of a width computes nothing: pruning it leaves the scores as they were.

    A channel is as dead by a BatchNorm gain of 0 as by weights of 0: what counts is the folded weight.
    """
    detector = small_vae()
    _deaden(_vae(detector).encoder, dead)
    result = prune(detector, Prune(keep=0.5, round_to=4), work_for(detector, effort=0))
    images = textures(4)
    expected = torch.from_numpy(score_images(detector.deployed(), images))
    assert result.parameters() < 0.4 * detector.parameters()
    torch.testing.assert_close(
        torch.from_numpy(score_images(result.deployed(), images)), expected, rtol=1e-4, atol=1e-5
    )


@torch.no_grad()
def _means(module: Vae, pixels: Pixels) -> torch.Tensor:
    first = module.encoder.blocks[0]
    assert isinstance(first, ConvUnit)
    result: torch.Tensor = first.conv(as_input(pixels)).mean((0, 2, 3))
    return result


def test_statistics_are_estimated_again() -> None:
    """BatchNorm of the narrower network has the statistics of training normals, and ends in evaluation mode."""
    detector = small_vae()
    work = work_for(detector)
    module = _vae(prune(detector, Prune(keep=0.5, epochs=0), work))
    pictures = work.pictures(SIZE)
    norm = module.get_submodule("encoder.blocks.0.norm")
    assert isinstance(norm, nn.BatchNorm2d) and not norm.training and norm.momentum == 0.1
    expected = _means(module, pictures.normal[pictures.train.numpy()])
    torch.testing.assert_close(norm.running_mean, expected, rtol=1e-3, atol=1e-4)


def test_statistics_of_a_frozen_network_move_nowhere_else() -> None:
    """Re-estimating BatchNorm changes no weight."""
    detector = small_vae()
    bare = prune(detector, Prune(keep=0.5, epochs=0), work_for(detector, effort=0))
    settled = prune(detector, Prune(keep=0.5, epochs=0), work_for(detector))
    for (name, a), (_, b) in zip(bare.module.named_parameters(), settled.module.named_parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("family", ["stfpm", "vae"])
def test_formats_are_fitted_again(family: str) -> None:
    """A quantized, FP16-stored detector is both after pruning, with scales for the channels that are left."""
    detector = small(family)
    work = work_for(detector)
    before = fp16(quantize(detector, Quantize(), work), Fp16())
    result = prune(before, Prune(keep=0.5, epochs=2), work)
    assert (result.quantization, result.formats.keys()) == (before.quantization, before.formats.keys())
    widths = _widths(result.module)
    for name, known in result.formats.items():
        assert known.stored_bits == before.formats[name].stored_bits
        assert len(known.weight_scale) in (0, widths.get(name, 0))


def test_fine_tuning_trains_student_and_teacher() -> None:
    """A teacher that lost channels is trained again first."""
    detector = small_stfpm()
    work = work_for(detector)
    prune(detector, Prune(keep=0.5, teacher=0.5, epochs=3), work)
    assert [curve.epochs for curve in work.curves] == [3, 3]


def test_the_teacher_stays_whole_unless_named() -> None:
    """What is compared against changes only where the step says so."""
    detector = small_stfpm()
    result = _stfpm(prune(detector, Prune(keep=0.5), work_for(detector, effort=0)))
    assert weights_digest(result.teacher) == weights_digest(_stfpm(detector).teacher)


def test_a_published_teacher_loses_inner_channels() -> None:
    """Its taps keep their channels, the expansions inside its blocks shrink, depthwise layers with them."""
    torch.manual_seed(0)
    teacher = BackboneConfig(arch="efficientnet_lite0", taps=(2,))
    student = BackboneConfig(arch="plain", widths=(16, 24), taps=(1,))
    detector = lively(build("stfpm", StfpmConfig(input_size=SIZE, teacher=teacher, student=student)))
    result = _stfpm(prune(detector, Prune(keep=1.0, teacher=0.5), work_for(detector, effort=0)))
    before, after = (sum(w.numel() for w in one.teacher.parameters()) for one in (_stfpm(detector), result))
    assert after < 0.7 * before
    assert result.teacher(torch.zeros(1, 3, *SIZE))[0].shape[1] == 24

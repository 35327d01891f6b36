"""Structured pruning."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from budgetc.core.admissible import foreign_setting
from budgetc.core.plan import Allocation, Fp16, Importance, Prune, Quantize
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.detector import Detector, score_images, weights_digest
from budgetc.detectors.families import build, bundle, from_bundle
from budgetc.detectors.gaussian import Gaussian
from budgetc.detectors.layers import ConvUnit, LinearUnit, units
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.vae import Vae, VaeConfig, VaeEncoder
from budgetc.errors import UsageError
from budgetc.passes.apply import apply_step
from budgetc.passes.fp16 import fp16
from budgetc.passes.prune import prune
from budgetc.passes.quantize import quantize
from budgetc.passes.work import remember_in
from tests.small import FAMILIES, SIZE, lively, small, small_gaussian, small_stfpm, small_vae, textures, work_for


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


@pytest.mark.parametrize("importance", ["l2", "taylor", "activation", "hessian", "reconstruction"])
@pytest.mark.parametrize("allocation", ["uniform", "knapsack"])
def test_every_way_to_choose_leaves_dead_channels_behind(importance: Importance, allocation: Allocation) -> None:
    """A third of the weights holds all that half of every width computes: the scores stay, with no gradient step."""
    detector = small_vae()
    _deaden(_vae(detector).encoder, "weights")
    step = Prune(keep=0.5 if allocation == "uniform" else 0.33, round_to=4, epochs=0, importance=importance,
                 allocation=allocation)  # fmt: skip
    result = prune(detector, step, work_for(detector))
    images = textures(4)
    before, after = (torch.from_numpy(score_images(one.deployed(), images)) for one in (detector, result))
    assert result.parameters() < 0.4 * detector.parameters()
    torch.testing.assert_close(after, before, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_price_of_a_knapsack_is_known_before_training(family: str) -> None:
    """On the weights of the baseline an untrained structure has the widths of the trained one, and at most `keep`."""
    detector = small(family)
    step = Prune(keep=0.7, epochs=0, allocation="knapsack")
    bare, full = (prune(detector, step, work_for(detector, effort=effort)) for effort in (0, 1))
    assert _widths(bare.module) == _widths(full.module)
    assert full.parameters() < detector.parameters()


def test_after_training_equal_shares_stand_for_a_knapsack() -> None:
    """What is trained before pruning says which groups go, and an untrained structure only how many weights."""
    detector = small_vae()
    step = Prune(keep=0.4, epochs=0, allocation="knapsack", round_to=1)
    other = work_for(small_vae(seed=1), effort=0)
    first = other.baseline.module
    widths = list(_widths(_vae(prune(detector, step, other)).encoder).values())[:4]
    assert weights_digest(first) != weights_digest(detector.module)
    assert len({round(width / full, 1) for width, full in zip(widths, (24, 16, 32, 16), strict=True)}) == 1


def test_probing_is_remembered() -> None:
    """A second share of the same network measures nothing, and the order of asking changes nothing."""
    detector = small_vae()
    known: dict[str, object] = {}
    work = replace(work_for(detector), probed=remember_in(known))
    narrow, wide = (Prune(keep=keep, epochs=0, allocation="knapsack") for keep in (0.4, 0.8))
    first = [prune(detector, step, work) for step in (narrow, wide)]
    assert len(known) == 1
    again = [prune(detector, step, work_for(detector)) for step in (wide, narrow)]
    assert [weights_digest(one.module) for one in first] == [weights_digest(one.module) for one in reversed(again)]


def test_rounds_end_where_one_round_does() -> None:
    """Each trains its share of the epochs."""
    detector = small_vae()
    work = work_for(detector)
    one, two = (prune(detector, Prune(keep=0.5, epochs=2, rounds=rounds), work) for rounds in (1, 2))
    assert _widths(_vae(one).encoder) == _widths(_vae(two).encoder)
    assert [curve.epochs for curve in work.curves] == [2, 1, 1]


def test_a_gaussian_loses_taps_under_a_knapsack() -> None:
    """Its whitening is square again, and fitted by the refit that follows every step."""
    detector = small_gaussian()
    result = apply_step(detector, Prune(keep=0.5, epochs=0, allocation="knapsack"), work_for(detector))
    assert isinstance(result.module, Gaussian)
    whiten = result.module.whiten.conv
    assert whiten.in_channels == whiten.out_channels == result.module.features(torch.zeros(1, 3, *SIZE)).shape[1] < 24
    assert from_bundle(bundle(result)).parameters() == result.parameters()


@pytest.mark.parametrize("family", FAMILIES)
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


def test_latents_that_carry_nothing_go() -> None:
    """Two of four latents say nothing of a picture: the two that move stay, `logvar` cut with `mu`."""
    torch.manual_seed(0)
    config = VaeConfig(input_size=SIZE, widths=(8,), hidden=(), latents=4, prototypes=2)
    detector = lively(build("vae", config))
    encoder, work = _vae(detector).encoder, work_for(detector)
    with torch.no_grad():
        for head in (encoder.mu, encoder.logvar):
            head.linear.weight[[0, 2]] = 0
            head.linear.bias.copy_(torch.arange(4.0))
        pictures = work.pictures(SIZE)
        pictures.damaged[:] = 255 - pictures.damaged // 4  # far from normals in whatever moves
    result = apply_step(detector, Prune(keep=1.0, latents=0.5, epochs=0), work)
    kept = _vae(result).encoder
    assert kept.mu.linear.bias.tolist() == kept.logvar.linear.bias.tolist() == [1.0, 3.0]
    assert kept.logvar.linear.out_features == result.config.model_dump()["latents"] == 2
    assert kept.distance is not None and kept.distance.get_buffer("centers").any()


def test_only_a_vae_has_latents() -> None:
    """Asked of another family they are refused, where plans are made and by the pass."""
    with pytest.raises(UsageError, match=r"prune.latents: a stfpm has none"):
        prune(small_stfpm(), Prune(latents=0.5), work_for(small_stfpm()))
    assert (
        foreign_setting(Prune(latents=0.5), "gaussian") == "prune.latents: a gaussian has none; leave the setting out"
    )

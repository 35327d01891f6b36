"""Readers of a group make up for the channels that go."""

import copy

import pytest
import torch
from torch import Tensor, nn

from budgetc.detectors.detector import Detector, as_input, score_images, weights_digest
from budgetc.detectors.layers import ConvUnit, units
from budgetc.detectors.vae import Vae
from budgetc.passes.pruning.groups import Group, find_groups
from budgetc.passes.pruning.reconstruct import explained, read_statistics, reconstruct
from budgetc.passes.pruning.subject import Subject, gated, subject_of
from tests.small import SIZE, Pixels, small, small_vae, textures


def _prepared(detector: Detector) -> tuple[Subject, tuple[Group, ...]]:
    subject = subject_of(detector, "student")
    return subject, find_groups(subject.network, subject.example, subject.forward)


@torch.no_grad()
def _doubled(vae: Vae) -> None:
    """The first half of a block's channels repeats the second half, three times as large."""
    block = vae.encoder.blocks[0]
    assert isinstance(block, ConvUnit) and isinstance(block.norm, nn.BatchNorm2d)
    half = block.conv.out_channels // 2
    for tensor in (block.conv.weight, block.conv.bias, block.norm.weight, block.norm.bias, block.norm.running_mean,
                   block.norm.running_var):  # fmt: skip
        if tensor is not None:
            tensor[:half] = tensor[half:]
    block.norm.weight[:half] *= 3
    block.norm.bias[:half] *= 3


def test_what_others_repeat_is_not_missed() -> None:
    """Half of the channels are multiples of the others: without them the scores are the same, weights made up for."""
    detector = small_vae()
    assert isinstance(detector.module, Vae)
    _doubled(detector.module)
    subject, groups = _prepared(detector)
    group, removed = groups[0], list(range(12))
    reads = read_statistics(subject, groups, textures(24))
    images = textures(6, seed=5)
    before = torch.from_numpy(score_images(detector.deployed(), images))
    gate = torch.ones(group.width)
    gate[removed] = 0
    differences = []
    for made_up in (False, True):
        if made_up:
            reconstruct(subject.network, group, removed, reads)
        with gated(subject.network, [group], {group.root: gate}):
            after = torch.from_numpy(score_images(subject.whole.deployed(), images))  # type: ignore[operator]
        differences.append(float((after - before).abs().mean() / before.abs().mean()))
    assert differences[1] < 0.1 * differences[0]


def test_the_first_chosen_explain_the_others() -> None:
    """Of each pair of channels that repeat each other one is chosen before any second."""
    detector = small_vae()
    assert isinstance(detector.module, Vae)
    _doubled(detector.module)
    subject, groups = _prepared(detector)
    rank = explained(subject.network, groups[0], read_statistics(subject, groups, textures(24)))
    first = set(rank.argsort(descending=True)[:12].tolist())
    assert {channel % 12 for channel in first} == set(range(12))
    assert sorted(rank.tolist()) == list(range(1, 25))


@pytest.mark.parametrize("family", ["gaussian", "reverse_distillation", "stfpm", "uninformed_students", "vae"])
def test_least_squares_lower_the_error_of_every_reader(family: str) -> None:
    """Over the pictures they are taken of; dropped columns are 0, and nothing else than the readers changes."""
    subject, groups = _prepared(small(family))
    images, group, original = textures(24), groups[0], copy.deepcopy(subject.network)
    removed, gate = list(range(group.width // 2)), torch.ones(group.width)
    gate[removed] = 0
    wanted = _returned(subject, group, torch.ones(group.width), images)
    without = _returned(subject, group, gate, images)
    reconstruct(subject.network, group, removed, read_statistics(subject, groups, images))
    pairs = zip(units(original), units(subject.network), strict=True)
    assert {name for (name, old), (_, new) in pairs if weights_digest(old) != weights_digest(new)} == {*group.consumers}
    made_up = _returned(subject, group, gate, images)
    for name in group.consumers:
        assert _error(made_up[name], wanted[name]) < _error(without[name], wanted[name])


@torch.no_grad()
def _returned(subject: Subject, group: Group, gate: Tensor, pixels: Pixels) -> dict[str, Tensor]:
    """What the readers of a group return while its channels are gated."""
    found = dict[str, Tensor]()
    handles = []
    for name in group.consumers:

        def hook(_unit: nn.Module, _inputs: tuple[Tensor], output: Tensor, name: str = name) -> None:
            found[name] = output

        handles.append(subject.network.get_submodule(name).register_forward_hook(hook))
    with gated(subject.network, [group], {group.root: gate}):
        subject.judge(as_input(pixels))
    for handle in handles:
        handle.remove()
    return found


def _error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).square().mean())


def test_sizes_are_of_pictures() -> None:
    """Statistics are of as many inputs as one output reads."""
    subject, groups = _prepared(small_vae())
    reads = read_statistics(subject, groups, textures(4))
    assert {name: len(found.mean) for name, found in reads.items()} == {
        "blocks.1": 24 * 9, "hidden.0": 16 * SIZE[0] * SIZE[1] // 16, "hidden.1": 32, "mu": 16, "logvar": 16,
    }  # fmt: skip

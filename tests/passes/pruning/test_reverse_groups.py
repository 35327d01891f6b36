"""Which channels of a bottleneck and decoder can go."""

import pytest
import torch

from budgetc.core.plan import Prune
from budgetc.detectors.reverse_distillation import ReverseDistillation
from budgetc.detectors.upsampling import SubpixelUnit
from budgetc.passes.prune import prune
from budgetc.passes.pruning.groups import find_groups
from budgetc.passes.pruning.subject import subject_of
from tests.small import at_effort, plain, small_reverse, work_for


@pytest.mark.parametrize("block", ["plain", "separable", "basic", "bottleneck"])
def test_moved_channels_and_restored_maps_stay(block: str) -> None:
    """Groups lie in the fusion, the neck and inside of blocks: none holds a sub-pixel convolution's outputs."""
    subject = subject_of(small_reverse(block=block, neck_depth=2), "student")
    groups = find_groups(subject.network, subject.example, subject.forward)
    members = {member for group in groups for member in group.members}
    assert members and not any(isinstance(subject.network.get_submodule(name), SubpixelUnit) for name in members)
    assert any(name.startswith("neck.") for name in members)
    if block != "separable":  # its first depthwise filter stands on the whole concatenation
        assert any(name.startswith("fusion.") for name in members)


@pytest.mark.parametrize("block", ["plain", "separable", "basic", "bottleneck"])
def test_maps_keep_the_channels_of_the_taps(block: str) -> None:
    """Teacher and student narrowed at once still return maps of equal shapes, and the network is smaller."""
    detector = small_reverse(block=block, neck_depth=2)
    pruned = prune(detector, Prune(keep=0.5, teacher=0.5), at_effort(work_for(detector), 0))
    assert pruned.parameters() < 0.9 * detector.parameters()
    assert isinstance(pruned.module, ReverseDistillation)
    taps, restored = pruned.module.taps(torch.rand(1, 3, 32, 32))
    assert [tap.shape for tap in taps] == [one.shape for one in restored]


def test_three_taps_are_fused_and_pruned() -> None:
    """What stands beside another branch and the raw coarsest tap stays; what lies before and behind it goes."""
    detector = small_reverse(teacher=plain(8, 16, 24), widths=(8, 16, 16), depths=(2, 2, 2), neck=24)
    subject = subject_of(detector, "student")
    groups = find_groups(subject.network, subject.example, subject.forward)
    members = {member for group in groups for member in group.members}
    assert {"fusion.0.0", "neck.0"} <= members
    assert not members & {"fusion.0.1", "fusion.1.0"}
    pruned = prune(detector, Prune(keep=0.5, epochs=1), work_for(detector))
    assert pruned.parameters() < detector.parameters()
    pruned.deployed()(torch.rand(1, 3, 32, 32))

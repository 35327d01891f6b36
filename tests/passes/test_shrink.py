"""Smaller configurations and warm starts."""

import pytest
import torch

from budgetc.core.plan import Smaller
from budgetc.detectors.backbones import BackboneConfig, tap_strides, tap_widths
from budgetc.detectors.layers import ConvUnit
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import UsageError
from budgetc.passes.shrink import narrow_vae, narrowed, plain_backbone, smaller_stfpm, warm_start
from tests.small import small_stfpm


@pytest.mark.parametrize(
    ("channels", "ratio", "expected"), [(64, 0.5, 32), (60, 0.5, 32), (16, 0.1, 8), (24, 1.0, 24), (4, 0.5, 4)]
)
def test_widths_are_multiples_of_eight(channels: int, ratio: float, expected: int) -> None:
    """The nearest one, at least 8, never wider than before."""
    assert narrowed(channels, ratio) == expected


@pytest.mark.parametrize("arch", ["resnet18", "wide_resnet50_2", "efficientnet_lite0"])
def test_a_plain_network_taps_at_the_same_strides(arch: str) -> None:
    """Its feature maps have the sizes of the published network's, at `ratio` of the channels."""
    old = BackboneConfig(arch=arch, taps=(2, 3))  # type: ignore[arg-type]
    new = plain_backbone(old, Smaller(), 0.5)
    assert tap_strides(new) == tap_strides(old)
    assert tap_widths(new) == tuple(narrowed(width, 0.5) for width in tap_widths(old))


def test_two_taps_of_one_stride_are_refused() -> None:
    """EfficientNet's stages 4 and 5 both have stride 16; a plain stack has one stage of that stride."""
    old = BackboneConfig(arch="efficientnet_lite0", taps=(4, 5))
    with pytest.raises(UsageError, match=r"taps \(4, 5\) of efficientnet_lite0 have strides \(16, 16\)"):
        plain_backbone(old, Smaller(), 0.5)


def test_adapters_come_only_where_channels_differ() -> None:
    """The same widths need none."""
    detector = small_stfpm()
    assert isinstance(detector.config, StfpmConfig) and isinstance(detector.module, Stfpm)
    same, half = (smaller_stfpm(detector.config, detector.module, Smaller(student=share)) for share in (1.0, 0.5))
    assert same.student.tap_channels == ()
    assert half.student.tap_channels == (16, 24)


def test_a_narrow_vae_keeps_input_and_latents() -> None:
    """Channels and hidden units shrink; the score's dimensions stay."""
    old = VaeConfig(latents=5)
    new = narrow_vae(old, Smaller(student=0.5))
    assert (new.widths, new.hidden) == ((64, 32, 16, 8), (1024, 496, 128))
    assert (new.latents, new.input_size, new.beta) == (5, old.input_size, old.beta)


def test_a_warm_start_copies_leading_slices() -> None:
    """Every weight of the narrow network is the corner of the wide one's; the wide one is unchanged."""
    wide, narrow = ConvUnit(4, 16, 3), ConvUnit(3, 8, 3)
    before = wide.conv.weight.detach().clone()
    assert warm_start(narrow, wide) == 5  # weight, and four vectors of BatchNorm
    assert torch.equal(narrow.conv.weight, before[:8, :3])
    assert torch.equal(wide.conv.weight, before)


def test_a_warm_start_leaves_alone_what_does_not_fit() -> None:
    """A weight that is wider than its source keeps its first guess."""
    narrow, wide = ConvUnit(3, 8, 3, norm=False), ConvUnit(3, 16, 3, norm=False)
    before = wide.conv.weight.detach().clone()
    assert warm_start(wide, narrow) == 0
    assert torch.equal(wide.conv.weight, before)


def test_a_vae_can_lose_its_hidden_layers() -> None:
    """Convolutions still shrink by the ratio; the heads read the last of them."""
    new = narrow_vae(VaeConfig(), Smaller(student=0.5, drop_hidden=True))
    assert (new.widths, new.hidden) == ((64, 32, 16, 8), ())

"""Which units only the head reads."""

import pytest
import torch

from budgetc.core.plan import Quantize
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.families import build
from budgetc.detectors.gaussian import GaussianConfig
from budgetc.passes.quantize import quantize
from budgetc.passes.readers import read_by_heads_alone, sources_of
from tests.small import SIZE, lively, small, small_vae, textures, work_for

LAST = {
    "stfpm": {"teacher.stages.1.1", "student.stages.1.1"},
    "vae": {"encoder.hidden.1"},
    "gaussian": {"backbone.stages.1.1"},
}


@pytest.mark.parametrize("family", list(LAST))
def test_the_last_layers_of_each_family(family: str) -> None:
    """Taps in the middle are read by the next stage, too; what pools or flattens in between is no reader."""
    assert read_by_heads_alone(small(family).module, textures(1)) == LAST[family]


def test_an_addition_reads_two() -> None:
    """What a block made and what went into it; a padded depthwise layer reads the layer before the padding."""
    torch.manual_seed(0)
    backbone = BackboneConfig(arch="efficientnet_lite0", taps=(2,))
    detector = lively(build("gaussian", GaussianConfig(input_size=SIZE, backbone=backbone)))
    sources, block = sources_of(detector.module, textures(1)), "backbone.stages.1"
    assert sources[f"{block}.1.add"] == {f"{block}.1.project", f"{block}.0.project"}
    assert sources[f"{block}.0.depthwise"] == {f"{block}.0.expand"}


def test_a_residual_block_ends_in_its_addition() -> None:
    """The projection before it is read by the addition."""
    torch.manual_seed(0)
    backbone = BackboneConfig(arch="efficientnet_lite0", taps=(2,))
    detector = lively(build("gaussian", GaussianConfig(input_size=SIZE, backbone=backbone)))
    assert read_by_heads_alone(detector.module, textures(1)) == {"backbone.stages.1.1.add"}


def test_last_layers_stay_in_float_when_asked() -> None:
    """Neither their weights nor their results are rounded; all others are as before."""
    detector = small_vae()
    work = work_for(detector)
    whole, kept = (quantize(detector, Quantize(last_layers=on), work).formats for on in (True, False))
    assert whole.keys() - kept.keys() == LAST["vae"]
    assert all(whole[name] == known for name, known in kept.items())

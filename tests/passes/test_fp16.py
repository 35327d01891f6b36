"""FP16 storage."""

import numpy as np
import pytest
import torch

from budgetc.core.plan import Fp16, Quantize
from budgetc.detectors.detector import score_images
from budgetc.detectors.families import build
from budgetc.detectors.layers import units
from budgetc.detectors.rounding import unit_weight
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import UsageError
from budgetc.passes.fp16 import fp16
from budgetc.passes.quantize import quantize
from tests.small import SIZE, small_stfpm, small_vae, textures, work_for


def test_every_weight_in_fp32_is_marked() -> None:
    """Layers of the deployed part, score heads included: storage changes no arithmetic."""
    detector = small_vae()
    formats = fp16(detector, Fp16()).formats
    weighted = {name for name, unit in units(detector.module) if unit_weight(unit) is not None}
    assert set(formats) == {name for name in weighted if not name.startswith("decoder")}
    assert {(known.compute, known.stored_bits) for known in formats.values()} == {("fp32", 16)}


def test_integers_stay_integers() -> None:
    """After INT8 only what still lies in FP32 is halved."""
    detector = small_vae()
    work = work_for(detector)
    integer = quantize(detector, Quantize(), work)
    formats = fp16(integer, Fp16()).formats
    for name, known in integer.formats.items():
        assert formats[name].stored_bits == (8 if known.compute == "int8" else 16)
    assert formats["encoder.mu"].stored_bits == 16


def test_scores_hardly_move() -> None:
    """FP16 keeps three digits of each weight."""
    detector, images = small_stfpm(), textures(6)
    before, after = (score_images(d.deployed(), images) for d in (detector, fp16(detector, Fp16())))
    np.testing.assert_allclose(after, before, rtol=0.02)
    assert not np.array_equal(after, before)


def test_a_weight_beyond_fp16_is_refused() -> None:
    """65504 is the largest; the message names the layer."""
    detector = small_vae()
    with torch.no_grad():
        next(detector.module.encoder.mu.parameters())[0, 0] = 1e5  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=r"encoder\.mu: a weight is larger than FP16 can hold"):
        fp16(detector, Fp16())


def test_a_branch_that_no_file_holds_is_not_marked() -> None:
    """A VAE with prototypes deploys no logvar: the export would look for its halves in vain."""
    config = VaeConfig(input_size=SIZE, widths=(8,), hidden=(), latents=4, prototypes=2)
    marked = fp16(build("vae", config), Fp16()).formats
    assert "encoder.mu" in marked and "encoder.distance.whiten" in marked
    assert "encoder.logvar" not in marked

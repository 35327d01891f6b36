"""Detectors as plain data."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from budgetc.core.plan import Fp16, Prune, Quantize
from budgetc.detectors.detector import Detector, score_images, weights_digest
from budgetc.detectors.families import bundle, from_bundle
from budgetc.errors import InputRejected
from budgetc.passes.apply import apply_step
from tests.small import FAMILIES, inputs, small, small_vae, work_for


def _through_a_file(detector: Detector) -> Detector:
    buffer = io.BytesIO()
    torch.save(bundle(detector), buffer)
    buffer.seek(0)
    return from_bundle(torch.load(buffer, weights_only=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundle_gives_the_detector_back(family: str) -> None:
    """Config, weights and threshold survive a file that holds plain data only."""
    detector = replace(small(family), threshold=1.25)
    found = _through_a_file(detector)
    assert (found.family, found.config, found.threshold) == (family, detector.config, 1.25)
    assert weights_digest(found.module) == weights_digest(detector.module)
    assert not found.module.training


@pytest.mark.parametrize("family", FAMILIES)
def test_formats_and_pruned_shapes_survive(family: str) -> None:
    """A pruned, quantized detector scores as before: bit by bit, but for the order of a decoder's sums."""
    detector = small(family)
    work = work_for(detector, effort=0.5)
    for step in (Prune(keep=0.5, epochs=2), Quantize(), Fp16()):
        detector = apply_step(detector, step, work)
    found = _through_a_file(detector)
    images = inputs(family, 3, seed=9)
    assert (found.formats, found.quantization) == (detector.formats, detector.quantization)
    expected = score_images(detector.deployed(), images)
    np.testing.assert_allclose(
        score_images(found.deployed(), images),
        expected,
        rtol={"efficientad": 1e-5, "reverse_distillation": 1e-6}.get(family, 0),
    )


def test_an_unknown_family_is_named() -> None:
    """With the families there are."""
    with pytest.raises(InputRejected, match=r"'gan' is unknown; budgetc has .*uninformed_students, vae"):
        from_bundle({"detector": "gan"})


def test_an_invalid_config_names_its_field() -> None:
    """Where in the bundle the value is wrong."""
    data = bundle(small_vae())
    data["config"]["latents"] = 0
    with pytest.raises(InputRejected, match=r"config\.latents of the vae bundle"):
        from_bundle(data)


def _without(weights: dict[str, Any]) -> None:
    del weights["encoder.mu.linear.bias"]


def _with_another(weights: dict[str, Any]) -> None:
    weights["surprise"] = torch.zeros(1)


def _of_another_rank(weights: dict[str, Any]) -> None:
    weights["encoder.mu.linear.bias"] = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_without, "1 missing: encoder.mu.linear.bias"),
        (_with_another, "1 not known: surprise"),
        (_of_another_rank, "1 of another shape: encoder.mu.linear.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(damage: Any, said: str) -> None:
    """Every missing, extra or misshapen key is in the message."""
    data = bundle(small_vae())
    data["state_dict"] = dict(data["state_dict"])
    damage(data["state_dict"])
    with pytest.raises(InputRejected, match=said):
        from_bundle(data)

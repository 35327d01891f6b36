"""Which layers disturb the score, and which stay in FP32 for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from budgetc.core.plan import Quantize
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.detector import Detector, score_images
from budgetc.detectors.families import build
from budgetc.detectors.gaussian import GaussianConfig
from budgetc.detectors.layers import units
from budgetc.detectors.rounding import unit_weight
from budgetc.export.onnx_file import export_detector
from budgetc.passes.quantize import quantize
from budgetc.passes.readers import read_by_heads_alone
from budgetc.passes.sensitivity import score_perturbation
from tests.small import SIZE, at_effort, lively, small, target, textures, work_for


def _spoiled(detector: Detector, name: str) -> Detector:
    """One channel of a layer a thousand times as strong, so that no step is left for the others."""
    rounded = quantize(detector, Quantize(), work_for(detector))
    known = rounded.formats[name]
    assert known.output is not None
    return replace(rounded, formats={**rounded.formats, name: replace(known, output=replace(known.output, scale=50.0))})


@pytest.mark.parametrize("name", ["student.stages.0.1", "teacher.stages.1.0"])
def test_a_layer_whose_steps_are_too_coarse_is_found(name: str) -> None:
    """It moves the score more than all others."""
    rounded = _spoiled(small("stfpm"), name)
    found = score_perturbation(rounded, rounded.formats, textures(8, seed=4))
    assert max(found, key=lambda one: found[one]) == name


@pytest.mark.parametrize(
    "family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae", "gaussian"]
)
def test_the_most_sensitive_layers_stay_in_float(family: str) -> None:
    """As many as the step says; their weights are not rounded, and nothing else changes."""
    detector = small(family)
    work = work_for(detector)
    whole, mixed = (quantize(detector, Quantize(float_layers=n), work).formats for n in (0, 1))
    changed = {name for name in whole if mixed.get(name) != whole[name]}
    parts = [work.calibration(SIZE), work.pictures(SIZE).damaged]
    layers = {name: known for name, known in whole.items() if known.weight_scale}
    found = score_perturbation(detector, layers, np.concatenate(parts))
    assert changed == {max(found, key=lambda one: found[one])}
    (name,) = changed
    if name in read_by_heads_alone(detector.module, textures(1)):
        assert name not in mixed
    else:
        assert mixed[name].compute == "fp32" and mixed[name].output == whole[name].output


@pytest.mark.parametrize(
    "family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae", "gaussian"]
)
@pytest.mark.parametrize("count", [1, 2])
def test_no_file_is_larger_than_its_price(family: str, count: int) -> None:
    """Before training the largest layers are assumed to stay in FP32."""
    detector = small(family)
    work, step = work_for(detector), Quantize(float_layers=count)
    priced = export_detector(quantize(detector, step, at_effort(work, 0)), target()).model
    true = export_detector(quantize(detector, step, work), target()).model
    assert len(true) <= len(priced)


def test_the_largest_layers_make_the_price() -> None:
    """By weights, not by name."""
    detector = small("vae")
    formats = quantize(detector, Quantize(float_layers=1), at_effort(work_for(detector), 0)).formats
    sizes = {name: weight.numel() for name, unit in units(detector.module)
             if name.startswith("encoder") and (weight := unit_weight(unit)) is not None}  # fmt: skip
    largest = max(sizes, key=lambda one: sizes[one])
    assert formats[largest].compute == "fp32"


def test_depthwise_layers_stay_in_float_when_asked() -> None:
    """And with them in the middle, file and network still agree."""
    torch.manual_seed(0)
    backbone = BackboneConfig(arch="efficientnet_lite0", taps=(2,))
    detector = lively(build("gaussian", GaussianConfig(input_size=SIZE, backbone=backbone)))
    formats = quantize(detector, Quantize(depthwise=False), work_for(detector)).formats
    kinds = {name: known.compute for name, known in formats.items() if name.endswith(("depthwise", "project"))}
    assert {compute for name, compute in kinds.items() if name.endswith("depthwise")} == {"fp32"}
    assert {compute for name, compute in kinds.items() if name.endswith("project")} == {"int8"}


def test_more_layers_in_float_disturb_scores_less() -> None:
    """All of them leave nothing but rounded results of the layers in between."""
    detector, images = small("stfpm"), textures(12, seed=8)
    work, wanted = work_for(detector), score_images(detector.deployed(), images)

    def moved(count: int) -> float:
        scores = score_images(quantize(detector, Quantize(float_layers=count), work).deployed(), images)
        return float(np.abs(scores - wanted).mean())

    assert moved(6) < moved(0)

"""PTQ: formats from calibration normals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from budgetc.core.plan import Fp16, Quantize
from budgetc.detectors.detector import as_input, score_images
from budgetc.detectors.layers import ConvUnit, LinearUnit, units
from budgetc.detectors.rounding import unit_weight
from budgetc.passes.apply import apply_step
from budgetc.passes.fp16 import fp16
from budgetc.passes.quantize import quantize
from budgetc.training.pictures import Pictures
from tests.small import FAMILIES, Pixels, at_effort, inputs, small, small_stfpm, small_vae, textures, work_for


@pytest.mark.parametrize("family", ["stfpm", "vae"])
def test_every_unit_but_first_layers_and_heads_computes_in_int8(family: str) -> None:
    """First convolutions stay in FP32 with a rounded result, score heads stay in FP32 altogether."""
    detector = small(family)
    formats = quantize(detector, Quantize(), work_for(detector)).formats
    for name, unit in units(detector.module):
        if (isinstance(unit, LinearUnit) and unit.head) or "decoder" in name or name.endswith("input"):
            assert name not in formats
        elif isinstance(unit, ConvUnit) and unit.conv.in_channels == 3:
            assert formats[name].compute == "fp32" and formats[name].output is not None
        else:
            assert formats[name].compute == "int8" and formats[name].stored_bits == 8


def test_the_first_convolution_joins_when_asked() -> None:
    """Then the image is rounded too."""
    detector = small_stfpm()
    formats = quantize(detector, Quantize(first_convolution=True), work_for(detector)).formats
    assert {formats[f"{net}.stages.0.0"].compute for net in ("teacher", "student")} == {"int8"}
    assert formats["student.input"].output is not None


def test_the_scope_student_leaves_the_teacher_alone() -> None:
    """No unit of the teacher gets a format."""
    detector = small_stfpm()
    formats = quantize(detector, Quantize(scope="student"), work_for(detector)).formats
    assert formats and all(name.startswith("student.") for name in formats)


def test_what_follows_a_relu_is_unsigned_from_zero() -> None:
    """Zero point 0 after every ReLU, so that the runtime can fuse it."""
    detector = small_stfpm()
    formats = quantize(detector, Quantize(), work_for(detector)).formats
    assert {known.output.zero_point for known in formats.values() if known.output} == {0}


def test_a_leaky_relu_is_rounded_on_both_sides() -> None:
    """The integer kernel ends before it, so the result of the layer has a format of its own."""
    detector = small_vae()
    formats = quantize(detector, Quantize(), work_for(detector)).formats
    inner = formats["encoder.blocks.1"].before_activation
    assert inner is not None and inner.zero_point > 0


@pytest.mark.parametrize("levels", [63, 127])
def test_weights_span_the_levels_of_the_target(levels: int) -> None:
    """Per output channel of the folded weight, the largest takes all steps."""
    detector = small_stfpm()
    formats = quantize(detector, Quantize(), work_for(detector, levels=levels)).formats
    name = "student.stages.0.1"
    weight = unit_weight(detector.module.get_submodule(name))  # type: ignore[arg-type]  # it is a unit
    assert weight is not None
    largest = weight.abs().flatten(1).amax(1) / torch.tensor(formats[name].weight_scale)
    torch.testing.assert_close(largest, torch.full_like(largest, levels))


def test_ranges_are_those_of_the_calibration_pictures() -> None:
    """The scale of an activation is the largest value that calibration pictures gave, over 255."""
    detector = small_stfpm()
    work = work_for(detector)
    found = quantize(detector, Quantize(), work).formats["student.stages.0.0"].output
    module = detector.module
    with torch.no_grad():
        x = module.normalized(as_input(work.calibration((32, 32))))  # type: ignore[operator]
        highest = module.student.stages[0][0](x).max().item()  # type: ignore[union-attr,index,operator]
    assert found is not None and found.scale == pytest.approx(highest / 255, rel=1e-5)


def test_the_step_says_how_many_pictures_calibrate() -> None:
    """One sample gives other ranges than twelve; with effort 0 one picture is enough."""
    detector = small_stfpm()
    work = work_for(detector)
    one, all_of_them = (quantize(detector, Quantize(samples=n), work).formats for n in (1, 64))
    assert one != all_of_them
    assert quantize(detector, Quantize(), at_effort(work, 0)).formats == one


def test_calibration_sees_calibration_pictures_only() -> None:
    """Training pictures, let alone test images, are not asked for."""
    detector = small_stfpm()
    asked: list[tuple[int, int]] = []

    def calibration(size: tuple[int, int]) -> Pixels:
        asked.append(size)
        return textures(4, seed=3)

    def never(size: tuple[int, int]) -> Pictures:
        raise AssertionError("PTQ does not train")

    quantize(detector, Quantize(), replace(work_for(detector), calibration=calibration, pictures=never))
    assert asked == [(32, 32)]


def test_percentile_ranges_are_narrower() -> None:
    """Cutting tails can only shrink what activations may reach."""
    detector = small_stfpm()
    wide = quantize(detector, Quantize(), work_for(detector)).formats
    narrow = quantize(detector, Quantize(method="percentile"), work_for(detector)).formats
    pairs = [(narrow[name].output, known.output) for name, known in wide.items()]
    assert all(a is not None and b is not None and a.scale <= b.scale for a, b in pairs)
    assert any(a is not None and b is not None and a.scale < b.scale for a, b in pairs)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_change_a_little_and_only_a_little(family: str) -> None:
    """INT8 rounds, and the order of pictures mostly stays."""
    detector = small(family)
    images = inputs(family, 12, seed=8)
    before = score_images(detector.deployed(), images)
    after = score_images(quantize(detector, Quantize(), work_for(detector)).deployed(), images)
    assert not np.array_equal(before, after)
    assert np.corrcoef(before, after)[0, 1] > 0.9


def test_halves_stay_halves_whatever_the_order() -> None:
    """FP16 before INT8 stores the same layers in 16 bits as FP16 after INT8."""
    detector = small_stfpm()
    work = work_for(detector)
    first = quantize(fp16(detector, Fp16()), Quantize(), work).formats
    assert first == fp16(quantize(detector, Quantize(), work), Fp16()).formats


def test_a_new_network_needs_a_new_threshold() -> None:
    """Quantizing and FP16 void the threshold that was fitted before."""
    detector = replace(small_stfpm(), threshold=0.5)
    for step in (Quantize(), Fp16()):
        assert apply_step(detector, step, work_for(detector)).threshold is None

"""QAT: training under the formats that ship."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from budgetc.core.plan import Qat, Quantize
from budgetc.detectors.detector import Detector, as_input, score_images, weights_digest
from budgetc.detectors.families import build, bundle, from_bundle
from budgetc.detectors.layers import units
from budgetc.detectors.learned_rounding import learning_copy, settle
from budgetc.detectors.rounding import rounded_copy, unit_weight
from budgetc.detectors.vae import VaeConfig
from budgetc.errors import UsageError
from budgetc.passes.apply import apply_step
from budgetc.passes.qat import qat
from budgetc.passes.quantize import quantize
from budgetc.passes.refit import refit
from budgetc.passes.work import Work
from tests.small import FAMILIES, SIZE, at_effort, inputs, lively, small, small_stfpm, small_vae, textures, work_for

KINDS = [*FAMILIES, "vae with prototypes"]
GENTLE = Qat(epochs=6, learning_rate=1e-5)


def _small(family: str) -> Detector:
    if family in FAMILIES:
        return small(family)
    torch.manual_seed(0)
    config = VaeConfig(input_size=SIZE, widths=(24, 16), hidden=(32,), latents=4, prototypes=3)
    detector = lively(build("vae", config))
    return refit(detector, work_for(detector))


def _quantized(family: str, levels: int = 63) -> tuple[Detector, Work]:
    detector = _small(family)
    work = work_for(detector, levels=levels)
    return quantize(detector, Quantize(), work), work


@pytest.mark.parametrize("family", KINDS)
def test_training_brings_the_rounded_network_nearer_to_the_float_one(family: str) -> None:
    """Weights and ranges both move, and the loss on held-out pictures is below that of PTQ."""
    detector, work = _quantized(family)
    trained = qat(detector, GENTLE, work)
    assert weights_digest(trained.module) != weights_digest(detector.module)
    assert any(trained.formats[name].output != known.output for name, known in detector.formats.items() if known.output)
    assert trained.threshold is None


def test_what_gets_worse_is_thrown_away() -> None:
    """A learning rate that destroys the network leaves PTQ as it was: the same detector comes back."""
    detector, work = _quantized("gaussian")
    assert qat(detector, Qat(epochs=1, learning_rate=0.5), work) is detector


def test_no_epochs_train_nothing() -> None:
    """A price needs no training."""
    detector, work = _quantized("stfpm")
    assert qat(detector, Qat(), at_effort(work, 0)) is detector
    assert qat(detector, Qat(epochs=0), work) is detector


def test_a_float_network_is_refused() -> None:
    """There is no rounding to train under; the message says which step to put where."""
    detector = small_vae()
    with pytest.raises(UsageError, match="put a quantize step before it"):
        qat(detector, Qat(), work_for(detector))


def test_the_input_is_left_alone() -> None:
    """Passes never mutate."""
    detector, work = _quantized("stfpm")
    before = weights_digest(detector.module)
    qat(detector, GENTLE, work)
    assert weights_digest(detector.module) == before
    assert all(unit.rounding is None for _, unit in units(detector.module))


def test_the_scope_student_trains_the_student_alone() -> None:
    """A teacher in FP32 has nothing to learn."""
    detector = small_stfpm()
    work = work_for(detector)
    trained = qat(quantize(detector, Quantize(scope="student"), work), GENTLE, work)
    assert _digest(trained, "teacher") == _digest(detector, "teacher")
    assert _digest(trained, "student") != _digest(detector, "student")


def test_statistics_of_layers_in_float_stay() -> None:
    """BatchNorm is folded everywhere while others learn, also where nothing rounds."""
    detector = small_stfpm()
    work = work_for(detector)
    trained = qat(quantize(detector, Quantize(last_layers=False), work), GENTLE, work)
    name = "student.stages.1.1"
    assert name not in trained.formats
    mean = f"{name}.norm.running_mean"
    assert torch.equal(trained.module.get_buffer(mean), detector.module.get_buffer(mean))


def _digest(detector: Detector, part: str) -> str:
    return weights_digest(detector.module.get_submodule(part))


@pytest.mark.parametrize("levels", [63, 127])
def test_weights_keep_the_levels_of_the_target(levels: int) -> None:
    """However weights move, the largest of a channel takes as many steps as before: kernels would saturate beyond."""
    detector, work = _quantized("stfpm", levels)
    trained = qat(detector, Qat(epochs=2, learning_rate=1e-4), work)
    for name, unit in units(trained.module):
        weight = unit_weight(unit)
        if weight is not None and trained.formats[name].compute == "int8":
            largest = weight.detach().abs().flatten(1).amax(1) / torch.tensor(trained.formats[name].weight_scale)
            torch.testing.assert_close(largest, torch.full_like(largest, levels))


@pytest.mark.parametrize("family", FAMILIES)
def test_learning_starts_from_what_ptq_computes_and_ends_in_what_ships(family: str) -> None:
    """Before a step the learning copy computes what the formats say; settled at once, it gives them back."""
    detector, _ = _quantized(family)
    image, learning = as_input(inputs(family, 4, seed=9)), learning_copy(detector.module, detector.formats)
    rounded = rounded_copy(detector.module, detector.formats)
    # Means of four whole steps lie halfway between two, where the last bit of a scale decides; maps reach .1 and more.
    atol, rtol = (2e-4, 0.0) if family == "efficientad" else (1e-5, 1.3e-6)
    torch.testing.assert_close(_score(learning, image), _score(rounded, image), atol=atol, rtol=rtol)
    module, formats = settle(learning)
    assert weights_digest(module) == weights_digest(detector.module)
    for name, known in detector.formats.items():
        assert formats[name].weight_scale == pytest.approx(known.weight_scale)
        assert formats[name].compute == known.compute


@torch.no_grad()
def _score(module: torch.nn.Module, image: Tensor) -> Tensor:
    score: Tensor = module.eval().deployed()(image)[0]  # type: ignore[operator]
    return score


def test_a_trained_network_survives_its_bundle() -> None:
    """What the store keeps scores as what was trained."""
    detector, work = _quantized("vae")
    trained, images = qat(detector, GENTLE, work), textures(6, seed=8)
    again = from_bundle(bundle(trained))
    assert np.array_equal(score_images(again.deployed(), images), score_images(trained.deployed(), images))


def test_heads_are_fitted_to_the_trained_network() -> None:
    """As after every step: the whitening follows the features."""
    detector = small("gaussian")
    work = work_for(detector)
    quantized = apply_step(detector, Quantize(), work)
    trained = apply_step(quantized, GENTLE, work)
    pictures = work.pictures(SIZE)
    scores = score_images(replace(trained).deployed(), pictures.as_taken)
    assert np.isfinite(scores).all()
    assert not torch.equal(_whitening(trained), _whitening(quantized))


def _whitening(detector: Detector) -> Tensor:
    return detector.module.get_parameter("whiten.conv.weight")

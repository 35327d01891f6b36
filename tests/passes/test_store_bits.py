"""Which layer gets how many bits, and what is left of the scores."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from budgetc.core.plan import Quantize, StoreBits, Truncate
from budgetc.detectors.detector import Detector, score_images, weights_digest
from budgetc.detectors.families import bundle, from_bundle
from budgetc.detectors.layers import units
from budgetc.detectors.stored import StoredUnit, stored_units
from budgetc.passes.apply import apply_step
from budgetc.passes.work import remember_in
from tests.small import FAMILIES, small, small_stfpm, small_vae, work_for


def mean_bits(detector: Detector) -> float:
    """Stored bits of a deployed weight."""
    stored = {name: known.stored_bits for name, known in detector.formats.items() if known.half_vectors}
    sizes = {name: unit.folded()[0].numel() for name, unit in stored_units(detector.module)}
    return sum(sizes[name] * bits for name, bits in stored.items()) / sum(sizes[name] for name in stored)


@pytest.mark.parametrize("bits", [2, 2.5, 4, 7, 8])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("effort", [0.0, 1.0])
def test_the_mean_is_kept(family: str, bits: float, effort: float) -> None:
    """Never more, and less only where one large layer cannot take the next width: there is none between 6 and 8."""
    detector = small(family)
    found = mean_bits(apply_step(detector, StoreBits(bits=bits), work_for(detector, effort=effort)))
    assert bits - 1.2 <= found <= bits + 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_more_bits_disturb_scores_less(family: str) -> None:
    """Against the same detector in 8 bits."""
    detector = small(family)
    work = work_for(detector)
    images = work.pictures(detector.config.input_size).normal[:32]

    def scores(bits: float) -> np.ndarray:
        return score_images(apply_step(detector, StoreBits(bits=bits), work).deployed(), images)

    reference = scores(8)
    errors = [float(np.square(scores(bits) - reference).mean()) for bits in (2, 4, 6)]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_detector_in_codes_is_the_same_after_a_round_trip(family: str) -> None:
    """As plain data and back: formats, weights and scores; and what was passed in is unchanged."""
    detector = small(family)
    digest, work = weights_digest(detector.module), work_for(detector)
    stored = apply_step(apply_step(detector, Quantize(), work), StoreBits(bits=3), work)
    again = from_bundle(bundle(stored))
    images = work.pictures(detector.config.input_size).normal[:4]
    assert dict(again.formats) == dict(stored.formats)
    assert np.array_equal(score_images(again.deployed(), images), score_images(stored.deployed(), images))
    assert weights_digest(detector.module) == digest


def test_equal_inputs_give_equal_codes() -> None:
    """Rounding draws no random number."""
    detector = small_vae()
    one, other = (apply_step(detector, StoreBits(bits=3), work_for(detector)) for _ in range(2))
    assert weights_digest(one.module) == weights_digest(other.module)
    assert one.formats == other.formats


@pytest.mark.parametrize("levels", [63, 127])
@pytest.mark.parametrize("family", FAMILIES)
def test_integer_weights_stay_within_what_the_target_multiplies(family: str, levels: int) -> None:
    """Beyond 63 steps, sums of two products saturate on x86 without VNNI; error feedback must not push them there."""
    detector = small(family)
    work = work_for(detector, levels=levels)
    stored = apply_step(apply_step(detector, Quantize(), work), StoreBits(bits=8), work)
    deployed = dict(units(stored.module))
    for name, known in stored.formats.items():
        unit = deployed[name]
        if known.compute == "int8" and isinstance(unit, StoredUnit):
            steps = unit.folded()[0] / torch.tensor(known.weight_scale).view(-1, *[1] * (unit.folded()[0].ndim - 1))
            assert float(steps.detach().abs().max()) <= levels + 1e-3


def test_truncations_of_one_network_are_probed_apart() -> None:
    """They have the same weights, and other taps or pictures: what is known of one says nothing of the other."""
    detector = small_stfpm()
    known: dict[str, object] = {}
    work = replace(work_for(detector), probed=remember_in(known))
    for step in (Truncate(input=0.5), Truncate(first=1)):
        apply_step(apply_step(detector, step, work), StoreBits(bits=4), work)
    assert len(known) == 2

"""Bias correction."""

import pytest
import torch
from torch import Tensor

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import Detector, as_input, deployed_part, weights_digest
from budgetc.detectors.layers import ConvUnit, LinearUnit, units
from budgetc.detectors.rounding import rounded_copy
from budgetc.passes.biases import correct_biases
from budgetc.passes.quantize import quantize
from budgetc.passes.readers import sources_of
from tests.small import Pixels, at_effort, small, small_gaussian, textures, work_for


def _means(detector: Detector, images: Pixels, *, rounded: bool) -> dict[str, Tensor]:
    """Unit -> mean of each channel before the activation."""
    module = rounded_copy(detector.module, detector.formats if rounded else {}).eval()
    found: dict[str, Tensor] = {}

    def note(name: str, x: Tensor) -> None:
        found[name] = x.transpose(0, 1).flatten(1).mean(1)

    for name, unit in units(module):
        if isinstance(unit, (ConvUnit, LinearUnit)) and name in detector.formats:
            unit.activation.register_forward_pre_hook(lambda _, x, name=name: note(name, x[0]))
    with torch.no_grad():
        deployed_part(module)(as_input(images))
    return found


@pytest.mark.parametrize(
    "family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae", "gaussian"]
)
def test_every_channel_has_the_mean_of_the_float_network(family: str) -> None:
    """On the pictures that it was corrected by: a hundredth of the shift is left, before a leaky ReLU half a step."""
    detector, images = small(family), textures(12, seed=2)
    rounded = quantize(detector, Quantize(), work_for(detector))
    wanted = _means(detector_with(rounded, detector), images, rounded=False)
    before = _means(rounded, images, rounded=True)
    after = _means(detector_with(rounded, rounded, correct_biases(rounded, images)), images, rounded=True)
    share = (
        0.7 if family in ("uninformed_students", "vae") else 0.02
    )  # there the result is rounded once more before a leaky ReLU
    for name, mean in wanted.items():
        assert (after[name] - mean).abs().mean() <= share * (before[name] - mean).abs().mean() + 1e-6, name


def detector_with(formats: Detector, of: Detector, module: torch.nn.Module | None = None) -> Detector:
    """The formats of one detector with the network of another."""
    return Detector(of.family, of.config, module or of.module, formats.formats)


def test_the_step_corrects_when_asked() -> None:
    """The same formats, other biases and nothing else; and none for a price."""
    detector = small_gaussian()
    work = work_for(detector)
    plain, corrected = (quantize(detector, Quantize(bias_correction=on), work) for on in (False, True))
    assert plain.formats == corrected.formats
    changed = {
        name
        for name, weight in corrected.module.state_dict().items()
        if not torch.equal(weight, plain.module.state_dict()[name])
    }
    assert changed and all(name.endswith("norm.bias") for name in changed)
    free = quantize(detector, Quantize(bias_correction=True), at_effort(work, 0))
    assert weights_digest(free.module) == weights_digest(detector.module)


@pytest.mark.parametrize(
    "family", ["efficientad", "reverse_distillation", "stfpm", "uninformed_students", "vae", "gaussian"]
)
def test_biases_are_whole_steps_of_the_integer_sums(family: str) -> None:
    """Of input scale times weight scale, for all layers that compute in INT8, and moved by half a step at most."""
    detector = small(family)
    rounded = quantize(detector, Quantize(), work_for(detector))
    sources, seen = sources_of(detector.module, textures(1)), 0
    most = (
        0.02 if family in ("reverse_distillation", "uninformed_students") else 0.01
    )  # their 2e5 steps are at the end of what float32 holds
    for name, _ in units(rounded.module):
        known = rounded.formats.get(name)
        if known is None or not known.weight_scale:
            continue
        (source,) = sources[name]
        output = rounded.formats[source].output
        assert output is not None
        step = torch.tensor(known.weight_scale) * output.scale
        now, before = (_bias(module.get_submodule(name)) for module in (rounded.module, detector.module))
        assert ((now / step) - (now / step).round()).abs().max() < most
        assert ((now - before) / step).abs().max() < 0.51
        seen += 1
    assert seen >= 3


def _bias(unit: torch.nn.Module) -> Tensor:
    bias = unit.folded()[1] if isinstance(unit, ConvUnit) else unit.get_parameter("linear.bias")
    assert bias is not None
    return bias.detach()

"""Stored bits: every weight as a code of 2 to 8 bits, whatever it computes in; latency stays as it is.

Which layer gets how many follows from what rounding it does to the anomaly scores, in one knapsack over all layers.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn

from budgetc.core.dataset import evenly
from budgetc.core.plan import StoreBits, fingerprint
from budgetc.detectors.detector import Detector, as_input, deployed_part, lowest_score, weights_digest
from budgetc.detectors.layers import ConvUnit, LinearUnit, units
from budgetc.detectors.levels import levels_of
from budgetc.detectors.rounding import FakeQuantize, NumberFormat, StoredBits, least_scales, weight_scales
from budgetc.detectors.stored import StoredUnit, stored_units
from budgetc.passes.knapsack import choose
from budgetc.passes.refit import refit
from budgetc.passes.round_weights import best_scales, round_weights
from budgetc.passes.sensitivity import spread_of_signed
from budgetc.passes.work import Work

Tables = Mapping[str, tuple[NumberFormat, Tensor]]
"""Unit -> its new format, and the levels that its weights may take."""
_WIDTHS: tuple[StoredBits, ...] = tuple(bits for bits in get_args(StoredBits) if bits <= 8)
_SMALLEST = 2.0**-20
"""Of scales: FP16 keeps four bits of them."""
_PROBED: StoredBits = 3
"""Width that a layer is rounded to when its effect on the scores is measured."""
_IMAGES = 8
"""Normals, and as many damaged ones, that scores are perturbed on."""
_ROUNDED_ON = 32
"""The same for the moments that weights are rounded by."""


def store_bits(detector: Detector, step: StoreBits, work: Work) -> Detector:
    """The detector with codes of `step.bits` on average for each deployed weight; scales and biases as FP16.

    Weights are rounded layer by layer on what they then read; a head that is fitted to normals is fitted again in
    between. With effort 0 every layer counts alike and no weight moves.
    """
    bits = _allocate(detector, step, work)
    formats = {
        name: _format(unit, detector.formats.get(name, NumberFormat("fp32")), bits[name], work)
        for name, unit in _layers(detector.module)
    }
    if work.effort == 0:
        return replace(detector, formats={**detector.formats, **formats}, threshold=None)
    body = {name: known for name, known in formats.items() if not detector.module.get_submodule(name).head}
    fitted = refit(_with_rounded(detector, body, work), work)
    heads = {
        name: _format(unit, fitted.formats.get(name, NumberFormat("fp32")), bits[name], work)
        for name, unit in _layers(fitted.module)
        if unit.head
    }
    return replace(_with_rounded(fitted, heads, work), threshold=None)


def _layers(module: nn.Module) -> list[tuple[str, StoredUnit]]:
    """Layers of the shipped part, by their names in the module."""
    shipped = {unit for _, unit in units(deployed_part(module))}
    return [(name, unit) for name, unit in stored_units(module) if unit in shipped]


def _format(unit: StoredUnit, known: NumberFormat, bits: StoredBits, work: Work) -> NumberFormat:
    """How a layer computes stays; how it is stored changes."""
    weight, bias = (None if part is None else part.detach() for part in unit.folded())
    assert weight is not None, "layers have weights"
    if not isinstance(unit, ConvUnit | LinearUnit):
        bias = None  # no integer sums, and scales are of what is read
    levels = levels_of(bits, work.weight_levels) if bits < 8 else ()
    new = replace(known, stored_bits=bits, levels=levels, half_vectors=True)
    table = _table(new, work)
    scales = weight_scales(weight, int(table[-1]), bias)
    if work.effort > 0:
        scales = best_scales(weight, table, least_scales(bias, len(weight)).clamp(min=_SMALLEST))
    return replace(new, weight_scale=scales)


def _table(known: NumberFormat, work: Work) -> Tensor:
    """(levels,) that weights of a format may take: the whole byte where no integer kernel could saturate."""
    most = work.weight_levels if known.compute == "int8" else 127
    return torch.tensor(known.levels or range(-most, most + 1), dtype=torch.float32)


def _with_rounded(detector: Detector, formats: Mapping[str, NumberFormat], work: Work) -> Detector:
    """The detector with these formats, its weights on their levels."""
    module = copy.deepcopy(detector.module).eval()
    _round_in_passing(module, detector.formats, _tables(formats, work), _pictures(detector, work, _ROUNDED_ON))
    for _, unit in units(module):
        unit.rounding = None
    return replace(detector, module=module, formats={**detector.formats, **formats})


@torch.no_grad()
def _round_in_passing(module: nn.Module, known: Mapping[str, NumberFormat], new: Tables, images: Tensor) -> Tensor:
    """Scores of a forward pass that puts weights on the levels of their `new` formats, in place.

    Each layer is rounded just before it runs, so that it sees the errors of those before it.
    """
    hooks = []
    for name, unit in units(module):
        if name in new:
            hooks.append(unit.register_forward_pre_hook(_rounding_hook(*new[name])))
        elif name in known:
            unit.rounding = FakeQuantize(known[name])
    scores: Tensor = deployed_part(module)(images)[0]
    for hook in hooks:
        hook.remove()
    return scores


def _tables(formats: Mapping[str, NumberFormat], work: Work) -> Tables:
    return {name: (known, _table(known, work)) for name, known in formats.items()}


def _rounding_hook(known: NumberFormat, table: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    scale = torch.tensor(known.weight_scale)

    def before(unit: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(unit, StoredUnit)
        round_weights(unit, inputs[0] if inputs else None, scale, table)
        unit.rounding = FakeQuantize(known)

    return before


def _pictures(detector: Detector, work: Work, count: int) -> Tensor:
    """(2 * count, 3, H, W): calibration normals, and damaged training normals."""
    normals = work.calibration(detector.config.input_size)
    damaged = work.pictures(detector.config.input_size).damaged
    return as_input(np.concatenate([normals[evenly(len(normals), count)], damaged[evenly(len(damaged), count)]]))


def _allocate(detector: Detector, step: StoreBits, work: Work) -> dict[str, StoredBits]:
    """Width of every layer: the least perturbation of the scores within the mean."""
    layers = _layers(detector.module)
    sizes = [unit.folded()[0].numel() for _, unit in layers]
    costs = [[size * bits for bits in _WIDTHS] for size in sizes]
    chosen = choose(costs, _perturbations(detector, layers, work), step.bits * sum(sizes) * (1 + 1e-9))
    return {name: _WIDTHS[option] for (name, _), option in zip(layers, chosen, strict=True)}


def _perturbations(detector: Detector, layers: Sequence[tuple[str, StoredUnit]], work: Work) -> list[list[float]]:
    """For every layer and width, the mean square change of log scores that is to be expected.

    Measured at one width; at the others in proportion to the square error of the weights.
    """
    if work.effort == 0:
        return [[unit.folded()[0].numel() * 4.0**-bits for bits in _WIDTHS] for _, unit in layers]

    def measure() -> list[list[float]]:
        return _measured(detector, layers, work)

    described = {name: asdict(known) for name, known in detector.formats.items()}
    network = [weights_digest(detector.module), detector.config.model_dump(mode="json")]
    key = fingerprint(["stored bits", network, described, work.weight_levels])
    return work.probed(key, list[list[float]], measure)


@torch.no_grad()
def _measured(detector: Detector, layers: Sequence[tuple[str, StoredUnit]], work: Work) -> list[list[float]]:
    images = _pictures(detector, work, _IMAGES)
    lowest = lowest_score(deployed_part(detector.module))
    plain = detector.deployed()(images)[0] - lowest
    spread = spread_of_signed(plain.numpy())
    compared, scale = (_logs, 1.0) if spread is None else (_as_they_are, spread)
    before = compared(plain)
    found = []
    for name, unit in layers:
        known = detector.formats.get(name, NumberFormat("fp32"))
        candidates = {bits: _format(unit, known, bits, work) for bits in _WIDTHS}
        errors = {bits: _error(unit.folded()[0], known) for bits, known in candidates.items()}
        module, new = copy.deepcopy(detector.module).eval(), _tables({name: candidates[_PROBED]}, work)
        after = compared(_round_in_passing(module, detector.formats, new, images) - lowest)
        perturbation = float((after - before).square().mean()) / scale**2
        found.append([perturbation * errors[bits] / max(errors[_PROBED], 1e-30) for bits in _WIDTHS])
    return found


def _logs(scores: Tensor) -> Tensor:
    """(b,): of all own families, scores are positive and their ratios count."""
    return scores.clamp(min=1e-12).log()


def _as_they_are(scores: Tensor) -> Tensor:
    return scores


def _error(weight: Tensor, known: NumberFormat) -> float:
    return float((FakeQuantize(known).weight(weight) - weight).square().sum())

"""PTQ: choose the INT8 formats of every unit from what calibration normals do to it."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from budgetc.core.dataset import evenly
from budgetc.core.plan import Quantize
from budgetc.detectors.detector import Detector, DetectorConfig, as_input, deployed_part
from budgetc.detectors.layers import AddUnit, ConvUnit, InputUnit, Unit, units
from budgetc.detectors.observers import RangeObserver
from budgetc.detectors.rounding import (
    NumberFormat,
    activation_format,
    unit_bias,
    unit_weight,
    weight_scales,
)
from budgetc.passes.biases import correct_biases, round_biases
from budgetc.passes.readers import read_by_heads_alone
from budgetc.passes.sensitivity import score_perturbation
from budgetc.passes.work import Work

_NOISE_MEAN, _NOISE_SPREAD = 127.5, 64.0
"""Of the pixels of random pictures: about what photographs have."""
_JUDGED = 12
"""Normals, and damaged normals, that tell how sensitive a layer is."""
_CORRECTED = 32
"""Most pictures that biases are corrected by: they go through together."""


def quantize(detector: Detector, step: Quantize, work: Work) -> Detector:
    """INT8 formats for all units that the step's scope names; score heads stay in FP32.

    Ranges come from normals only, or from no pictures at all. With effort 0 one image is enough: formats decide
    numbers, not structure.
    """
    images = _seen(detector.config, step, work)
    last = read_by_heads_alone(detector.module, images[:1]) if not step.last_layers or step.float_layers else set()
    chosen = _formats(detector, step, images, levels=work.weight_levels, left_out=set() if step.last_layers else last)
    for name in _most_sensitive(detector, chosen, step, work):
        known = chosen.pop(name)
        if name not in last:
            chosen[name] = NumberFormat("fp32", output=known.output)
    formats = {name: known for name, known in detector.formats.items() if known.compute == "fp32" and not known.output}
    for name, new in chosen.items():
        half = name in formats and formats[name].stored_bits == 16 and new.compute == "fp32"
        formats[name] = replace(new, stored_bits=16) if half else new
    result = replace(detector, formats=formats, quantization=step, threshold=None)
    if work.effort == 0:
        return result
    if step.bias_correction:
        result = replace(result, module=correct_biases(result, images[evenly(len(images), _CORRECTED)]))
    return replace(result, module=round_biases(result, images[:1]))


def _formats(
    detector: Detector, step: Quantize, images: NDArray[np.uint8], *, levels: int, left_out: set[str]
) -> dict[str, NumberFormat]:
    module = copy.deepcopy(detector.module).eval()
    observers = {}
    for name, unit in units(module):
        if _in_scope(name, unit, step) and name not in left_out:
            observers[name] = unit.rounding = RangeObserver(step.method)
    deployed = deployed_part(module)
    with torch.no_grad():
        for start in range(0, len(images), 8):
            deployed(as_input(images[start : start + 8]))
    return {
        name: _format(unit, observers[name], step=step, levels=levels, stem=detector.config.stem_channels)
        for name, unit in units(module)
        if name in observers and observers[name].seen
    }


def _most_sensitive(detector: Detector, chosen: Mapping[str, NumberFormat], step: Quantize, work: Work) -> list[str]:
    """The layers that `float_layers` leaves in FP32."""
    layers = {name: known for name, known in chosen.items() if known.weight_scale}
    if step.float_layers == 0:
        return []
    if work.effort == 0:
        found = dict(units(detector.module))
        rank = {name: float(weight.numel()) for name in layers if (weight := unit_weight(found[name])) is not None}
    else:
        size = detector.config.input_size
        parts = (work.calibration(size), work.pictures(size).damaged)
        rank = score_perturbation(
            detector, layers, np.concatenate([part[evenly(len(part), _JUDGED)] for part in parts])
        )
    return sorted(rank, key=lambda name: (-rank[name], name))[: step.float_layers]


def _seen(config: DetectorConfig, step: Quantize, work: Work) -> NDArray[np.uint8]:
    """(n, channels, height, width): what ranges are found on. With effort 0 one picture is enough: formats decide
    numbers, not structure.
    """
    size = config.input_size
    if work.effort == 0:
        return work.calibration(size)[:1]
    match step.source:
        case "calibration":
            pictures = work.calibration(size)
        case "train":
            pictures = work.pictures(size).as_taken
        case "augmented":
            pictures = work.pictures(size).normal
        case "noise":
            pixels = np.random.default_rng(work.seed).normal(
                _NOISE_MEAN, _NOISE_SPREAD, (step.samples, config.channels, *size)
            )
            return np.clip(pixels, 0, 255).round().astype(np.uint8)
    return pictures[evenly(len(pictures), step.samples)]


def _in_scope(name: str, unit: Unit, step: Quantize) -> bool:
    if unit.head:
        return False
    if isinstance(unit, InputUnit) and not step.first_convolution:
        return False
    return step.scope == "all" or "teacher" not in name.split(".")


def _stays_in_float(unit: Unit, step: Quantize, stem: int) -> bool:
    if not isinstance(unit, ConvUnit):
        return False
    first, depthwise = unit.conv.in_channels == stem, unit.conv.groups > 1
    return (first and not step.first_convolution) or (depthwise and not step.depthwise)


def _format(unit: Unit, observer: RangeObserver, *, step: Quantize, levels: int, stem: int) -> NumberFormat:
    """INT8 where an integer kernel pays; FP32 with a rounded result where only the next unit computes in INT8."""
    seen, inner = observer.range("output"), observer.range("before_activation")
    output = None if seen is None else activation_format(*seen)
    before = None if inner is None else activation_format(*inner)
    weight, bias = unit_weight(unit), unit_bias(unit)
    if weight is None:
        integer = isinstance(unit, AddUnit)
        return NumberFormat("int8" if integer else "fp32", output=output)
    if _stays_in_float(unit, step, stem):
        return NumberFormat("fp32", output=output)
    return NumberFormat("int8", weight_scales(weight, levels, bias), output, before, stored_bits=8)

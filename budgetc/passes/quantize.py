"""PTQ: choose the INT8 formats of every unit from what calibration normals do to it."""

import copy
from dataclasses import replace

import torch

from budgetc.core.dataset import evenly
from budgetc.core.plan import Quantize
from budgetc.detectors.detector import Detector, as_input, deployed_part
from budgetc.detectors.layers import AddUnit, ConvUnit, InputUnit, Unit, units
from budgetc.detectors.rounding import (
    NumberFormat,
    RangeObserver,
    activation_format,
    unit_bias,
    unit_weight,
    weight_scales,
)
from budgetc.passes.work import Work

_TAIL = 1e-4
"""Share of activations that `percentile` cuts off at each end."""


def quantize(detector: Detector, step: Quantize, work: Work) -> Detector:
    """INT8 formats for all units that the step's scope names; score heads stay in FP32.

    Ranges come from calibration normals only. With effort 0 one image is enough: formats decide
    numbers, not structure.
    """
    module = copy.deepcopy(detector.module).eval()
    observers = {}
    for name, unit in units(module):
        if _in_scope(name, unit, step):
            observers[name] = unit.rounding = RangeObserver(_TAIL if step.method == "percentile" else 0.0)
    normals = work.calibration(detector.config.input_size)
    images = normals[evenly(len(normals), 1 if work.effort == 0 else step.samples)]
    deployed = deployed_part(module)
    with torch.no_grad():
        for start in range(0, len(images), 8):
            deployed(as_input(images[start : start + 8]))
    formats = {
        name: _format(unit, observers[name], first=_reads_image(unit), step=step, levels=work.weight_levels)
        for name, unit in units(module)
        if name in observers and observers[name].seen
    }
    for name, new in formats.items():
        old = detector.formats.get(name)
        if old is not None and old.stored_bits == 16 and new.compute == "fp32":
            formats[name] = replace(new, stored_bits=16)
    return replace(detector, formats={**detector.formats, **formats}, quantization=step, threshold=None)


def _in_scope(name: str, unit: Unit, step: Quantize) -> bool:
    if unit.head:
        return False
    if isinstance(unit, InputUnit) and not step.first_convolution:
        return False
    return step.scope == "all" or "teacher" not in name.split(".")


def _reads_image(unit: Unit) -> bool:
    return isinstance(unit, ConvUnit) and unit.conv.in_channels == 3


def _format(unit: Unit, observer: RangeObserver, *, first: bool, step: Quantize, levels: int) -> NumberFormat:
    """INT8 where an integer kernel pays; FP32 with a rounded result where only the next unit computes in INT8."""
    seen, inner = observer.range("output"), observer.range("before_activation")
    output = None if seen is None else activation_format(*seen)
    before = None if inner is None else activation_format(*inner)
    weight = unit_weight(unit)
    if weight is None:
        integer = isinstance(unit, AddUnit)
        return NumberFormat("int8" if integer else "fp32", output=output)
    # Depthwise layers are quantized too: between integer neighbors the runtime would otherwise quantize
    # their weights itself at load, by a rule that calibration never saw.
    if first and not step.first_convolution:
        return NumberFormat("fp32", output=output)
    return NumberFormat("int8", weight_scales(weight, levels, unit_bias(unit)), output, before, stored_bits=8)

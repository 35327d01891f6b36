"""FP16 storage: half the bytes of the weights that still lie in FP32; compute is unchanged."""

from dataclasses import replace

import torch

from budgetc.core.plan import Fp16
from budgetc.detectors.detector import Detector, deployed_part
from budgetc.detectors.layers import units
from budgetc.detectors.rounding import NumberFormat
from budgetc.detectors.stored import stored_units
from budgetc.errors import UsageError


def fp16(detector: Detector, step: Fp16) -> Detector:
    """Mark every FP32 weight of the deployed part as stored in 16 bits.

    Raises:
        UsageError: a weight is beyond the range of FP16.
    """
    formats = dict(detector.formats)
    shipped = {unit for _, unit in units(deployed_part(detector.module))}
    for name, unit in stored_units(detector.module):
        weight = unit.folded()[0]
        known = formats.get(name, NumberFormat("fp32"))
        if unit not in shipped or known.compute != "fp32":
            continue
        if float(weight.detach().abs().max()) > torch.finfo(torch.float16).max:
            raise UsageError(f"{name}: a weight is larger than FP16 can hold; leave the fp16 step out")
        formats[name] = replace(known, stored_bits=16)
    return replace(detector, formats=formats, threshold=None)

"""After the network changed: the number formats it had, fitted again."""

from budgetc.core.plan import Fp16
from budgetc.detectors.detector import Detector
from budgetc.passes.fp16 import fp16
from budgetc.passes.quantize import quantize
from budgetc.passes.work import Work


def restore_formats(changed: Detector, before: Detector, work: Work) -> Detector:
    """`changed` with formats by the same settings as `before`, calibrated on its own activations."""
    if before.quantization is not None:
        changed = quantize(changed, before.quantization, work)
    if any(known.stored_bits == 16 for known in before.formats.values()):
        changed = fp16(changed, Fp16())
    return changed

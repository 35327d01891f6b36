"""One step -> the pass that carries it out."""

from typing import assert_never

from budgetc.core.plan import Direct, Distill, Fp16, Prune, Qat, Quantize, Step, StoreBits, Truncate
from budgetc.detectors.detector import Detector
from budgetc.detectors.reverse_distillation import subpixel_form
from budgetc.passes.direct import direct
from budgetc.passes.distill import distill
from budgetc.passes.fp16 import fp16
from budgetc.passes.prune import prune
from budgetc.passes.qat import qat
from budgetc.passes.quantize import quantize
from budgetc.passes.refit import refit
from budgetc.passes.store_bits import store_bits
from budgetc.passes.truncate import truncate
from budgetc.passes.work import Work


def apply_step(detector: Detector, step: Step, work: Work) -> Detector:
    """The detector after a step, its head fitted again unless the step only stores weights otherwise; the one that was
    passed in is unchanged.

    Transposed convolutions take the form that has integer kernels first, and that pruning knows.
    """
    changed = _carried_out(subpixel_form(detector), step, work)
    if isinstance(step, Fp16 | StoreBits):
        return changed
    return refit(changed, work, anew=not isinstance(step, Qat | Quantize))


def _carried_out(detector: Detector, step: Step, work: Work) -> Detector:
    match step:
        case Quantize():
            return quantize(detector, step, work)
        case Qat():
            return qat(detector, step, work)
        case Fp16():
            return fp16(detector, step)
        case StoreBits():
            return store_bits(detector, step, work)
        case Truncate():
            return truncate(detector, step, work)
        case Direct():
            return direct(detector, step, work)
        case Distill():
            return distill(detector, step, work)
        case Prune():
            return prune(detector, step, work)
        case _:
            assert_never(step)

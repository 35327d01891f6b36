"""Whether this machine's packages turn INT8 formats into integer kernels: a detector of a few hundred weights."""

import numpy as np
import torch

from budgetc.core.plan import Quantize
from budgetc.core.target import Target
from budgetc.detectors.backbones import BackboneConfig
from budgetc.detectors.families import build
from budgetc.detectors.stfpm import StfpmConfig
from budgetc.export.gate import INTEGER_KERNELS, fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.passes.apply import apply_step
from budgetc.passes.work import OutputCache, Work
from budgetc.training.pictures import Pictures, make_pictures

_SIZE = (32, 32)


def integer_kernels(target: Target | None = None) -> int:
    """Quantize and export a tiny network; how many integer kernels the runtime makes of it.

    Raises:
        BudgetcError: a quantized layer would run in FP32, or the exporter does not deliver what the target takes.
    """
    settled = target or load_target("host-cpu").target
    backbone = BackboneConfig(arch="plain", widths=(8, 8), taps=(0, 1))
    torch.manual_seed(0)
    detector = build("stfpm", StfpmConfig(input_size=_SIZE, teacher=backbone, student=backbone))
    detector.module.eval()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, *_SIZE), dtype=np.uint8)

    def pictures(size: tuple[int, int]) -> Pictures:
        return make_pictures(pixels, ["a", "b", "c", "d"], seed=0)

    work = Work(
        pictures=pictures, calibration=lambda size: pixels, baseline=detector,
        weight_levels=63 if settled.weight_levels == "detect" else settled.weight_levels,
        effort=1.0, seed=0, cache=OutputCache(),
    )  # fmt: skip
    exported = export_detector(apply_step(detector, Quantize(), work), settled)
    found = fused_kernels(exported.model)
    return sum(found[kind] for kind in INTEGER_KERNELS)

"""Whole detectors: the file in its runtime gives what fake quantization gave, whatever the format."""

import numpy as np
import pytest

from budgetc.core.plan import Fp16, Qat, Quantize, Step
from budgetc.core.statistics import auroc
from budgetc.detectors.detector import as_input, score_images
from budgetc.export.onnx_file import export_detector
from budgetc.passes.apply import apply_step
from tests.export.single import run_file
from tests.small import FAMILIES, dataset, flow_dataset, small, target, work_for

FORMATS: dict[str, tuple[Step, ...]] = {
    "fp32": (),
    "fp16": (Fp16(),),
    "int8": (Quantize(),),
    "int8 and fp16": (Quantize(), Fp16()),
    "int8 throughout": (Quantize(first_convolution=True),),
    "int8 but the last layers": (Quantize(last_layers=False, bias_correction=True),),
    "int8 but two layers": (Quantize(float_layers=2),),
    "int8 by entropy of noise": (Quantize(method="entropy", source="noise"),),
    "int8, trained": (Quantize(), Qat(epochs=2, learning_rate=1e-5)),
}
_MOST, _MEAN, _AUROC = 0.1, 0.02, 0.003
"""Of the range of scores, which is some 20 steps for these random weights: a float sum in another order may end one
step higher. Trained networks are held to an AUROC within .001 by `benchmarks/calibration.py`."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", list(FORMATS))
def test_the_file_scores_as_torch_does(family: str, kind: str) -> None:
    """Every score within a step or two, most of them equal, and nearly the same AUROC."""
    data = (flow_dataset if family == "flow_vae" else dataset)(selection=100)
    detector = small(family)
    work = work_for(detector)
    for step in FORMATS[kind]:
        detector = apply_step(detector, step, work)
    images, labels = data.images("selection", detector.config.input_size), data.labels("selection")
    model = export_detector(detector, target()).model
    found = run_file(model, as_input(images).numpy())[0]
    expected = score_images(detector.deployed(), images)
    apart = np.abs(found - expected) / np.ptp(expected)
    assert apart.max() <= _MOST and apart.mean() <= _MEAN
    first, second = (auroc(scores.astype(np.float64), labels) for scores in (found, expected))
    assert abs(first - second) <= _AUROC

"""Quantization-aware training: the last epochs under the rounding that ships."""

from budgetc.core.plan import Distill
from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.gaussian import Gaussian
from budgetc.detectors.graph import Graph
from budgetc.detectors.rounding import rounded_copy
from budgetc.detectors.uninformed_students import UninformedStudents
from budgetc.detectors.variational import Variational
from budgetc.passes.features import imitate_features
from budgetc.passes.follow import follow
from budgetc.passes.graphs import imitate_graph
from budgetc.passes.imitate import imitate_encoder, learn_taps
from budgetc.passes.students import learn_students
from budgetc.passes.tap_losses import added_loss
from budgetc.passes.work import Work

_ROUNDED_SHARE = 0.25
"""Epochs of training under fake quantization over those of the step: scales settle quickly."""


def tune_rounded(detector: Detector, step: Distill, work: Work) -> Detector:
    """Quantization-aware training of the student (of a VAE: the encoder) under its present formats.

    BatchNorm is folded on the fly with frozen statistics. Returns the float network; formats are
    void and must be fitted again.
    """
    epochs = round(step.epochs * _ROUNDED_SHARE)
    effort = work.effort_of(epochs, step.learning_rate / 10, "training under INT8")
    module = rounded_copy(detector.module, detector.formats)
    rounded = Detector(detector.family, detector.config, module)
    if effort.epochs > 0:
        match module:
            case Variational():
                imitate_encoder(module.encoder, rounded, effort, work, step=step)
            case Gaussian():
                imitate_features(module, rounded, effort, work)
            case Graph():
                imitate_graph(rounded, effort, work)
            case EfficientAd():
                follow(rounded, effort, work)
            case UninformedStudents():
                learn_students(rounded, effort, work)
            case _:
                learn_taps(rounded, effort, work, added_loss(rounded, step, work))
    return detector.with_module(rounded_copy(module, {}))

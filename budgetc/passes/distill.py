"""Distillation: smaller networks trained to reproduce the outputs of the larger ones."""

import torch

from budgetc.core.plan import Distill, fingerprint
from budgetc.detectors.backbones import Backbone, build_backbone, tap_widths
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.errors import UsageError
from budgetc.passes.features import imitate_features
from budgetc.passes.imitate import (
    Imitation,
    imitate_latents,
    imitate_taps,
    learn_student,
)
from budgetc.passes.restore import restore_formats
from budgetc.passes.shrink import narrow_vae, plain_backbone, plain_gaussian, warm_start
from budgetc.passes.tune import tune_rounded
from budgetc.passes.work import Work


def distill(detector: Detector, step: Distill, work: Work) -> Detector:
    """A detector of smaller networks; formats of a quantized one are fitted again and trained under.

    Raises:
        UsageError: a teacher is to be shrunk in a family that deploys none.
    """
    torch.manual_seed(work.seed)
    if step.drop_hidden and not isinstance(detector.module, Vae):
        raise UsageError(f"distill.drop_hidden: only a VAE has such layers, not a {detector.family}")
    match detector.module, detector.config:
        case Stfpm(), StfpmConfig():
            result = _distill_stfpm(detector, step, work)
        case Vae(), VaeConfig():
            result = _distill_vae(detector, step, work)
        case Gaussian(), GaussianConfig() as config:
            result = _distill_gaussian(detector, config, step, work)
        case _:
            raise UsageError(f"distill does not know detectors of family {detector.family}")
    restored = restore_formats(result, detector, work)
    if detector.quantization is None:
        return restored
    return restore_formats(tune_rounded(restored, step, work), detector, work)


def _distill_vae(detector: Detector, step: Distill, work: Work) -> Detector:
    if step.teacher is not None:
        raise UsageError("distill.teacher: a VAE deploys no teacher; leave the setting out")
    assert isinstance(detector.config, VaeConfig) and isinstance(detector.module, Vae)
    config = narrow_vae(detector.config, step.student, drop_hidden=step.drop_hidden)
    new = Vae(config)
    warm_start(new.encoder, detector.module.encoder)
    result = detector.with_module(new, config)
    imitate_latents(result, Imitation(step.epochs, step.learning_rate, "distilling the encoder"), work)
    return result


def _distill_gaussian(detector: Detector, old: GaussianConfig, step: Distill, work: Work) -> Detector:
    if step.teacher is not None:
        raise UsageError("distill.teacher: a gaussian has one network, its student; leave the setting out")
    config = old.model_copy(update={"backbone": plain_gaussian(old.backbone, step.student)})
    new = Gaussian(config)
    imitate_features(new, detector, work.effort_of(step.epochs, step.learning_rate, "distilling the features"), work)
    return detector.with_module(new, config)


def _distill_stfpm(detector: Detector, step: Distill, work: Work) -> Detector:
    assert isinstance(detector.config, StfpmConfig) and isinstance(detector.module, Stfpm)
    old_config, old = detector.config, detector.module
    teacher_config, teacher = old_config.teacher, old.teacher
    if step.teacher is not None:
        teacher_config = plain_backbone(old_config.teacher, step.teacher)
        teacher = _smaller_teacher(detector, step, work)
    student_config = plain_backbone(old_config.student, step.student, tap_widths(teacher_config))
    config = old_config.model_copy(update={"teacher": teacher_config, "student": student_config})
    torch.manual_seed(work.seed)
    new = Stfpm(config)
    new.teacher = teacher
    warm_start(new.student, old.student)
    result = detector.with_module(new, config)
    learn_student(result, step, work)
    return result


def _smaller_teacher(detector: Detector, step: Distill, work: Work) -> Backbone:
    """Shared by all candidates with the same teacher: it does not depend on the student, and stays frozen."""
    assert isinstance(detector.config, StfpmConfig) and isinstance(detector.module, Stfpm)
    config = plain_backbone(detector.config.teacher, step.teacher or 1.0)
    effort = work.effort_of(step.epochs, step.learning_rate, "distilling the teacher")
    key = fingerprint([config.model_dump(), list(detector.config.input_size), effort.epochs, effort.learning_rate,
                       work.seed, weights_digest(detector.module.teacher)])  # fmt: skip
    if key not in work.trained:
        new = build_backbone(config)
        if detector.config.teacher.arch == "plain":
            warm_start(new, detector.module.teacher)
        imitate_taps(new, detector, effort, work)
        work.trained[key] = new
    found = work.trained[key]
    assert isinstance(found, Backbone)
    return found

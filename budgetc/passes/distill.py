"""Distillation: smaller networks trained to reproduce the outputs of the larger ones."""

from dataclasses import replace

import torch

from budgetc.core.plan import Distill, Prune, fingerprint
from budgetc.detectors.backbones import Backbone, build_backbone
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig
from budgetc.detectors.flow_vae import FlowVae, FlowVaeConfig
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.graph import Graph
from budgetc.detectors.reverse_distillation import ReverseConfig, ReverseDistillation, TeacherStudent
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents
from budgetc.detectors.vae import Vae, VaeConfig, VaeEncoder
from budgetc.errors import UsageError
from budgetc.passes.features import imitate_features
from budgetc.passes.follow import distill_efficientad
from budgetc.passes.graphs import imitate_graph
from budgetc.passes.imitate import imitate_encoder, imitate_taps, learn_student
from budgetc.passes.pruning.narrowing import goal_of, narrowed
from budgetc.passes.pruning.subject import subject_of
from budgetc.passes.restore import restore_formats
from budgetc.passes.shrink import (
    narrow_flow_vae,
    narrow_vae,
    plain_gaussian,
    plain_teacher,
    present,
    refuse_foreign,
    smaller_reverse,
    smaller_stfpm,
    warm_start,
)
from budgetc.passes.students import distill_students
from budgetc.passes.tune import tune_rounded
from budgetc.passes.work import Size, Work


def distill(detector: Detector, step: Distill, work: Work) -> Detector:
    """A detector of smaller networks; formats of a quantized one are fitted again and trained under.

    Raises:
        UsageError: a setting is of another family.
    """
    torch.manual_seed(work.seed)
    refuse_foreign(detector, step)
    match detector.module, detector.config:
        case Stfpm() as module, StfpmConfig() as config:
            result = _distill_stfpm(detector, module, config, step=step, work=work)
        case ReverseDistillation() as module, ReverseConfig() as config:
            result = _distill_reverse(detector, module, config, step=step, work=work)
        case UninformedStudents() as module, StudentsConfig() as config:
            result = distill_students(detector, module, config, step=step, work=work)
        case Vae() as module, VaeConfig() as config:
            result = _distill_vae(detector, module, config, step=step, work=work)
        case FlowVae() as module, FlowVaeConfig() as config:
            result = _distill_flow_vae(detector, module, config, step=step, work=work)
        case Gaussian() as module, GaussianConfig() as config:
            result = _distill_gaussian(detector, module, config, step=step, work=work)
        case Graph(), _:
            result = _distill_graph(detector, step, work)
        case EfficientAd() as module, EfficientAdConfig() as config:
            result = distill_efficientad(detector, module, config, step=step, work=work)
        case _:
            raise UsageError(f"distill does not know detectors of family {detector.family}")
    restored = restore_formats(result, detector, work)
    if detector.quantization is None:
        return restored
    return restore_formats(tune_rounded(restored, step, work), detector, work)


def _distill_vae(detector: Detector, old: Vae, old_config: VaeConfig, *, step: Distill, work: Work) -> Detector:
    config = narrow_vae(old_config, step)
    new = Vae(config)
    _warm_encoder(new.encoder, old.encoder, config, old_config)
    result = detector.with_module(new, config)
    effort = work.effort_of(step.epochs, step.learning_rate, "distilling the encoder")
    imitate_encoder(new.encoder, result, effort, work, step=step)
    return result


def _distill_flow_vae(
    detector: Detector, old: FlowVae, old_config: FlowVaeConfig, *, step: Distill, work: Work
) -> Detector:
    config = narrow_flow_vae(old_config, step)
    new = FlowVae(config)
    warm_start(new.encoder, old.encoder)
    result = detector.with_module(new, config)
    effort = work.effort_of(step.epochs, step.learning_rate, "distilling the encoders")
    imitate_encoder(new.encoder, result, effort, work, step=step)
    return result


def _warm_encoder(new: VaeEncoder, old: VaeEncoder, config: VaeConfig, before: VaeConfig) -> None:
    """Linear layers start from the old ones where they read and mean the same."""
    warm_start(new.blocks, old.blocks)
    if config.bottom != before.bottom or len(config.hidden) != len(before.hidden):
        return
    warm_start(new.hidden, old.hidden)
    if config.latents == before.latents:
        warm_start(new.mu, old.mu)
        warm_start(new.logvar, old.logvar)


def _distill_gaussian(
    detector: Detector, old: Gaussian, config: GaussianConfig, *, step: Distill, work: Work
) -> Detector:
    config = config.model_copy(update={"backbone": plain_gaussian(present(old.backbone), step)})
    new = Gaussian(config)
    imitate_features(new, detector, work.effort_of(step.epochs, step.learning_rate, "distilling the features"), work)
    return detector.with_module(new, config)


def _distill_graph(detector: Detector, step: Distill, work: Work) -> Detector:
    """The same nodes with a share of the channels: of an architecture that nobody knows there is no other student.

    It starts from the channels that explain most of what is read of them.
    """
    subject = subject_of(detector, "student")
    narrow = Prune(keep=step.student, importance="reconstruction")
    new = narrowed(subject, goal_of(subject, step.student), 1.0, step=narrow, work=work)
    assert isinstance(new, Graph)
    result = detector.with_module(new, new.present())
    imitate_graph(result, work.effort_of(step.epochs, step.learning_rate, "distilling the graph"), work)
    return result


def _distill_stfpm(detector: Detector, old: Stfpm, old_config: StfpmConfig, *, step: Distill, work: Work) -> Detector:
    config = smaller_stfpm(old_config, old, step)
    teacher = _teacher_of(detector, config.input_size, step, work)
    torch.manual_seed(work.seed)
    new = Stfpm(config)
    new.teacher = teacher
    before = old.student.config
    if (config.student.start, config.student.separable) == (before.start, before.separable):
        warm_start(new.student, old.student)
    result = detector.with_module(new, config)
    learn_student(result, step, work)
    return result


def _distill_reverse(
    detector: Detector, old: ReverseDistillation, old_config: ReverseConfig, *, step: Distill, work: Work
) -> Detector:
    config = smaller_reverse(old_config, old, step)
    teacher = _teacher_of(detector, config.input_size, step, work)
    torch.manual_seed(work.seed)
    new = ReverseDistillation(config)
    new.teacher = teacher
    if config.block == old_config.block:
        warm_start(new.student, old.student)
    result = detector.with_module(new, config)
    learn_student(result, step, work)
    return result


def _teacher_of(detector: Detector, size: Size, step: Distill, work: Work) -> Backbone:
    """The detector's own, or a smaller one that learned from it on pictures of this size."""
    assert isinstance(detector.module, TeacherStudent)
    if step.teacher is None:
        return detector.module.teacher
    return _smaller_teacher(
        replace(detector, config=detector.config.model_copy(update={"input_size": size})), step, work
    )


def _smaller_teacher(detector: Detector, step: Distill, work: Work) -> Backbone:
    """Shared by all candidates with the same teacher: it does not depend on the student, and stays frozen."""
    assert isinstance(detector.config, StfpmConfig | ReverseConfig) and isinstance(detector.module, TeacherStudent)
    config = plain_teacher(detector.config.teacher, step)
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

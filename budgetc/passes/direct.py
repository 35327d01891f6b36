"""Direct training: a smaller network of the family that learns from normals alone, as if there were no baseline."""

import torch

from budgetc.core.plan import Direct, Distill
from budgetc.detectors.backbones import build_backbone
from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig
from budgetc.detectors.flow_vae import FlowVae, FlowVaeConfig
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.reverse_distillation import ReverseConfig, ReverseDistillation
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.errors import UsageError
from budgetc.passes.features import tell_damage
from budgetc.passes.follow import direct_efficientad
from budgetc.passes.imitate import learn_student
from budgetc.passes.restore import restore_formats
from budgetc.passes.shrink import (
    narrow_flow_vae,
    narrow_vae,
    plain_gaussian,
    present,
    refuse_foreign,
    smaller_reverse,
    smaller_stfpm,
)
from budgetc.passes.students import direct_students
from budgetc.passes.work import Work
from budgetc.training.baseline import train_detector


def direct(detector: Detector, step: Direct, work: Work) -> Detector:
    """The detector with smaller networks that start from random weights and never see the baseline's outputs.

    The control of every distillation: what the same structure is worth without a compiler. A narrower teacher of a
    student-teacher detector has random weights then, for there is nothing that it could have learned from.

    Raises:
        UsageError: a setting is of another family.
    """
    torch.manual_seed(work.seed)
    refuse_foreign(detector, step)
    match detector.module, detector.config:
        case Stfpm() as module, StfpmConfig() as config:
            result = _train_stfpm(detector, module, config, step=step, work=work)
        case ReverseDistillation() as module, ReverseConfig() as config:
            result = _train_reverse(detector, module, config, step=step, work=work)
        case UninformedStudents() as module, StudentsConfig() as config:
            result = direct_students(detector, module, config, step=step, work=work)
        case Vae(), VaeConfig() as config:
            result = _train_vae(detector, narrow_vae(config, step), step, work)
        case FlowVae(), FlowVaeConfig() as config:
            result = _train_vae(detector, narrow_flow_vae(config, step), step, work)
        case Gaussian() as module, GaussianConfig() as config:
            result = _train_gaussian(detector, module, config, step=step, work=work)
        case EfficientAd() as module, EfficientAdConfig() as config:
            result = direct_efficientad(detector, module, config, step=step, work=work)
        case _:
            raise UsageError(f"direct does not know detectors of family {detector.family}")
    return restore_formats(result, detector, work)


def _train_stfpm(detector: Detector, old: Stfpm, config: StfpmConfig, *, step: Direct, work: Work) -> Detector:
    settled = smaller_stfpm(config, old, step)
    kept = old.teacher if step.teacher is None else build_backbone(settled.teacher).eval()
    new = Stfpm(settled)
    new.teacher = kept
    result = detector.with_module(new, settled)
    learn_student(result, Distill(epochs=step.epochs, learning_rate=step.learning_rate), work)
    return result


def _train_reverse(
    detector: Detector, old: ReverseDistillation, config: ReverseConfig, *, step: Direct, work: Work
) -> Detector:
    settled = smaller_reverse(config, old, step)
    kept = old.teacher if step.teacher is None else build_backbone(settled.teacher).eval()
    new = ReverseDistillation(settled)
    new.teacher = kept
    result = detector.with_module(new, settled)
    learn_student(result, Distill(epochs=step.epochs, learning_rate=step.learning_rate), work)
    return result


def _train_gaussian(detector: Detector, old: Gaussian, config: GaussianConfig, *, step: Direct, work: Work) -> Detector:
    config = config.model_copy(update={"backbone": plain_gaussian(present(old.backbone), step)})
    new = Gaussian(config)
    tell_damage(new, detector, work.effort_of(step.epochs, step.learning_rate, "training directly"), work)
    return detector.with_module(new, config)


def _train_vae(detector: Detector, config: VaeConfig | FlowVaeConfig, step: Direct, work: Work) -> Detector:
    narrow = config.model_copy(update={"decoder": True})
    module = Vae(narrow) if isinstance(narrow, VaeConfig) else FlowVae(narrow)
    result = detector.with_module(module, narrow)
    effort = work.effort_of(step.epochs, step.learning_rate, "training directly")
    if effort.epochs == 0:
        result.module.eval()
        return result
    trained, curve = train_detector(result, work.pictures(narrow.input_size), effort, progress=work.progress)
    work.curves.append(curve)
    return trained

"""Truncation: the first stages of a pretrained network, on smaller pictures; no gradient step.

Early stages hold most of what ImageNet taught about textures, and a small fraction of the weights; a smaller picture
shows the same parts at the scale that fewer stages see.
"""

from budgetc.core.plan import Truncate, fingerprint
from budgetc.detectors.backbones import Backbone, BackboneConfig, tap_strides
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.errors import UsageError
from budgetc.passes.restore import restore_formats
from budgetc.passes.shrink import retapped, scaled_size
from budgetc.passes.work import Work


def truncate(detector: Detector, step: Truncate, work: Work) -> Detector:
    """The detector without the stages after `step.stages` and the taps before `step.first`, for pictures of
    `step.input` of the sides.

    A student-teacher detector keeps the student of the taps that stay, as it was trained.

    Raises:
        UsageError: another family than gaussian and stfpm, or no tap is left.
    """
    match detector.module, detector.config:
        case Gaussian() as module, GaussianConfig() as config:
            result = _cut_gaussian(detector, module, config, step)
        case Stfpm() as module, StfpmConfig() as config:
            result = _cut_stfpm(detector, module, config, step=step, work=work)
        case _:
            raise UsageError(f"truncate does not know detectors of family {detector.family}")
    result.module.eval()
    return restore_formats(result, detector, work)


def _cut_gaussian(detector: Detector, old: Gaussian, config: GaussianConfig, step: Truncate) -> Detector:
    backbone = retapped(old.backbone, kept_taps(config.backbone, step))
    size = scaled_size(config.input_size, step.input, tap_strides(backbone.config)[-1])
    config = config.model_copy(update={"backbone": backbone.config, "input_size": size})
    new = Gaussian(config)
    new.backbone = backbone
    return detector.with_module(new, config)


def _cut_stfpm(detector: Detector, old: Stfpm, config: StfpmConfig, *, step: Truncate, work: Work) -> Detector:
    taps = kept_taps(config.teacher, step)
    teacher = old.teacher if taps == config.teacher.taps else _cut_teacher(old.teacher, taps, work)
    matching = tuple(
        mine for mine, theirs in zip(config.student.taps, config.teacher.taps, strict=True) if theirs in taps
    )
    student = retapped(old.student, matching)
    size = scaled_size(config.input_size, step.input, tap_strides(teacher.config)[-1])
    config = config.model_copy(update={"teacher": teacher.config, "student": student.config, "input_size": size})
    new = Stfpm(config)
    new.teacher, new.student = teacher, student
    return detector.with_module(new, config)


def _cut_teacher(old: Backbone, taps: tuple[int, ...], work: Work) -> Backbone:
    """One network for all candidates, so that its outputs are computed once."""
    key = fingerprint(["cut", list(taps), weights_digest(old)])
    if key not in work.trained:
        work.trained[key] = retapped(old, taps)
    found = work.trained[key]
    assert isinstance(found, Backbone)
    return found


def kept_taps(old: BackboneConfig, step: Truncate) -> tuple[int, ...]:
    """The taps that are left.

    Raises:
        UsageError: there are none.
    """
    taps = tuple(tap for tap in old.taps if (step.stages is None or tap <= step.stages) and (step.first or 0) <= tap)
    if not taps:
        first = "" if step.first is None else f", first: {step.first}"
        raise UsageError(f"truncate.stages: {step.stages}{first}; the detector's taps are stages {old.taps}")
    return taps

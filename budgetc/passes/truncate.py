"""Truncation: the first stages of a pretrained network, on smaller pictures; no gradient step.

Early stages hold most of what ImageNet taught about textures, and a small fraction of the weights; a smaller picture
shows the same parts at the scale that fewer stages see.
"""

from budgetc.core.plan import Truncate
from budgetc.detectors.backbones import BackboneConfig, tap_strides
from budgetc.detectors.detector import Detector
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.layers import conform
from budgetc.errors import UsageError
from budgetc.passes.restore import restore_formats
from budgetc.passes.work import Size, Work


def truncate(detector: Detector, step: Truncate, work: Work) -> Detector:
    """The detector without the stages after `step.stages`, for pictures of `step.input` of the sides.

    Raises:
        UsageError: another family than gaussian, or no tap is left.
    """
    module, old = detector.module, detector.config
    if not isinstance(module, Gaussian) or not isinstance(old, GaussianConfig):
        raise UsageError(f"truncate does not know detectors of family {detector.family}")
    backbone = _cut(old.backbone, step.stages)
    size = scaled_size(old.input_size, step.input, tap_strides(backbone)[-1])
    config = old.model_copy(update={"backbone": backbone, "input_size": size})
    new = Gaussian(config)
    weights = {name: weight for name, weight in module.backbone.state_dict().items()
               if name in new.backbone.state_dict()}  # fmt: skip
    conform(new.backbone, {name: tuple(weight.shape) for name, weight in weights.items()})
    new.backbone.load_state_dict(weights)
    new.eval()
    return restore_formats(detector.with_module(new, config), detector, work)


def _cut(old: BackboneConfig, stages: int | None) -> BackboneConfig:
    if stages is None:
        return old
    taps = tuple(tap for tap in old.taps if tap <= stages)
    if not taps:
        raise UsageError(f"truncate.stages: {stages}; the detector's first tap is stage {old.taps[0]}")
    return old.model_copy(update={"taps": taps})


def scaled_size(size: Size, ratio: float, stride: int) -> Size:
    """(height, width) times `ratio`, at multiples of `stride`: at least one of it, never more than there was."""
    if ratio == 1.0:
        return size
    height, width = (min(max(stride, round(side * ratio / stride) * stride), side) for side in size)
    return height, width

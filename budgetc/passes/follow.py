"""EfficientAD in the passes: a teacher that imitates a larger one, student and autoencoder that learn its features."""

import torch

from budgetc.core.plan import Direct, Distill, fingerprint
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig
from budgetc.detectors.efficientad_networks import PatchDescriptionNetwork
from budgetc.passes.shrink import smaller_efficientad, warm_start
from budgetc.passes.work import Work
from budgetc.training.efficientad import learn_features, learn_follower, normalize_teacher
from budgetc.training.loop import Effort


def follow(detector: Detector, effort: Effort, work: Work) -> None:
    """Train student and autoencoder in place on their teacher's features of normals."""
    module = detector.module
    assert isinstance(module, EfficientAd)
    if effort.epochs == 0:
        module.eval()
        return
    name = f"normals at {module.size}"
    curve = learn_follower(
        module, work.pictures(module.size), effort, progress=work.progress,
        keep=lambda compute: work.cache.get(module.teacher, name, compute),
    )  # fmt: skip
    work.curves.append(curve)


def imitate_patches(module: EfficientAd, old: EfficientAd, effort: Effort, work: Work) -> None:
    """Train a smaller teacher in place on the features of the old one, of normals, damaged ones and made textures.

    Fewer features are means of neighbors among the old ones; their normalization is fitted anew.
    """
    if effort.epochs == 0:
        module.eval()
        return
    pictures = work.pictures(module.size)
    curve = learn_features(
        module, lambda x: old.teacher(old.normalized(x)), pictures, effort, grid=module.grid, progress=work.progress
    )
    work.curves.append(curve)
    normalize_teacher(module, pictures)


def distill_efficientad(
    detector: Detector, old: EfficientAd, old_config: EfficientAdConfig, *, step: Distill, work: Work
) -> Detector:
    """Narrower networks, each taught by what it took the place of or by the teacher."""
    config = smaller_efficientad(old_config, old, step)
    teacher = old.teacher if step.teacher is None else _smaller_teacher(old, config, step, work)
    torch.manual_seed(work.seed)
    new = EfficientAd(config)
    new.teacher = teacher
    warm_start(new.student, old.student)
    result = detector.with_module(new, config)
    follow(result, work.effort_of(step.epochs, step.learning_rate, "distilling the student"), work)
    return result


def direct_efficientad(
    detector: Detector, old: EfficientAd, old_config: EfficientAdConfig, *, step: Direct, work: Work
) -> Detector:
    """The same from random weights; a smaller teacher keeps them, but for the scale of its features."""
    config = smaller_efficientad(old_config, old, step)
    new = EfficientAd(config)
    if step.teacher is None:
        new.teacher = old.teacher
    elif work.effort > 0:
        normalize_teacher(new, work.pictures(config.input_size))
    result = detector.with_module(new, config)
    follow(result, work.effort_of(step.epochs, step.learning_rate, "training directly"), work)
    return result


def _smaller_teacher(old: EfficientAd, config: EfficientAdConfig, step: Distill, work: Work) -> PatchDescriptionNetwork:
    """Shared by all candidates with the same teacher: it does not depend on the student, and stays frozen."""
    effort = work.effort_of(step.epochs, step.learning_rate, "distilling the teacher")
    key = fingerprint([list(config.teacher), config.padding, list(config.input_size), effort.epochs,
                       effort.learning_rate, work.seed, weights_digest(old.teacher)])  # fmt: skip
    if key not in work.trained:
        new = EfficientAd(config)
        if config.teacher[-1] == old.teacher.channels:
            warm_start(new.teacher, old.teacher)
        imitate_patches(new, old, effort, work)
        work.trained[key] = new.teacher.eval()
    found = work.trained[key]
    assert isinstance(found, PatchDescriptionNetwork)
    return found

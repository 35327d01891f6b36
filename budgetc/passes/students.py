"""Uninformed students: smaller teachers and ensembles of smaller students. `refit.py` fits the head afterwards."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from budgetc.core.plan import Direct, Distill, Smaller, fingerprint
from budgetc.detectors.detector import Detector, as_input, weights_digest
from budgetc.detectors.layers import ConvUnit, units
from budgetc.detectors.patch_network import PatchNetwork
from budgetc.detectors.uninformed_students import PatchConfig, StudentsConfig, UninformedStudents, students_loss
from budgetc.passes.imitate import on_all
from budgetc.passes.shrink import large_enough, narrowed, scaled_size, warm_start
from budgetc.passes.work import Work
from budgetc.training.features import Recall
from budgetc.training.loop import Effort, Examples, fit
from budgetc.training.students import whiten_on_normals


def distill_students(
    detector: Detector, old: UninformedStudents, config: StudentsConfig, *, step: Distill, work: Work
) -> Detector:
    """The detector with an ensemble of other students, of its teacher or of a smaller one that learned from it."""
    settled = smaller_students(config, old, step)
    new = UninformedStudents(settled)
    if step.teacher is None:
        new.teacher = old.teacher
    else:
        effort = work.effort_of(step.epochs, step.learning_rate, "distilling the teacher")
        new.teacher = _smaller_teacher(new, detector, effort, work)
    torch.manual_seed(work.seed)
    for net, before in zip(new.students.nets, old.students.nets, strict=False):
        warm_start(net, before)
    result = detector.with_module(new, settled)
    learn_students(result, work.effort_of(step.epochs, step.learning_rate, "distilling the students"), work)
    return result


def direct_students(
    detector: Detector, old: UninformedStudents, config: StudentsConfig, *, step: Direct, work: Work
) -> Detector:
    """The detector with students from random weights; a smaller teacher keeps the random ones that it starts from."""
    settled = smaller_students(config, old, step)
    new = UninformedStudents(settled)
    if step.teacher is None:
        new.teacher = old.teacher
    elif work.effort > 0:
        whiten_on_normals(new, work.pictures(settled.input_size))
    result = detector.with_module(new, settled)
    learn_students(result, work.effort_of(step.epochs, step.learning_rate, "training the students"), work)
    return result


def smaller_students(old: StudentsConfig, network: UninformedStudents, step: Smaller) -> StudentsConfig:
    """The configuration after a step: `network` says what pruning left, `old` the rest.

    What is trained anew has ReLU, which integer kernels fuse: the published slope of .005 is within half a step of U8.

    Raises:
        UsageError: pictures would be smaller than a patch.
    """
    teacher = old.teacher if step.teacher is None else _share_of([network.teacher], step.teacher)
    student = _share_of(list(network.students.nets), step.student)
    fields = {
        "teacher": teacher, "student": student, "students": step.students or old.students,
        "input_size": scaled_size(old.input_size, step.input, old.stride),
    }  # fmt: skip
    with large_enough(step):
        return StudentsConfig.model_validate(dict(old) | fields)


def _share_of(networks: list[nn.Module], ratio: float) -> PatchConfig:
    """A share of the channels that there are, of the widest where pruning left them unequal."""
    each = [[unit.conv.out_channels for _, unit in units(net.get_submodule("layers")) if isinstance(unit, ConvUnit)]
            for net in networks]  # fmt: skip
    return PatchConfig(widths=tuple(narrowed(max(one), ratio) for one in zip(*each, strict=True)), activation="relu")


def learn_students(detector: Detector, effort: Effort, work: Work) -> None:
    """Train all students in place on their teacher's descriptors of normals."""
    module = detector.module
    if effort.epochs == 0:
        module.eval()
        return
    assert isinstance(module, UninformedStudents)
    pictures, wanted = work.pictures(module.size), _described(module.teacher, module, work)

    def loss(indices: Tensor) -> Tensor:
        image = as_input(pictures.normal[indices.numpy()])
        (described,) = wanted(indices)
        return students_loss(described, module.students(module.normalized(image)))

    examples = Examples(pictures.train, pictures.held_out, loss)
    work.curves.append(fit(module.students, examples, effort, work.progress))


def imitate_descriptors(new: PatchNetwork, old: PatchNetwork, module: UninformedStudents, effort: Effort, *,
                        work: Work) -> None:  # fmt: skip
    """Train a smaller teacher in place towards the old one's descriptors, on normals and damaged normals.

    It must know more than normals, or it knows no more than its students. Both see pictures as `module` does.
    """
    if effort.epochs == 0:
        new.eval()
        return
    train, watch, images = on_all(work, module.size)
    wanted = _described(old, module, work)

    def loss(indices: Tensor) -> Tensor:
        (described,) = wanted(indices)
        return F.mse_loss(new(module.normalized(as_input(images[indices.numpy()]))), described)

    work.curves.append(fit(new, Examples(train, watch, loss), effort, work.progress))


def _described(teacher: PatchNetwork, module: UninformedStudents, work: Work) -> Recall:
    """Descriptors of normal and then damaged pictures: (b, d, h, w)."""
    return work.outputs(teacher, lambda x: [teacher(module.normalized(x))], module.size)


def _smaller_teacher(new: UninformedStudents, detector: Detector, effort: Effort, work: Work) -> PatchNetwork:
    """Shared by all candidates with the same teacher: it does not depend on the students, and stays frozen."""
    assert isinstance(detector.module, UninformedStudents) and isinstance(detector.config, StudentsConfig)
    old, widths = detector.module.teacher, [list(weight.shape) for weight in new.teacher.parameters()]
    key = fingerprint([detector.config.model_dump(mode="json"), list(new.size), widths, effort.epochs,
                       effort.learning_rate, work.seed, weights_digest(old)])  # fmt: skip
    if key not in work.trained:
        torch.manual_seed(work.seed)
        module = copy.deepcopy(new)
        warm_start(module.teacher, old)
        imitate_descriptors(module.teacher, old, module, effort, work=work)
        if effort.epochs > 0:
            whiten_on_normals(module, work.pictures(new.size))
        work.trained[key] = module.teacher.eval()
    found = work.trained[key]
    assert isinstance(found, PatchNetwork)
    return found

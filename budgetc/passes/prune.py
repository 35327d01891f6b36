"""Structured pruning: whole channels go, through BatchNorm, flatten and concatenation."""

import copy

import torch

from budgetc.core.plan import Distill, Prune, fingerprint
from budgetc.detectors.backbones import Backbone
from budgetc.detectors.detector import Detector, weights_digest
from budgetc.detectors.efficientad import EfficientAd
from budgetc.detectors.flow_vae import FlowVae, FlowVaeConfig
from budgetc.detectors.gaussian import Gaussian
from budgetc.detectors.graph import Graph
from budgetc.detectors.patch_network import PatchNetwork
from budgetc.detectors.reverse_distillation import ReverseDistillation, TeacherStudent
from budgetc.detectors.stfpm import Stfpm
from budgetc.detectors.uninformed_students import UninformedStudents
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.detectors.variational import Variational
from budgetc.errors import UsageError
from budgetc.passes.features import imitate_features
from budgetc.passes.follow import follow, imitate_patches
from budgetc.passes.graphs import imitate_graph
from budgetc.passes.imitate import Imitation, imitate_latents, imitate_taps, learn_student
from budgetc.passes.pruning.groups import outputs_of
from budgetc.passes.pruning.latents import keep_latents
from budgetc.passes.pruning.narrowing import goal_of, narrowed
from budgetc.passes.pruning.subject import subject_of
from budgetc.passes.restore import restore_formats
from budgetc.passes.students import imitate_descriptors, learn_students
from budgetc.passes.tune import tune_rounded
from budgetc.passes.work import Work


def prune(detector: Detector, step: Prune, work: Work) -> Detector:
    """The detector without the channels that matter least; the others make up for them, and are fine-tuned.

    With a knapsack the price of a plan is exact where nothing was trained or rounded before this step and it has one
    round: it is probed on the weights of the baseline then. Otherwise the price is that of the widest uniform network
    within the same limits of weights and MACs, for which groups will be narrowed is not known before training.

    Raises:
        UsageError: the family is not known to this pass or has no latents, or no network is as small as asked for.
    """
    if step.latents is not None and not isinstance(detector.module, Vae):
        raise UsageError(f"prune.latents: a {detector.family} has none; leave the setting out")
    torch.manual_seed(work.seed)
    tuning = Distill(student=1.0, epochs=-(-step.epochs // step.rounds), learning_rate=step.learning_rate)
    result = _without_decoder(detector)
    if step.teacher is not None:
        result = _with_narrower_teacher(result, step.teacher, step, work)
    goal = goal_of(subject_of(result, "student"), step.keep)
    for done in _rounds(step, work):
        if step.keep < 1 or step.macs < 1:
            result = _narrower(result, narrowed(subject_of(result, "student"), goal, done, step=step, work=work))
        _learn(result, tuning, work)
    result = restore_formats(result, detector, work)
    if detector.quantization is not None:
        result = restore_formats(tune_rounded(result, tuning, work), detector, work)
    return result if step.latents is None else keep_latents(result, step.latents, work)


def _rounds(step: Prune, work: Work) -> list[float]:
    """Share of all rounds that is done after each; an untrained structure is built at once."""
    return [1.0] if work.effort == 0 else [number / step.rounds for number in range(1, step.rounds + 1)]


def _without_decoder(detector: Detector) -> Detector:
    """A copy of the network, without what only training a baseline needs."""
    module, config = copy.deepcopy(detector.module), detector.config
    if isinstance(module, Variational) and isinstance(config, VaeConfig | FlowVaeConfig):
        module.decoder = None
        config = config.model_copy(update={"decoder": False})
    return detector.with_module(module, config)


def _narrower(detector: Detector, module: torch.nn.Module) -> Detector:
    """With the narrowed network, and a configuration of what is left: a later distillation takes its share of that."""
    config = detector.config
    if isinstance(module, Graph):
        config = module.present()
    if isinstance(module, Vae) and isinstance(config, VaeConfig):
        widths = tuple(block.get_submodule("conv").out_channels for block in module.encoder.blocks)
        hidden = tuple(layer.get_submodule("linear").out_features for layer in module.encoder.hidden)
        config = config.model_copy(update={"widths": widths, "hidden": hidden})
    if isinstance(module, FlowVae) and isinstance(config, FlowVaeConfig):
        # Both directions may be left with other widths: the weights say it, and the configuration bounds them.
        both = ([outputs_of(block) for block in encoder.blocks]
                for encoder in (module.encoder.horizontal, module.encoder.vertical))  # fmt: skip
        widest = tuple(map(max, *both))
        config = config.model_copy(update={"widths": widest})
    return detector.with_module(module, config)


def _learn(detector: Detector, tuning: Distill, work: Work) -> None:
    """Fine-tune in place."""
    imitation = Imitation(tuning.epochs, tuning.learning_rate, "fine-tuning after pruning")
    match detector.module:
        case Variational():
            imitate_latents(detector, imitation, work)
        case Stfpm() | ReverseDistillation():
            learn_student(detector, tuning, work)
        case EfficientAd():
            follow(detector, imitation.effort(work), work)
        case Gaussian() as gaussian:
            imitate_features(gaussian, detector, imitation.effort(work), work)
        case Graph():
            imitate_graph(detector, imitation.effort(work), work)
        case UninformedStudents():
            learn_students(detector, imitation.effort(work), work)


def _with_narrower_teacher(detector: Detector, keep: float, step: Prune, work: Work) -> Detector:
    """Shared by all candidates with the same teacher: it does not depend on the student, and stays frozen."""
    assert isinstance(detector.module, TeacherStudent | EfficientAd | UninformedStudents)
    effort = work.effort_of(step.epochs, step.learning_rate, "fine-tuning the pruned teacher")
    settings = [step.allocation, step.macs, step.importance, step.round_to]
    key = fingerprint(["pruned", keep, settings, list(detector.config.input_size), effort.epochs, work.effort > 0,
                       effort.learning_rate, work.seed, detector.config.model_dump(mode="json"),
                       weights_digest(detector.module.teacher)])  # fmt: skip
    if key not in work.trained:
        subject = subject_of(detector, "teacher")
        whole = narrowed(subject, goal_of(subject, keep), 1.0, step=step, work=work)
        match subject.network, detector.module:
            case Backbone() as taps, _:
                imitate_taps(taps, detector, effort, work)
            case PatchNetwork() as new, UninformedStudents() as old:
                imitate_descriptors(new, old.teacher, old, effort, work=work)
            case _, EfficientAd() as old:
                assert isinstance(whole, EfficientAd)
                imitate_patches(whole, old, effort, work)
        work.trained[key] = subject.network
    module = copy.deepcopy(detector.module)
    module.add_module("teacher", work.trained[key])
    return detector.with_module(module)

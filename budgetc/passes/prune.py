"""Structured pruning: whole channels go, through BatchNorm, flatten and concatenation."""

import copy
from collections.abc import Iterator

import torch
import torch_pruning as tp
from torch import Tensor, nn

from budgetc.core.dataset import evenly
from budgetc.core.plan import Distill, Prune, fingerprint
from budgetc.detectors.backbones import Backbone
from budgetc.detectors.detector import Detector, as_input, weights_digest
from budgetc.detectors.gaussian import Gaussian
from budgetc.detectors.layers import ConvUnit, LinearUnit, units
from budgetc.detectors.rounding import unit_weight
from budgetc.detectors.stfpm import Stfpm
from budgetc.detectors.vae import Vae, VaeConfig, VaeEncoder
from budgetc.errors import UsageError
from budgetc.passes.features import imitate_features
from budgetc.passes.imitate import Imitation, imitate_latents, imitate_taps, learn_student
from budgetc.passes.restore import restore_formats
from budgetc.passes.tune import tune_rounded
from budgetc.passes.work import Work

_BATCHES = 8
"""Batches of training pictures that settle BatchNorm statistics again."""
_PRODUCERS = (tp.prune_conv_out_channels, tp.prune_depthwise_conv_out_channels, tp.prune_linear_out_channels)


def prune(detector: Detector, step: Prune, work: Work) -> Detector:
    """The detector with `keep` of the channels of every group that no output depends on, fine-tuned.

    Channels are ranked by the L2 norm of their folded weights over the whole coupled group.

    Raises:
        UsageError: the family is not known to this pass.
    """
    torch.manual_seed(work.seed)
    module = copy.deepcopy(detector.module)
    imitation = Imitation(step.epochs, step.learning_rate, "fine-tuning after pruning")
    tuning = Distill(student=1.0, epochs=step.epochs, learning_rate=step.learning_rate)
    result = detector.with_module(module)
    match module, detector.config:
        case Vae(), VaeConfig():
            module.decoder = None
            _narrow(module.encoder, step.keep, step.round_to, detector.config.input_size)
            result = detector.with_module(module, _narrowed_config(module, detector.config))
            _settle_norms(module.encoder, result, work)
            imitate_latents(result, imitation, work)
        case Stfpm(), _:
            if step.teacher is not None:
                module.teacher = _narrower_teacher(detector, step, work)
            if step.keep < 1:
                _narrow(module.student, step.keep, step.round_to, detector.config.input_size)
                _settle_norms(module.student, detector, work)
            learn_student(result, tuning, work)
        case Gaussian() as gaussian, _:
            _narrow(gaussian.backbone, step.keep, step.round_to, detector.config.input_size)
            _settle_norms(gaussian.backbone, detector, work)
            imitate_features(gaussian, detector, imitation.effort(work), work)
        case _:
            raise UsageError(f"prune does not know detectors of family {detector.family}")
    restored = restore_formats(result, detector, work)
    if detector.quantization is None:
        return restored
    return restore_formats(tune_rounded(restored, tuning, work), detector, work)


def _narrowed_config(module: Vae, old: VaeConfig) -> VaeConfig:
    """What is left, so that a later distillation takes its share of that."""
    widths = tuple(block.get_submodule("conv").out_channels for block in module.encoder.blocks)
    hidden = tuple(layer.get_submodule("linear").out_features for layer in module.encoder.hidden)
    return old.model_copy(update={"decoder": False, "widths": widths, "hidden": hidden})


def _narrower_teacher(detector: Detector, step: Prune, work: Work) -> Backbone:
    """Shared by all candidates with the same teacher: it does not depend on the student, and stays frozen."""
    assert isinstance(detector.module, Stfpm) and step.teacher is not None
    effort = work.effort_of(step.epochs, step.learning_rate, "fine-tuning the pruned teacher")
    key = fingerprint(["pruned", step.teacher, step.round_to, list(detector.config.input_size), effort.epochs,
                       effort.learning_rate, work.seed, weights_digest(detector.module.teacher)])  # fmt: skip
    if key not in work.trained:
        teacher = copy.deepcopy(detector.module.teacher)
        _narrow(teacher, step.teacher, step.round_to, detector.config.input_size)
        _settle_norms(teacher, detector, work)
        imitate_taps(teacher, detector, effort, work)
        work.trained[key] = teacher
    found = work.trained[key]
    assert isinstance(found, Backbone)
    return found


def _narrow(network: nn.Module, share: float, round_to: int, size: tuple[int, int]) -> None:
    """Keep `share` of the channels in place, group by group, at multiples of `round_to`."""
    network.eval()
    example = torch.zeros(1, 3, *size)
    for name in [name for name, _ in _prunable(network)]:
        layer = network.get_submodule(name)
        channels = _outputs(layer)
        keep = max(round_to, round(channels * share / round_to) * round_to)
        if keep >= channels or _feeds_output(network, name, example):
            continue
        group = _group(network, layer, list(range(channels)), example)
        order = _importance(group, network, channels).argsort().tolist()
        _group(network, layer, sorted(order[: channels - keep]), example).prune()


def _prunable(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """One layer of every unit with a weight of its own; depthwise layers follow their neighbors."""
    for name, unit in units(network):
        if unit.head:
            continue
        if isinstance(unit, ConvUnit) and unit.conv.groups == 1:
            yield f"{name}.conv", unit.conv
        elif isinstance(unit, LinearUnit):
            yield f"{name}.linear", unit.linear


def _group(network: nn.Module, layer: nn.Module, indexes: list[int], example: Tensor) -> "tp.Group":
    graph = tp.DependencyGraph().build_dependency(network, example_inputs=example, forward_fn=_forward)
    function = tp.prune_conv_out_channels if isinstance(layer, nn.Conv2d) else tp.prune_linear_out_channels
    return graph.get_pruning_group(layer, function, idxs=indexes)


def _forward(network: nn.Module, example: Tensor) -> list[Tensor]:
    outputs = network.encode(example) if isinstance(network, VaeEncoder) else network(example)
    return list(outputs)


def _feeds_output(network: nn.Module, name: str, example: Tensor) -> bool:
    """Whether removing a channel of this layer would change the shape of an output."""
    with torch.no_grad():
        before = [output.shape for output in _forward(network, example)]
    trial = copy.deepcopy(network)
    _group(trial, trial.get_submodule(name), [0], example).prune()
    with torch.no_grad():
        return [output.shape for output in _forward(trial, example)] != before


def _importance(group: "tp.Group", network: nn.Module, channels: int) -> Tensor:
    """(channels,) squared L2 norm of the folded weights behind each channel, over every layer of the group."""
    weights = {
        unit.get_submodule("conv" if isinstance(unit, ConvUnit) else "linear"): weight.detach()
        for _, unit in units(network)
        if (weight := unit_weight(unit)) is not None
    }
    total = torch.zeros(channels)
    for dependency, indexes in group:
        weight = weights.get(dependency.target.module)
        if weight is not None and dependency.handler in _PRODUCERS and len(indexes) == channels:
            total += weight[indexes].flatten(1).square().sum(1)
    return total


def _outputs(layer: nn.Module) -> int:
    assert isinstance(layer, (nn.Conv2d, nn.Linear))
    return layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features


@torch.no_grad()
def _settle_norms(network: nn.Module, detector: Detector, work: Work) -> None:
    """BatchNorm statistics of the narrower network, from training normals."""
    norms = [child for child in network.modules() if isinstance(child, nn.BatchNorm2d)]
    if not norms or work.effort == 0:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    pictures = work.pictures(detector.config.input_size)
    for part in pictures.train[evenly(len(pictures.train), 32 * _BATCHES)].split(32):
        image = as_input(pictures.normal[part.numpy()])
        module = detector.module
        _forward(network, module.normalized(image) if isinstance(module, Stfpm | Gaussian) else image)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()

"""What a detector is made of, and what can be done to it on a target: what `budgetc inspect` does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from budgetc.candidate import applicable
from budgetc.core.frozen import Frozen
from budgetc.core.plan import Direct, Distill, Fp16, Plan, Prune, Qat, Quantize, Step, StoreBits, Truncate
from budgetc.core.target import Target
from budgetc.detectors.detector import Detector, deployed_part
from budgetc.detectors.layers import Unit
from budgetc.detectors.reverse_distillation import subpixel_form
from budgetc.detectors.stored import StoredUnit, Table, TableUnit, holder_of, stored_units
from budgetc.detectors.upsampling import TransposedUnit
from budgetc.errors import BudgetcError, UsageError
from budgetc.export.gate import INTEGER_KERNELS, fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.load.config import load_target
from budgetc.load.model import load_model
from budgetc.load.origin import Origin
from budgetc.passes.pruning.groups import layer_of, outputs_of, weighted
from budgetc.passes.pruning.subject import subject_of
from budgetc.passes.quantize import quantize
from budgetc.passes.work import OutputCache, Work
from budgetc.training.pictures import Pictures, make_pictures
from budgetc.workshop import settled_levels

_STEPS: tuple[tuple[Step, ...], ...] = (
    (Truncate(),), (Direct(),), (Distill(),), (Prune(),), (Quantize(),), (Quantize(), Qat()), (Fp16(),), (StoreBits(),),
)  # fmt: skip


class Part(Frozen):
    """A network inside a detector."""

    name: str
    layers: int
    parameters: int
    bytes: int
    """Of its parameters and large constants as they are computed with, in FP32."""
    macs: int
    """Multiplications for one picture; 0 of what is not run."""
    deployed: bool
    """False for what only training needs, or what nothing reads: it never ships."""


class Layer(Frozen):
    """A layer with weights."""

    name: str
    kind: str
    shape: tuple[int, ...]
    """Of its weight."""
    parameters: int
    macs: int
    group: str | None
    """Channels go with those of this layer; None where all stay."""
    stays: str | None
    """Why structured pruning leaves its channels; None where it can narrow them."""
    float_because: str | None
    """Why it stays in FP32 on the target; None where it gets an integer kernel."""


class Possible(Frozen):
    """A step, and why it is not one for this detector and target."""

    step: str
    reason: str | None
    """None where it is possible."""


class Inspection(Frozen):
    """A detector on a target."""

    schema_version: int = 1
    kind: str = "detector"
    file: str
    sha256: str
    size_bytes: int
    detector: str
    config: dict[str, Any]
    source: Origin | None
    """What it was imported from; None of what budgetc trained, and of an ONNX file itself."""
    notes: tuple[str, ...]
    """How an ONNX file was read."""
    input_size: tuple[int, int]
    """(height, width)."""
    threshold: float | None
    target: str
    deployed_parameters: int
    parts: tuple[Part, ...]
    layers: tuple[Layer, ...]
    """Of the deployed part, in order."""
    integer_kernels: int | None
    """That the runtime makes of the quantized detector here; None where the target has no INT8."""
    steps: tuple[Possible, ...]


def inspect_detector(file: str | Path, *, target: str | Path = "host-cpu") -> Inspection:
    """Parts, layers, and what the passes can do with them on a target; nothing is trained and no data is needed.

    Args:
        file: a bundle, or an ONNX file.
        target: name or path.

    Raises:
        ConfigError: unknown target.
        InputRejected: the file is no detector.
    """
    known, loaded = load_target(target).target, load_model(Path(file))
    detector = loaded.detector
    macs, channels = _macs(detector), _channels(detector)
    in_float, kernels = _rounded(detector, known)
    return Inspection(
        file=str(file), sha256=loaded.sha256, size_bytes=loaded.size_bytes, detector=detector.family,
        config=detector.config.model_dump(mode="json"), source=loaded.source, notes=loaded.notes,
        input_size=detector.config.input_size, threshold=detector.threshold, target=known.name,
        deployed_parameters=detector.parameters(), parts=_parts(detector, macs),
        layers=tuple(
            _layer(name, unit, macs=macs[name], channels=channels, in_float=in_float)
            for name, unit in _layers(detector.module) if name in macs
        ),
        integer_kernels=kernels,
        steps=tuple(_possible(steps, detector, known) for steps in _STEPS),
    )  # fmt: skip


def _layers(network: nn.Module) -> Iterator[tuple[str, StoredUnit]]:
    """Units with weights: those that pruning may narrow, transposed convolutions, and large constants."""
    return stored_units(network)


def _macs(detector: Detector) -> dict[str, int]:
    """Unit that the deployed part runs -> multiplications of its layer."""
    found = dict[str, int]()
    handles = []
    for name, unit in _layers(detector.module):

        def hook(unit: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
            # A transposed convolution multiplies all of its weights at every place of what it reads.
            if isinstance(unit, TransposedUnit):
                made = unit.conv.weight.numel() * inputs[0][0, 0].numel()
            elif isinstance(unit, TableUnit):
                made = 0
            else:  # rows of tokens stand where other layers have pictures: all numbers are of the one picture
                made = layer_of(unit).weight.numel() * output.numel() // outputs_of(unit)
            found[name] = found.get(name, 0) + made

        handles.append(unit.register_forward_hook(hook))
    with torch.no_grad():
        deployed_part(detector.module)(torch.zeros(detector.config.input_shape))
    for handle in handles:
        handle.remove()
    return found


def _parts(detector: Detector, macs: Mapping[str, int]) -> tuple[Part, ...]:
    shipped = {id(weight) for weight in deployed_part(detector.module).parameters()}
    parts = []
    for name, child in detector.module.named_children():
        weights = list(child.parameters())
        if not weights:
            continue
        inside = [unit for unit, _ in _layers(detector.module) if unit.split(".")[0] == name]
        tables = [unit.table.weight for _, unit in stored_units(child) if isinstance(unit, TableUnit)]
        parameters = sum(weight.numel() for weight in (*weights, *tables))
        run = sum(macs.get(unit, 0) for unit in inside)
        deployed = any(id(weight) in shipped for weight in weights) and (run > 0 or not inside)
        parts.append(Part(name=name, layers=len(inside), parameters=parameters, bytes=4 * parameters, macs=run,
                          deployed=deployed))  # fmt: skip
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class _Channels:
    """What structured pruning can do, by unit."""

    group: Mapping[str, str]
    """Unit -> the one that stands for all whose channels go together."""
    stays: Mapping[str, str]
    """Unit -> why its channels stay."""


def _channels(detector: Detector) -> _Channels:
    group = dict[str, str]()
    detector = subpixel_form(detector)  # as compiling does; units keep their names
    stays = {name: "is a constant" for name, unit in _layers(detector.module) if isinstance(unit, TableUnit)}
    for part in ("student", "teacher"):
        try:
            subject = subject_of(detector, part)
        except UsageError as error:
            return _Channels({}, {name: str(error) for name, _ in _layers(detector.module)})
        names = {unit: name for name, unit in weighted(subject.whole)}
        inside = {name: names[unit] for name, unit in weighted(subject.network)}
        known = subject.survey()
        group |= {inside[member]: inside[one.root] for one in known.groups for member in one.members}
        stays |= {inside[name]: reason for name, reason in known.reasons.items()}
    return _Channels(group, stays)


def _rounded(detector: Detector, target: Target) -> tuple[Mapping[str, str], int | None]:
    """Unit that stays in FP32 -> why, and how many integer kernels the runtime makes of the others."""
    names = [name for name, _ in _layers(detector.module)]
    reason = applicable(Plan(recipe="", steps=(Quantize(),), seed=0), detector.family, target)
    if reason is not None:
        return dict.fromkeys(names, "the target does not take the step quantize"), None
    # As compiling does; units keep their names.
    detector = subpixel_form(detector)
    integer = quantize(detector, Quantize(), _bare_work(detector, target))
    in_float = {name: _kept(unit) for name, unit in _layers(detector.module)
                if name not in integer.formats or integer.formats[name].compute == "fp32"}  # fmt: skip
    try:
        found = fused_kernels(export_detector(integer, target).model)
    except BudgetcError as error:
        return dict.fromkeys(names, str(error)), 0
    return in_float, sum(found[kind] for kind in INTEGER_KERNELS)


def _kept(unit: Unit) -> str:
    if isinstance(unit, TableUnit):
        return "it is a constant: stored in fewer bits, computed with in FP32"
    if isinstance(unit, TransposedUnit):
        return "no runtime here has an integer kernel for it"
    return "it is part of the score" if unit.head else "only its result is rounded: it reads the picture"


def _bare_work(detector: Detector, target: Target) -> Work:
    """Of a pass that only settles a structure: random pixels stand for pictures."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, *detector.config.input_shape[1:]), dtype=np.uint8)

    def pictures(size: tuple[int, int]) -> Pictures:
        return make_pictures(pixels, ["a", "b"], seed=0)

    return Work(
        pictures=pictures, calibration=lambda size: pixels, baseline=detector,
        weight_levels=settled_levels(target), effort=0.0, seed=0, cache=OutputCache(),
    )  # fmt: skip


def _layer(name: str, unit: StoredUnit, *, macs: int, channels: _Channels, in_float: Mapping[str, str]) -> Layer:
    layer = holder_of(unit)
    return Layer(
        name=name, kind=_kind(layer), shape=tuple(layer.weight.shape),
        parameters=sum(weight.numel() for weight in unit.parameters()), macs=macs, group=channels.group.get(name),
        stays=channels.stays.get(name), float_because=in_float.get(name),
    )  # fmt: skip


def _kind(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear | Table) -> str:
    if isinstance(layer, Table):
        return f"constant {'x'.join(map(str, layer.weight.shape))}"
    if isinstance(layer, nn.Linear):
        return "linear"
    height, width = layer.kernel_size
    kind = "conv" if layer.groups == 1 else "depthwise" if layer.groups == layer.in_channels else "grouped"
    stride = f" / {layer.stride[0]}" if layer.stride[0] > 1 else ""
    return f"{'transposed ' if isinstance(layer, nn.ConvTranspose2d) else ''}{kind} {height}x{width}{stride}"


def _possible(steps: tuple[Step, ...], detector: Detector, target: Target) -> Possible:
    reason = applicable(Plan(recipe="", steps=steps, seed=0), detector.family, target)
    step = steps[-1].step
    return Possible(step=step, reason=None if reason is None else reason.removeprefix(f"{step}: "))

"""Reverse distillation from published layouts: the authors' two networks, or anomalib's three."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budgetc.detectors.backbones import BackboneConfig, dead_key, torchvision_keys
from budgetc.detectors.detector import Detector
from budgetc.detectors.families import build
from budgetc.detectors.halves import map_gain
from budgetc.detectors.layers import conform
from budgetc.detectors.reverse_distillation import ReverseConfig, mirror_of
from budgetc.errors import InputRejected
from budgetc.load.anomalib import Stated
from budgetc.load.import_stfpm import TAPS
from budgetc.load.layouts import BackboneRoot, backbone_roots, is_bystander
from budgetc.load.tensors import named

_NORM_FIELDS = ("weight", "bias", "running_mean", "running_var")
_NECK, _DECODER = "bn_layer.0.conv1.weight", "layer1.0.upsample.0.weight"
"""Keys by which the two learned networks are found."""
_DEAD = ("conv4.", "bn4.")
"""Of the authors' bottleneck: never executed, a seventh of its bytes."""


@dataclass(frozen=True, slots=True)
class ReverseSource:
    """Where the three networks come from."""

    where: str
    weights: Mapping[str, Tensor]
    encoder_where: str
    encoder: Mapping[str, Tensor] | None
    """None: it is among `weights`."""
    stated: Stated
    """What the file says beside its weights."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One network: where its keys are, and what ours are called."""

    role: str
    where: str
    weights: Mapping[str, Tensor]
    prefix: str
    names: Mapping[str, str]
    """Their key without the prefix -> ours."""


def reverse_from(
    source: ReverseSource, backbone: str | None, input_size: tuple[int, int]
) -> tuple[Detector, tuple[str, ...]]:
    """The detector and notes on what was dropped.

    Raises:
        InputRejected: a network is not found, is another than `backbone`, or keys or shapes do not fit.
    """
    neck, decoder = _prefix(source, _NECK, "bottleneck"), _prefix(source, _DECODER, "decoder")
    root = _encoder(source)
    if backbone not in (None, root.arch):
        raise InputRejected(f"{source.encoder_where}: the encoder is a {root.arch}, expected {backbone} (--backbone)")
    teacher = BackboneConfig(arch=root.arch, taps=TAPS)
    try:
        config = ReverseConfig.model_validate({
            "input_size": input_size, "teacher": teacher, "joining": "product" if source.stated.product else "sum",
            **mirror_of(teacher), **source.stated.normalization(),
        })  # fmt: skip
    except ValueError as error:
        raise InputRejected(f"--input-size {input_size[0]}x{input_size[1]}: sides must be multiples of 32") from error
    encoder = source.weights if source.encoder is None else source.encoder
    parts = (
        _Part("encoder", source.encoder_where, encoder, root.prefix, torchvision_keys(teacher)),
        _Part("bottleneck", source.where, source.weights, neck, _neck_keys(config)),
        _Part("decoder", source.where, source.weights, decoder, _decoder_keys(config)),
    )
    inner = source.weights[neck + _NECK].shape[0]
    with torch.device("meta"):  # only names and shapes are wanted
        expected = network_of(config, inner).module.state_dict()
    renamed, dead = dict[str, Tensor](), list[str]()
    for part in parts:
        found, dropped = _renamed(part, teacher, expected)
        renamed |= found
        dead += dropped
    dead += _strangers(source, parts)
    detector = network_of(config, inner)
    detector.module.load_state_dict(renamed, strict=False)
    detector.module.eval()
    networks = f"encoder {root.arch} at {root.prefix!r}, bottleneck at {neck!r}, decoder at {decoder!r}, taps {TAPS}"
    return detector, (networks, *_notes(source.stated, dead))


def network_of(config: ReverseConfig, inner: int) -> Detector:
    """Untrained; anomalib's embedding of a Wide-ResNet has blocks half as wide inside as the authors'."""
    detector = build("reverse_distillation", config)
    if config.block == "bottleneck" and inner == config.neck // 4:
        shapes = dict[str, tuple[int, ...]]()
        for name, weight in detector.module.state_dict().items():
            if not name.startswith("student.neck.") or weight.dim() == 0:
                continue
            narrow = {"conv1": (inner,), "conv2": (inner, inner), "conv3": (weight.shape[0], inner)}
            sides = narrow.get(name.split(".")[3], ())
            shapes[name] = (*sides, *weight.shape[len(sides) :])[: weight.dim()]
        conform(detector.module, shapes)
    return detector


def _prefix(source: ReverseSource, ending: str, role: str) -> str:
    found = [key.removesuffix(ending) for key in source.weights if key.endswith(ending)]
    if len(found) != 1:
        raise InputRejected(
            f"{source.where}: {len(found)} networks with a key {ending} found, expected one: the {role} of reverse "
            "distillation, in the names of its authors ({'bn': ..., 'decoder': ...}) or of anomalib"
        )
    return found[0]


def _encoder(source: ReverseSource) -> BackboneRoot:
    weights = source.weights if source.encoder is None else source.encoder
    roots = [root for root in backbone_roots(weights) if not root.own_names]
    if len(roots) == 1:
        return roots[0]
    if source.encoder is None and not roots:
        raise InputRejected(
            f"{source.where}: holds bottleneck and decoder, but no encoder; give the ImageNet weights that it was "
            "trained with by --teacher-weights FILE (torchvision's wide_resnet50_2-95faca4d.pth or "
            "resnet18-f37072fd.pth)"
        )
    raise InputRejected(
        f"{source.encoder_where}: {len(roots)} ResNet-18 or Wide-ResNet-50-2 in torchvision's names found, expected "
        "one: the encoder"
    )


def _neck_keys(config: ReverseConfig) -> dict[str, str]:
    """The authors' key -> ours, of what fuses three taps and embeds them."""
    keys = _unit("conv1", "bn1", "student.fusion.0.0") | _unit("conv2", "bn2", "student.fusion.0.1")
    keys |= _unit("conv3", "bn3", "student.fusion.1.0")
    return keys | _blocks("bn_layer", "student.neck", config.neck_depth, config, shortcut="downsample")


def _decoder_keys(config: ReverseConfig) -> dict[str, str]:
    """The same of the decoder, whose first layer restores the coarsest tap."""
    keys = dict[str, str]()
    for number, depth in enumerate(config.depths[::-1]):
        keys |= _blocks(f"layer{number + 1}", f"student.decoder.{number}", depth, config, shortcut="upsample")
    return keys


def _blocks(theirs: str, ours: str, depth: int, config: ReverseConfig, *, shortcut: str) -> dict[str, str]:
    keys = dict[str, str]()
    for block in range(depth):
        for number in range(1, 4 if config.block == "bottleneck" else 3):
            keys |= _unit(
                f"{theirs}.{block}.conv{number}", f"{theirs}.{block}.bn{number}", f"{ours}.{block}.conv{number}"
            )
        if block == 0:
            keys |= _unit(f"{theirs}.0.{shortcut}.0", f"{theirs}.0.{shortcut}.1", f"{ours}.0.{shortcut}")
    return keys


def _unit(conv: str, norm: str, ours: str) -> dict[str, str]:
    return {f"{conv}.weight": f"{ours}.conv.weight"} | {f"{norm}.{f}": f"{ours}.norm.{f}" for f in _NORM_FIELDS}


def _renamed(
    part: _Part, teacher: BackboneConfig, expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """Weights of one network under our names, and its keys that are dropped."""
    ours = {key: f"teacher.{name}" if part.role == "encoder" else name for key, name in part.names.items()}
    own = {key.removeprefix(part.prefix): value for key, value in part.weights.items() if key.startswith(part.prefix)}
    missing = sorted(part.prefix + key for key in ours if key not in own)
    rest = [key for key in own if key not in ours]
    dead = [key for key in rest if _dead(part.role, key, teacher)]
    extra = sorted(part.prefix + key for key in set(rest) - set(dead)) if part.prefix else []
    shapes = [
        f"{part.prefix}{key} is {tuple(own[key].shape)}, expected {tuple(expected[name].shape)}"
        for key, name in ours.items()
        if key in own and own[key].shape != expected[name].shape
    ]
    problems = (("missing", missing), ("not expected", extra), ("of another shape", shapes))
    found = [f"{len(items)} keys {what}: {named(items)}" for what, items in problems if items]
    if found:
        raise InputRejected(f"{part.where}: {part.role} ({teacher.arch}): {'; '.join(found)}")
    return {name: own[key].float() for key, name in ours.items()}, [part.prefix + key for key in dead]


def _dead(role: str, key: str, teacher: BackboneConfig) -> bool:
    if key.endswith("num_batches_tracked"):
        return True
    return dead_key(teacher, key) if role == "encoder" else role == "bottleneck" and key.startswith(_DEAD)


def _strangers(source: ReverseSource, parts: tuple[_Part, ...]) -> list[str]:
    """Keys of no network: those of known frameworks are dropped, any other is refused."""
    dropped = list[str]()
    for where, weights in ((source.where, source.weights), (source.encoder_where, source.encoder or {})):
        mine = [part for part in parts if part.weights is weights]
        outside = [key for key in weights if not any(_belongs(key, part) for part in mine)]
        unknown = sorted(key for key in outside if not is_bystander(key))
        if unknown:
            raise InputRejected(f"{where}: {len(unknown)} keys that belong to no network: {named(unknown)}")
        dropped += outside
    return dropped


def _belongs(key: str, part: _Part) -> bool:
    if part.prefix:
        return key.startswith(part.prefix)
    return key in part.names or key.startswith(("layer", "fc.", "conv1.", "bn1."))


def _notes(stated: Stated, dropped: list[str]) -> list[str]:
    dead, notes = [key for key in dropped if not key.endswith("num_batches_tracked")], list[str]()
    if dead:
        notes.append(f"dropped, since the detector does not need them: {len(dead)} keys, {named(dead)}")
    joined = "products" if stated.product else "sums"
    notes.append(
        f"maps are {joined} over scales, smoothed by 4 pixels, as published; {stated.said()}; "
        "no threshold: fitted on normals by compile"
    )
    if stated.product:
        notes.append(
            f"score and map are {map_gain(len(TAPS)) ** len(TAPS):g} times anomalib's before its normalization"
        )
    return notes

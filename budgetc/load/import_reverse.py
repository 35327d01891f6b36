"""Reverse distillation from published layouts: the authors' two networks, or anomalib's three."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

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
from budgetc.load.keys import NORM_FIELDS, Part, said_of_dropped, take
from budgetc.load.layouts import BackboneRoot, backbone_roots

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
    encoder_names = {theirs: f"teacher.{ours}" for theirs, ours in torchvision_keys(teacher).items()}
    parts = [
        Part("encoder", source.encoder_where, encoder, root.prefix, encoder_names, partial(dead_key, teacher)),
        Part("bottleneck", source.where, source.weights, neck, _neck_keys(config), lambda key: key.startswith(_DEAD)),
        Part("decoder", source.where, source.weights, decoder, _decoder_keys(config), lambda key: False),
    ]
    parts = [replace(part, title=f"{part.title} ({root.arch})") for part in parts]
    detector = network_of(config, source.weights[neck + _NECK].shape[0])
    taken = take(parts, detector.module.state_dict())
    detector.module.load_state_dict(taken.weights, strict=False)
    detector.module.eval()
    networks = f"encoder {root.arch} at {root.prefix!r}, bottleneck at {neck!r}, decoder at {decoder!r}, taps {TAPS}"
    dropped = said_of_dropped(taken.dropped, (root.prefix, neck, decoder))
    return detector, (networks, *dropped, *_notes(source.stated))


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
    return {f"{conv}.weight": f"{ours}.conv.weight"} | {f"{norm}.{f}": f"{ours}.norm.{f}" for f in NORM_FIELDS}


def _notes(stated: Stated) -> list[str]:
    joined = "products" if stated.product else "sums"
    notes = [
        f"maps are {joined} over scales, smoothed by 4 pixels, as published; {stated.said()}; "
        "no threshold: fitted on normals by compile"
    ]
    if stated.product:
        notes.append(
            f"score and map are {map_gain(len(TAPS)) ** len(TAPS):g} times anomalib's before its normalization"
        )
    return notes

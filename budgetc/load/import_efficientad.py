"""EfficientAD from anomalib's layout: a checkpoint, or the state_dict of its three networks."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import ValidationError
from torch import Tensor

from budgetc.detectors.detector import Detector
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig, scale_channels, set_quantiles
from budgetc.detectors.efficientad_networks import PatchDescriptionNetwork
from budgetc.detectors.families import build
from budgetc.errors import InputRejected
from budgetc.load.keys import refuse
from budgetc.load.layouts import is_bystander

_FOUND_BY = "teacher.conv1.weight"
_MEDIUM = "teacher.conv6.weight"
_PARTS = ("teacher", "student", "ae")
_QUANTILES = ("qa_st", "qb_st", "qa_ae", "qb_ae")
_STATISTICS = ("mean_std.mean", "mean_std.std", *(f"quantiles.{name}" for name in _QUANTILES))


@dataclass(frozen=True, slots=True)
class EfficientAdSource:
    """What a file says."""

    where: str
    weights: Mapping[str, Tensor]
    padding: bool = False
    pad_maps: bool = True


def efficientad_from(source: EfficientAdSource, input_size: tuple[int, int]) -> tuple[Detector, tuple[str, ...]]:
    """The detector and notes on what was read.

    Raises:
        InputRejected: a network is not found, is PDN-M, or keys or shapes do not fit.
    """
    prefix = _prefix(source)
    own = {key.removeprefix(prefix): value for key, value in source.weights.items() if key.startswith(prefix)}
    if _MEDIUM in own:
        raise InputRejected(
            f"{source.where}: its patch networks are PDN-M (model_size medium: {prefix}{_MEDIUM}); only PDN-S "
            "(model_size small) can be imported"
        )
    config = _config(source, own, input_size)
    with torch.device("meta"):  # only names and shapes are wanted
        expected = build("efficientad", config).module.state_dict()
    names = _names()
    _check_keys(source, own, prefix, names)
    renamed = _renamed(own, names)
    wrong = [f"{prefix}{theirs} is {tuple(own[theirs].shape)}, expected {tuple(expected[ours].shape)}"
             for theirs, ours in names.items()
             if ours in renamed and renamed[ours].shape != expected[ours].shape]  # fmt: skip
    refuse(source.where, {"of another shape": wrong})
    detector = build("efficientad", config)
    module = detector.module
    assert isinstance(module, EfficientAd)
    module.load_state_dict(renamed, strict=False)
    module.eval()
    return detector, _notes(source, prefix, config, _set_statistics(source, module, own))


def read_patch_network(where: str, weights: Mapping[str, Tensor]) -> PatchDescriptionNetwork | None:
    """The PDN-S that a file of a teacher alone holds, in the names of anomalib and its authors; None: it holds none.

    Raises:
        InputRejected: its layers do not fit together.
    """
    keys = _patch_names("", "")
    if set(weights) != set(keys):
        return None
    sides = [tuple(weights[f"conv{number}.weight"].shape) for number in range(1, 5)]
    first, second, third, features = (int(side[0]) for side in sides)
    network = PatchDescriptionNetwork((first, second, third), (features,), padding=False)
    try:
        network.load_state_dict({ours: weights[theirs].float() for theirs, ours in keys.items()})
    except RuntimeError as error:
        raise InputRejected(f"{where}: its layers do not fit together as a PDN-S ({sides})") from error
    return network


def _prefix(source: EfficientAdSource) -> str:
    found = [key.removesuffix(_FOUND_BY) for key in source.weights if key.endswith(_FOUND_BY)]
    if len(found) != 1 or f"{found[0]}ae.decoder.deconv8.weight" not in source.weights:
        raise InputRejected(
            f"{source.where}: no EfficientAD found; expected keys such as model.{_FOUND_BY}, "
            "model.student.conv1.weight and model.ae.encoder.enconv1.weight, as in a checkpoint of anomalib"
        )
    return found[0]


def _config(source: EfficientAdSource, own: Mapping[str, Tensor], size: tuple[int, int]) -> EfficientAdConfig:
    def widths(pattern: str, numbers: range) -> list[int]:
        return [len(own[key]) for number in numbers if (key := pattern.format(number)) in own]

    try:
        return EfficientAdConfig.model_validate({
            "input_size": size, "teacher": widths("teacher.conv{}.weight", range(1, 5)),
            "student": widths("student.conv{}.weight", range(1, 4)),
            "encoder": widths("ae.encoder.enconv{}.weight", range(1, 7)),
            "decoder": own["ae.decoder.deconv1.weight"].shape[0] if "ae.decoder.deconv1.weight" in own else 64,
            "padding": source.padding, "pad_maps": source.pad_maps,
        })  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputRejected(f"{source.where}: {where}: {first['msg'].removeprefix('Value error, ')}") from error


def _names() -> dict[str, str]:
    """anomalib's key -> ours, of weights that are taken as they are; the student's last layer becomes two."""
    keys = _patch_names("teacher.", "teacher.") | _patch_names("student.", "student.patches.")
    for number in range(1, 7):
        keys |= _layer(f"ae.encoder.enconv{number}", f"student.autoencoder.encoder.{number - 1}")
    for number in range(1, 8):
        keys |= _layer(f"ae.decoder.deconv{number}", f"student.autoencoder.decoder.{number - 1}")
    return keys | _layer("ae.decoder.deconv8", "student.autoencoder.output")


def _patch_names(theirs: str, ours: str) -> dict[str, str]:
    keys = dict[str, str]()
    for number in range(1, 4):
        keys |= _layer(f"{theirs}conv{number}", f"{ours}conv{number}")
    return keys | _layer(f"{theirs}conv4", f"{ours}outputs.0")


def _layer(theirs: str, ours: str) -> dict[str, str]:
    return {f"{theirs}.{field}": f"{ours}.conv.{field}" for field in ("weight", "bias")}


def _check_keys(source: EfficientAdSource, own: Mapping[str, Tensor], prefix: str, names: Mapping[str, str]) -> None:
    missing = sorted(prefix + key for key in (*names, *_STATISTICS) if key not in own)
    known = {prefix + key for key in (*names, *_STATISTICS)}
    extra = sorted(key for key in source.weights
                   if key not in known and not is_bystander(key))  # fmt: skip
    refuse(source.where, {"missing": missing, "not expected": extra})


def _renamed(own: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    weights = {ours: own[theirs].float() for theirs, ours in names.items()}
    for field in ("weight", "bias"):
        whole = own[f"student.conv4.{field}"].float()
        half = len(whole) // 2
        weights[f"student.patches.outputs.0.conv.{field}"] = whole[:half]
        weights[f"student.patches.outputs.1.conv.{field}"] = whole[half:]
    return weights


def _set_statistics(source: EfficientAdSource, module: EfficientAd, own: Mapping[str, Tensor]) -> bool:
    """Whether the maps are normalized: a detector that was never validated has quantiles of 0, and maps as they are."""
    mean, deviation = (own[f"mean_std.{name}"].float().flatten() for name in ("mean", "std"))
    if mean.any() or deviation.any():
        if not (deviation > 0).all():
            raise InputRejected(f"{source.where}: mean_std.std has channels of 0: scores would not be finite")
        scale_channels(module.teacher, mean, deviation)
    lower_local, upper_local, lower_whole, upper_whole = (float(own[f"quantiles.{name}"]) for name in _QUANTILES)
    if not any((lower_local, upper_local, lower_whole, upper_whole)):
        return False
    set_quantiles(module, (lower_local, upper_local), (lower_whole, upper_whole))
    return True


def _notes(source: EfficientAdSource, prefix: str, config: EfficientAdConfig, normalized: bool) -> tuple[str, ...]:
    widths = f"teacher {config.teacher}, student {config.student}"
    padded = f"{'padded' if source.padding else 'unpadded'} convolutions, {'' if source.pad_maps else 'no '}rim of maps"
    notes = [f"PDN-S at {prefix!r}: {widths}; {padded}"]
    if not normalized:
        notes.append("its quantiles were never set, so that maps are not normalized; every pass fits them")
    return (
        *notes,
        "images are normalized with ImageNet's mean and deviation; no threshold: fitted on normals by compile",
    )

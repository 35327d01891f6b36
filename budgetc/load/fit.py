"""Whether weights fit a configuration, found out without allocating what it declares."""

from collections.abc import Mapping

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from budgetc.detectors.detector import Detector, DetectorConfig
from budgetc.detectors.families import FAMILIES, build
from budgetc.detectors.layers import InputUnit, conform, units
from budgetc.detectors.rounding import unit_weight
from budgetc.errors import InputRejected
from budgetc.load.tensors import named

MAX_PARAMETERS = 256 * 10**6
MAX_SIDE = 4096


def parse_config(where: str, family: str, raw: Mapping[str, object]) -> DetectorConfig:
    """The typed configuration of a known family.

    Raises:
        InputRejected: a field is missing, unknown or out of range, or the images it wants are enormous.
    """
    try:
        config = FAMILIES[family].config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputRejected(f"{where}: config{'.' * bool(field)}{field} of {family}: {first['msg']}") from error
    if not all(1 <= side <= MAX_SIDE for side in config.input_size):
        raise InputRejected(f"{where}: config.input_size is {config.input_size}, each side must lie in 1..{MAX_SIDE}")
    return config


def check_fit(where: str, family: str, config: DetectorConfig, weights: Mapping[str, Tensor]) -> None:
    """Compare weights with the network that a configuration describes; narrower (pruned) ones are fine.

    Works on torch's meta device: shapes are computed, nothing is allocated.

    Raises:
        InputRejected: too large, keys missing or unknown, wrong input channels, shapes that do not fit.
    """
    try:
        with torch.device("meta"):
            module = build(family, config).module
    except (RuntimeError, OverflowError, ValueError, TypeError) as error:
        raise InputRejected(f"{where}: its config describes an impossible network ({error})") from error
    declared = sum(weight.numel() for weight in module.parameters())
    if declared > MAX_PARAMETERS:
        raise InputRejected(f"{where}: its config declares {declared} parameters, at most {MAX_PARAMETERS}")
    own = module.state_dict()
    _check_keys(where, set(own), set(weights))
    _check_channels(where, module, weights, config.stem_channels)
    wrong = [
        f"{name} is {tuple(weights[name].shape)}, the config allows {tuple(value.shape)}"
        for name, value in own.items()
        if not _narrower(tuple(weights[name].shape), tuple(value.shape))
    ]
    if wrong:
        raise InputRejected(f"{where}: {len(wrong)} weights of another shape: {named(wrong)}")
    _check_forward(where, module, config, weights)


def check_formats(where: str, detector: Detector) -> None:
    """Compare number formats with the units they are for.

    Raises:
        InputRejected: a format for no unit, scales that are not one positive number a channel, a zero point
            outside of U8.
    """
    found = dict(units(detector.module))
    for name, number_format in detector.formats.items():
        if name not in found:
            raise InputRejected(f"{where}: formats.{name} is for no layer of the network")
        weight = unit_weight(found[name])
        wanted = len(weight) if weight is not None and number_format.compute == "int8" else 0
        if wanted and len(number_format.weight_scale) != wanted:
            given = len(number_format.weight_scale)
            raise InputRejected(f"{where}: formats.{name}.weight_scale has {given} scales for {wanted} channels")
        activations = [a for a in (number_format.output, number_format.before_activation) if a is not None]
        scales = (*number_format.weight_scale, *(a.scale for a in activations))
        if not all(scale > 0 for scale in scales):
            raise InputRejected(f"{where}: formats.{name} has a scale that is no positive number")
        if not all(0 <= a.zero_point <= 255 for a in activations):
            raise InputRejected(f"{where}: formats.{name} has a zero point outside of 0..255")


def _check_keys(where: str, own: set[str], given: set[str]) -> None:
    missing, unknown = sorted(own - given), sorted(given - own)
    kinds = (("missing", missing), ("unknown", unknown))
    found = [f"{len(keys)} keys {what}: {named(keys)}" for what, keys in kinds if keys]
    if found:
        raise InputRejected(f"{where}: state_dict does not fit its config; {'; '.join(found)}")


def _check_channels(where: str, module: nn.Module, weights: Mapping[str, Tensor], wanted: int) -> None:
    for prefix, part in module.named_modules():
        if not isinstance(getattr(part, "input", None), InputUnit):
            continue
        name = next(f"{prefix}.{n}.weight" for n, m in part.named_modules() if isinstance(m, nn.Conv2d))
        shape = tuple(weights[name].shape)
        if len(shape) == 4 and shape[1] != wanted:
            what = "images have 3 (RGB)" if wanted == 3 else f"its config declares {wanted}"
            raise InputRejected(f"{where}: {name} reads {shape[1]} channels; {what}")


def _narrower(found: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    return (
        len(found) == len(declared)
        and found[2:] == declared[2:]
        and all(1 <= f <= d for f, d in zip(found, declared, strict=True))
    )


def _check_forward(where: str, module: nn.Module, config: DetectorConfig, weights: Mapping[str, Tensor]) -> None:
    with torch.device("meta"):
        conform(module, {name: tuple(weight.shape) for name, weight in weights.items()})
        own = module.state_dict()
        uneven = [name for name, value in own.items() if value.shape != weights[name].shape]
        if uneven:
            raise InputRejected(f"{where}: layers whose tensors disagree in channels: {named(uneven)}")
        try:
            module.eval().deployed()(torch.zeros(config.input_shape))  # type: ignore[operator]
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise InputRejected(f"{where}: its layers do not fit together ({reason})") from error

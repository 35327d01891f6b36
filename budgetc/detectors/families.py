"""The detector families, and detectors as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import Detector, DetectorConfig
from budgetc.detectors.efficientad import EfficientAd, EfficientAdConfig
from budgetc.detectors.flow_vae import FlowVae, FlowVaeConfig
from budgetc.detectors.gaussian import Gaussian, GaussianConfig
from budgetc.detectors.graph import Graph, GraphConfig
from budgetc.detectors.layers import conform
from budgetc.detectors.reverse_distillation import ReverseConfig, ReverseDistillation
from budgetc.detectors.rounding import ActivationFormat, NumberFormat
from budgetc.detectors.stfpm import Stfpm, StfpmConfig
from budgetc.detectors.uninformed_students import StudentsConfig, UninformedStudents
from budgetc.detectors.vae import Vae, VaeConfig
from budgetc.errors import InputRejected

BUNDLE_FORMAT = "budgetc/1"


@dataclass(frozen=True, slots=True)
class Family:
    """A configuration type and the network it describes."""

    config: type[DetectorConfig]
    module: Any
    """Called with the configuration; returns the `nn.Module`."""


FAMILIES: Mapping[str, Family] = {
    "efficientad": Family(EfficientAdConfig, EfficientAd),
    "flow_vae": Family(FlowVaeConfig, FlowVae),
    "gaussian": Family(GaussianConfig, Gaussian),
    "graph": Family(GraphConfig, Graph),
    "reverse_distillation": Family(ReverseConfig, ReverseDistillation),
    "stfpm": Family(StfpmConfig, Stfpm),
    "uninformed_students": Family(StudentsConfig, UninformedStudents),
    "vae": Family(VaeConfig, Vae),
}


def build(family: str, config: DetectorConfig) -> Detector:
    """An untrained detector of a family, in evaluation mode."""
    module: nn.Module = FAMILIES[family].module(config)
    return Detector(family, config, module.eval())


def bundle(detector: Detector) -> dict[str, Any]:
    """Plain data and tensors, loadable with `weights_only=True`: what `model.pt` holds."""
    return {
        "format": BUNDLE_FORMAT,
        "detector": detector.family,
        "config": detector.config.model_dump(mode="json"),
        "state_dict": detector.module.state_dict(),
        "formats": {name: asdict(number_format) for name, number_format in detector.formats.items()},
        "quantization": detector.quantization and detector.quantization.model_dump(),
        "threshold": detector.threshold,
    }


def from_bundle(data: Mapping[str, Any]) -> Detector:
    """The detector of a bundle, narrowed to the shapes of its weights.

    Raises:
        InputRejected: unknown family, invalid configuration, or weights that do not fit it.
    """
    family = data["detector"]
    if family not in FAMILIES:
        raise InputRejected(f"detector {family!r} is unknown; budgetc has {', '.join(sorted(FAMILIES))}")
    try:
        config = FAMILIES[family].config.model_validate(data["config"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputRejected(f"config.{where} of the {family} bundle: {first['msg']}") from error
    detector = build(family, config)
    weights: dict[str, torch.Tensor] = data["state_dict"]
    conform(detector.module, {name: tuple(weight.shape) for name, weight in weights.items()})
    _load_weights(detector.module, weights)
    formats = {name: _number_format(raw) for name, raw in data.get("formats", {}).items()}
    quantization = Quantize.model_validate(data["quantization"]) if data.get("quantization") else None
    return Detector(family, config, detector.module.eval(), formats, quantization, data.get("threshold"))


def _load_weights(module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    wanted = module.state_dict()
    missing = sorted(set(wanted) - set(weights))
    extra = sorted(set(weights) - set(wanted))
    wrong = sorted(k for k in set(wanted) & set(weights) if wanted[k].shape != weights[k].shape)
    problems = [("missing", missing), ("not known", extra), ("of another shape", wrong)]
    found = [f"{len(names)} {what}: {', '.join(names[:10])}" for what, names in problems if names]
    if found:
        raise InputRejected(f"state_dict does not fit its config: {'; '.join(found)}")
    module.load_state_dict(dict(weights))


def _number_format(raw: Mapping[str, Any]) -> NumberFormat:
    places = {
        place: None if raw[place] is None else ActivationFormat(**raw[place])
        for place in ("output", "before_activation")
    }
    scales = tuple(float(scale) for scale in raw["weight_scale"])
    return NumberFormat(
        raw["compute"], scales, stored_bits=raw["stored_bits"], levels=tuple(raw.get("levels", ())),
        half_vectors=raw.get("half_vectors", False), **places,
    )  # fmt: skip

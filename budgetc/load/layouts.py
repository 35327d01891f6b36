"""Recognizing whose weights a plain state_dict holds, from its keys and shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

ResNet = Literal["resnet18", "wide_resnet50_2"]
_OWN_STEM, _OWN_BLOCK = "stem.0.conv.weight", "stages.0.0.conv1.conv.weight"
_REVERSE = ("bn", "decoder")
_THEIR_STEM, _THEIR_BLOCK = "conv1.weight", "layer1.0.conv1.weight"
# State of training frameworks around the two networks: metrics, thresholds, constants of normalization.
_BYSTANDERS = (
    "image_threshold", "pixel_threshold", "image_metrics", "pixel_metrics", "normalization_metrics",
    "post_processor", "pre_processor", "evaluator", "anomaly_map_generator", "loss", "mean", "std",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class BackboneRoot:
    """Where in a state_dict a ResNet lives."""

    prefix: str
    arch: ResNet
    own_names: bool
    """Whether it uses budgetc's names; False means torchvision's."""


@dataclass(frozen=True, slots=True)
class Guess:
    """Options of `budgetc import` that most likely fit, and what to say about it."""

    options: str
    remark: str = ""


def find_state_dict(data: object) -> dict[str, Any] | None:
    """The mapping of names to tensors in a loaded file, or under its key `state_dict` or `model`; those of the two
    networks that reverse distillation's authors save, as one.
    """
    if not isinstance(data, Mapping):
        return None
    for inner in (data, data.get("state_dict"), data.get("model"), data.get("model_state_dict")):
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            return dict(inner)
    if all(isinstance(data.get(part), Mapping) for part in _REVERSE):
        return {f"{part}.{key}": value for part in _REVERSE for key, value in data[part].items()}
    return None


def is_bystander(key: str) -> bool:
    """Whether a key is state of a training framework around the networks."""
    return any(part in _BYSTANDERS for part in key.split(".")[:2])


def backbone_roots(weights: Mapping[str, Any]) -> list[BackboneRoot]:
    """Every ResNet-18 or Wide-ResNet-50-2 in a state_dict, in torchvision's names or ours."""
    roots = []
    for key in weights:
        for stem, block, own in ((_THEIR_STEM, _THEIR_BLOCK, False), (_OWN_STEM, _OWN_BLOCK, True)):
            prefix = key.removesuffix(stem)
            if key.endswith(stem) and (not prefix or prefix.endswith(".")) and prefix + block in weights:
                third = prefix + block.replace("conv1", "conv3", 1)
                roots.append(BackboneRoot(prefix, "wide_resnet50_2" if third in weights else "resnet18", own))
    return roots


def guess_layout(weights: Mapping[str, Any]) -> Guess:
    """The options of `budgetc import` for a state_dict, as far as its keys tell."""
    roots = backbone_roots(weights)
    if any(key.endswith("bn_layer.0.conv1.weight") for key in weights):
        encoder = "" if roots else " --teacher-weights ENCODER_FILE"
        return Guess(f"--detector reverse_distillation{encoder}")
    if any(key.endswith("ae.encoder.enconv1.weight") for key in weights):
        return Guess("--detector efficientad")
    if len(roots) >= 2:
        return Guess(f"--detector stfpm --backbone {roots[0].arch}")
    if roots:
        remark = f" (one {roots[0].arch} alone: a detector needs teacher and student)"
        return Guess(f"--detector stfpm --backbone {roots[0].arch} --student STUDENT_FILE", remark)
    if any("logvar" in key or "log_var" in key for key in weights):
        return Guess("--detector vae")
    return Guess(
        "--detector efficientad|reverse_distillation|stfpm|vae --backbone resnet18|wide_resnet50_2",
        " (its layout was not recognized; for a network of your own: --detector package.module:factory)",
    )

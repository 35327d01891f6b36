"""Feature networks built from units: ResNet-18, Wide-ResNet-50-2, EfficientNet-Lite0, plain stacks."""

from budgetc.detectors.backbones.config import BackboneConfig, normalization, tap_strides, tap_widths
from budgetc.detectors.backbones.foreign import (
    dead_key,
    efficientnet_lite0_keys,
    load_efficientnet_lite0,
    load_strictly,
    torchvision_keys,
)
from budgetc.detectors.backbones.network import Backbone, build_backbone

__all__ = [
    "Backbone",
    "BackboneConfig",
    "build_backbone",
    "dead_key",
    "efficientnet_lite0_keys",
    "load_efficientnet_lite0",
    "load_strictly",
    "normalization",
    "tap_strides",
    "tap_widths",
    "torchvision_keys",
]

"""The network of a backbone: input, stem, stages, taps, adapters."""

import math

from torch import Tensor, nn

from budgetc.detectors.backbones.config import BackboneConfig
from budgetc.detectors.backbones.efficientnet import efficientnet_stages, efficientnet_stem
from budgetc.detectors.backbones.plain import plain_stages
from budgetc.detectors.backbones.resnet import resnet_stages, resnet_stem
from budgetc.detectors.layers import ConvUnit, InputUnit


class Backbone(nn.Module):
    """Feature maps of chosen stages: (b, 3, H, W) normalized -> list of (b, c_i, h_i, w_i), one a tap."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        """Before any pruning: the shapes of the weights say what is left."""
        self.input = InputUnit()
        self.stem, stages = _build(config)
        self.stages = nn.ModuleList(stages)
        _initialize(self)
        self.adapters = nn.ModuleList(
            ConvUnit(_stage_width(config, tap), channels, 1, norm=False, activation="none")
            for tap, channels in zip(config.taps, config.tap_channels, strict=False)
        )
        self._tapped = [tap - config.first_stage for tap in config.taps]

    def forward(self, x: Tensor) -> list[Tensor]:
        """(b, 3, H, W) normalized -> one feature map a tap, in the order of `config.taps`."""
        return self.onward(self.trunk(x, 0), 0)

    def trunk(self, x: Tensor, stages: int) -> Tensor:
        """(b, 3, H, W) normalized -> what the first `stages` stages make of it, (b, c, h, w)."""
        x = self.stem(self.input(x))
        for stage in self.stages[:stages]:
            x = stage(x)
        return x

    def onward(self, x: Tensor, done: int) -> list[Tensor]:
        """What `trunk` returned after `done` stages -> one feature map a tap; all taps lie behind them."""
        features: list[Tensor] = []
        for index, stage in enumerate(self.stages[done:], done):
            x = stage(x)
            if index in self._tapped:
                adapter = self.adapters[len(features)] if len(self.adapters) else None
                features.append(x if adapter is None else adapter(x))
        return features


def build_backbone(config: BackboneConfig) -> Backbone:
    """An untrained backbone; random weights come from torch's global generator."""
    return Backbone(config)


def _build(config: BackboneConfig) -> tuple[nn.Module, list[nn.Module]]:
    count = config.stage_count
    match config.arch:
        case "plain":
            return nn.Identity(), plain_stages(config)
        case "resnet18" | "wide_resnet50_2":
            return resnet_stem(norm=config.norm), resnet_stages(config.arch, count, norm=config.norm)
        case "efficientnet_lite0":
            return efficientnet_stem(norm=config.norm), efficientnet_stages(count, norm=config.norm)


def _stage_width(config: BackboneConfig, tap: int) -> int:
    return config.stage_widths[tap - config.first_stage]


def _initialize(module: nn.Module) -> None:
    """He et al. 2015, fan-out of one group: the variance of gradients survives every layer."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            fan_out = child.out_channels // child.groups * child.kernel_size[0] * child.kernel_size[1]
            nn.init.normal_(child.weight, std=math.sqrt(2 / fan_out))
            if child.bias is not None:
                nn.init.zeros_(child.bias)

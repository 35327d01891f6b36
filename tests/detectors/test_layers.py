"""Units: folding, activations, narrowing to the shapes of a state dict."""

import pytest
import torch
from torch import nn

from budgetc.detectors.layers import AddUnit, ConvUnit, InputUnit, LinearUnit, conform, fold_norms, units
from tests.small import small_stfpm


def _lively_unit(*, eps: float = 1e-5, groups: int = 1) -> ConvUnit:
    torch.manual_seed(0)
    unit = ConvUnit(8, 8, 3, groups=groups, eps=eps).eval()
    norm = unit.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.01, 2)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return unit


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("eps", [1e-5, 1e-3, 0.5])
@torch.no_grad()
def test_folding_keeps_the_outputs(eps: float, groups: int) -> None:
    """The folded convolution computes what convolution and BatchNorm did, with the layer's own eps."""
    unit = _lively_unit(eps=eps, groups=groups)
    x = torch.randn(2, 8, 6, 6)
    before = unit(x)
    unit.fold()
    assert isinstance(unit.norm, nn.Identity)
    torch.testing.assert_close(unit(x), before, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_folding_keeps_the_bias() -> None:
    """What BatchNorm adds to an image of zeros is in the folded bias."""
    unit = _lively_unit()
    zeros = torch.zeros(1, 8, 4, 4)
    shift = unit.norm(unit.conv(zeros))[0, :, 1, 1]
    unit.fold()
    assert unit.conv.bias is not None
    torch.testing.assert_close(unit.conv.bias, shift)


@torch.no_grad()
def test_folding_uses_a_bias_the_convolution_had() -> None:
    """A convolution with a bias of its own below its BatchNorm loses neither."""
    unit = _lively_unit()
    unit.conv.bias = nn.Parameter(torch.randn(8))
    x = torch.randn(1, 8, 5, 5)
    before = unit(x)
    unit.fold()
    torch.testing.assert_close(unit(x), before, rtol=1e-4, atol=1e-5)


def test_no_norm_is_left_after_folding_a_network() -> None:
    """`fold_norms` reaches every unit of a network."""
    module = small_stfpm().module
    fold_norms(module)
    assert not [child for child in module.modules() if isinstance(child, nn.BatchNorm2d)]


@pytest.mark.parametrize(("activation", "fuses"), [("relu", True), ("relu6", True), ("none", True), ("leaky", False)])
def test_only_a_leaky_relu_is_computed_apart(activation: str, fuses: bool) -> None:
    """onnxruntime fuses clipping activations into its integer kernels, LeakyReLU not."""
    assert ConvUnit(1, 1, 1, activation=activation).fuses is fuses  # type: ignore[arg-type]


def test_units_are_named_as_torch_names_them() -> None:
    """Dotted names in definition order, inner units included."""
    module = nn.Sequential(InputUnit(), nn.Sequential(ConvUnit(3, 4, 3)), AddUnit(), LinearUnit(4, 2))
    assert [name for name, _ in units(module)] == ["0", "1.0", "2", "3"]


def test_conform_gives_a_network_the_shapes_of_a_state_dict() -> None:
    """Convolutions (depthwise too), BatchNorm and linear layers take the channel counts that the weights have."""

    def net(width: int) -> nn.Sequential:
        return nn.Sequential(
            ConvUnit(3, width, 3), ConvUnit(width, width, 3, groups=width), nn.Flatten(), LinearUnit(width * 16, 5)
        ).eval()

    narrow, wide = net(4), net(8)
    conform(wide, {name: tuple(weight.shape) for name, weight in narrow.state_dict().items()})
    wide.load_state_dict(narrow.state_dict())
    x = torch.randn(1, 3, 4, 4)
    assert torch.equal(wide(x), narrow(x))

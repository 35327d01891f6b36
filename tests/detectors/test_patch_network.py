"""Dense patch networks against patch networks that see one patch at a time."""

import pytest
import torch
from torch import Tensor, nn

from budgetc.detectors.layers import ConvUnit
from budgetc.detectors.patch_network import WIDTHS, Field, PatchNetwork, PatchShape, Stride, reach
from tests.small import lively_module

_KERNELS: dict[Field, tuple[int, ...]] = {17: (6, 5, 5, 4), 33: (5, 5, 2, 4), 65: (5, 5, 5, 4, 1)}
_POOLS: dict[Field, int] = {17: 0, 33: 2, 65: 3}


def _network(field: Field, stride: Stride) -> PatchNetwork:
    torch.manual_seed(field)
    widths = tuple(range(4, 4 + len(WIDTHS[field])))
    network = PatchNetwork(PatchShape(field, widths, descriptor=3, stride=stride, activation="leaky", norm=True))
    lively_module(network)
    return network


def _one_patch(network: PatchNetwork, pools: int) -> nn.Sequential:
    """As the paper describes it: valid convolutions, 2 x 2 pooling behind the first few, one descriptor."""
    layers: list[nn.Module] = []
    for unit in [unit for unit in network.layers if isinstance(unit, ConvUnit)]:
        conv = nn.Conv2d(unit.conv.in_channels, unit.conv.out_channels, unit.conv.kernel_size)  # type: ignore[arg-type]
        weight, bias = unit.folded()
        assert bias is not None and conv.bias is not None
        conv.weight.data, conv.bias.data = weight.detach(), bias.detach()
        layers += [conv, nn.LeakyReLU(0.005)]
        if pools:
            layers.append(nn.MaxPool2d(2))
            pools -= 1
    return nn.Sequential(*layers, network.out.conv)


@pytest.mark.parametrize(("field", "stride"), [(17, 1), (17, 4), (33, 1), (33, 2), (33, 4), (33, 8), (65, 4), (65, 8)])
@torch.no_grad()
def test_the_dense_form_describes_every_patch(field: Field, stride: Stride) -> None:
    """At every place of a picture whose sides are not alike, what the patch network says of the patch there."""
    network = _network(field, stride)
    single = _one_patch(network, _POOLS[field])
    image = torch.rand(1, 3, field + 3 * stride, field + 2 * stride + 1)
    dense: Tensor = network(image)
    places = image.unfold(2, field, stride).unfold(3, field, stride)
    rows, columns = places.shape[2:4]
    patches = places.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, field, field)
    described = single(patches).reshape(rows, columns, 3).permute(2, 0, 1)
    # Where pooling leaves out a patch's last pixels, there is a place more at the edge.
    torch.testing.assert_close(dense[0, :, :rows, :columns], described, rtol=1e-4, atol=1e-5)
    assert described.flatten(1).std(1).min() > 0


@pytest.mark.parametrize("field", list(_KERNELS))
def test_the_layers_are_the_published_ones(field: Field) -> None:
    """Kernels; and 1.68 million weights where a published number is known."""
    shape = PatchShape(field, WIDTHS[field], descriptor=512, stride=4, activation="leaky", norm=False)
    network = PatchNetwork(shape)
    convs = [unit.conv for unit in network.layers if isinstance(unit, ConvUnit)]
    assert tuple(conv.kernel_size[0] for conv in convs) == _KERNELS[field]
    if field == 33:
        assert sum(weight.numel() for weight in network.parameters()) == 1_682_048


@pytest.mark.parametrize("field", list(_KERNELS))
def test_reach_is_what_a_descriptor_depends_on(field: Field) -> None:
    """The gradient of one descriptor is zero behind it, and somewhere not zero in its last row and column."""
    network = _network(field, 1 if field == 17 else 4)
    patch = torch.rand(1, 3, field, field, requires_grad=True)
    network(patch)[0, :, 0, 0].sum().backward()
    assert patch.grad is not None
    seen = patch.grad[0].abs().amax(0) > 0
    assert [int(seen.any(side).nonzero().max()) + 1 for side in (0, 1)] == [reach(field)] * 2
    assert reach(field) <= field

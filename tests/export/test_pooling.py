"""Average pooling between integer layers."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import Detector, as_input, score_images
from budgetc.export.gate import fused_kernels
from budgetc.export.onnx_file import export_detector
from budgetc.passes.quantize import quantize
from tests.export.single import run_file
from tests.graphs import exported, read
from tests.small import small_efficientad, target, textures, work_for

SLOW = ("QLinearAveragePool", "AveragePool")


class Pooling(nn.Module):
    """An average pooling between two convolutions, and the largest value of a third one as score."""

    names = ("score",)

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.first, self.pool = nn.Conv2d(3, 6, 3), pool
        self.second, self.third = nn.Conv2d(6, 6, 3), nn.Conv2d(6, 4, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.second(self.pool(self.first(image).relu())).relu()
        score: torch.Tensor = self.third(features).square().mean(1).flatten(1).amax(1)
        return score


def quantized(pool: nn.Module) -> Detector:
    """Such a network in INT8."""
    torch.manual_seed(0)
    detector = read(exported(Pooling(pool).eval())).detector
    return quantize(detector, Quantize(), work_for(detector))


@pytest.mark.parametrize(
    "pool",
    [nn.AvgPool2d(2), nn.AvgPool2d((3, 2), (2, 1)), nn.AvgPool2d(3, 2, padding=1), nn.AvgPool2d(4, 3, padding=2)],
    ids=str,
)
def test_it_runs_as_an_integer_convolution(pool: nn.Module) -> None:
    """The runtime's own integer pooling takes value by value; scores are those of the network in torch."""
    detector, images = quantized(pool), textures(24, seed=7)
    model = export_detector(detector, target()).model
    found = fused_kernels(model)
    assert found["QLinearConv"] == 3 and not any(found[kind] for kind in SLOW)
    wanted = score_images(detector.deployed(), images)
    # Of their range: scores are much alike, and a wrong divisor would move them by a third of it.
    assert run_file(model, as_input(images).numpy())[0] == pytest.approx(wanted, abs=0.05 * float(np.ptp(wanted)))


@pytest.mark.parametrize(
    "pool", [nn.AvgPool2d(3, 2, padding=1, count_include_pad=False), nn.AvgPool2d(2, 2, ceil_mode=True)], ids=str
)
def test_what_no_convolution_computes_stays(pool: nn.Module) -> None:
    """Means over fewer places at the edge."""
    model = export_detector(quantized(pool), target()).model
    assert any(node.op_type == "AveragePool" for node in onnx.load_model_from_string(model).graph.node)


def test_a_float_pooling_stays_one() -> None:
    """It is fast as it is."""
    model = export_detector(small_efficientad(), target()).model
    assert sum(node.op_type == "AveragePool" for node in onnx.load_model_from_string(model).graph.node) == 4


def test_efficientad_pools_in_integers() -> None:
    """Of three patch networks' two poolings each, those of teacher and student; TensorRT has kernels of its own."""
    detector = small_efficientad()
    whole, images = quantize(detector, Quantize(), work_for(detector)), textures(16, seed=3)
    model = export_detector(whole, target()).model
    found = fused_kernels(model)
    assert not any(found[kind] for kind in SLOW)
    with torch.no_grad():
        wanted = whole.deployed()(as_input(images))[0].numpy()
    assert np.corrcoef(run_file(model, as_input(images).numpy())[0], wanted)[0, 1] > 0.99
    other = export_detector(whole, target(runtime="tensorrt")).model
    assert sum(node.op_type == "AveragePool" for node in onnx.load_model_from_string(other).graph.node) == 4

"""Networks of one interesting layer each, quantized, and their exported files."""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from budgetc.core.plan import Quantize
from budgetc.detectors.detector import Detector, DetectorConfig
from budgetc.detectors.layers import AddUnit, ConvUnit, InputUnit, LinearUnit
from budgetc.passes.quantize import quantize
from tests.small import lively, work_for

SIDE = 16


class Single(nn.Module):
    """(b, 3, 16, 16) -> y: rounds the image, then applies `layers` and `finish`."""

    output_names = ("y",)

    def __init__(self, layers: dict[str, nn.Module], finish: Callable[["Single", Tensor], Tensor]) -> None:
        super().__init__()
        self.input = InputUnit()
        self.layers = nn.ModuleDict(layers)
        self._finish = finish

    def deployed(self) -> nn.Module:
        return self

    def forward(self, image: Tensor) -> Tensor:
        return self._finish(self, self.input(image))


def _chain(net: Single, x: Tensor) -> Tensor:
    for layer in net.layers.values():
        x = layer(x)
    return x


def _flat(net: Single, x: Tensor) -> Tensor:
    conv, linear = net.layers.values()
    result: Tensor = linear(conv(x).reshape(len(x), -1))
    return result


def _residual(net: Single, x: Tensor) -> Tensor:
    first, second, add = net.layers.values()
    x = first(x)
    result: Tensor = add(second(x), x)
    return result


def single(kind: str) -> Detector:
    """A float detector around one kind of layer."""
    torch.manual_seed(1)
    conv = ConvUnit(3, 8, 3)
    match kind:
        case "conv":
            net = Single({"a": ConvUnit(3, 8, 3, stride=2)}, _chain)
        case "conv relu6":
            net = Single({"a": ConvUnit(3, 8, 3, activation="relu6")}, _chain)
        case "conv leaky":
            net = Single({"a": ConvUnit(3, 8, 3, activation="leaky")}, _chain)
        case "1x1 without activation":
            net = Single({"a": conv, "b": ConvUnit(8, 12, 1, norm=False, activation="none")}, _chain)
        case "one channel":
            net = Single({"a": conv, "b": ConvUnit(8, 1, 3)}, _chain)
        case "depthwise":
            net = Single({"a": conv, "b": ConvUnit(8, 8, 3, groups=8, activation="relu6")}, _chain)
        case "linear":
            net = Single({"a": ConvUnit(3, 4, 3, stride=4), "b": LinearUnit(64, 10)}, _flat)
        case "linear leaky":
            net = Single({"a": ConvUnit(3, 4, 3, stride=4), "b": LinearUnit(64, 10, activation="leaky")}, _flat)
        case "residual":
            net = Single({"a": conv, "b": ConvUnit(8, 8, 3, activation="none"), "c": AddUnit()}, _residual)
        case _:
            raise ValueError(kind)
    return lively(Detector("single", DetectorConfig(input_size=(SIDE, SIDE)), net))


def quantized(kind: str, *, levels: int = 63) -> Detector:
    """The same, every layer in INT8."""
    detector = single(kind)
    return quantize(detector, Quantize(first_convolution=True), work_for(detector, levels=levels))


def run_file(model: bytes, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Outputs of an exported file, image by image as on a device."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    rows = [session.run(None, {"image": one[None]}) for one in image]
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def tensors(model: bytes) -> dict[str, NDArray[np.generic]]:
    """Initializers by name."""
    loaded = onnx.load_model_from_string(model)
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in loaded.graph.initializer}

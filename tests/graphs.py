"""Small detectors of other people's making, as ONNX files."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from budgetc.detectors.detector import Detector
from budgetc.load.container import FileContent
from budgetc.load.onnx_graph import OnnxDetector, OnnxOptions, detector_of_onnx
from tests.small import SIZE


class Restoring(nn.Module):
    """Residual, depthwise, transposed and concatenated: the picture is restored, and the error is the map."""

    names = ("score", "map")

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16))
        self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU6())
        self.pointwise = nn.Sequential(nn.Conv2d(16, 24, 1), nn.LeakyReLU(0.2))
        self.down = nn.Sequential(nn.Conv2d(24, 24, 3, 2, 1), nn.ReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(24, 16, 2, 2), nn.ReLU())
        self.joined = nn.Sequential(nn.Conv2d(40, 8, 3, 1, 1), nn.ELU(), nn.Conv2d(8, 3, 3, 1, 1), nn.Sigmoid())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(image)
        coarse = self.pointwise(self.depthwise(F.max_pool2d(F.relu(first + self.second(first)), 2)))
        both = torch.cat([self.up(self.down(coarse)), coarse], 1)
        both = F.interpolate(both, scale_factor=2.0, mode="bilinear", align_corners=False)
        restored = F.interpolate(self.joined(both), size=image.shape[-2:], mode="nearest")
        errors = (restored - image).pow(2).mean(1, keepdim=True)
        return errors.flatten(1).amax(1), errors


class StudentTeacher(nn.Module):
    """Directions of two networks' features compared at two scales, maps multiplied and smoothed, as anomalib does."""

    names = ("anomaly_map", "pred_score", "pred_mask")

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = _stages(), _stages()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        row = torch.exp(-torch.arange(-4, 5).square() / 8)
        self.register_buffer("kernel", (row[:, None] * row / row.sum() ** 2)[None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a = b = (image - self.get_buffer("mean")) / self.get_buffer("std")
        product = torch.ones(1)
        for one, other in zip(self.teacher, self.student, strict=True):
            a, b = one(a), other(b)
            distance = (F.normalize(a) - F.normalize(b)).pow(2).sum(1, keepdim=True) / 2
            product = product * F.interpolate(distance, size=image.shape[-2:], mode="bilinear", align_corners=True)
        smooth = F.conv2d(F.pad(product, (4,) * 4, mode="reflect"), self.get_buffer("kernel"))
        return smooth, smooth.max(), smooth > 0.01


def _stages() -> nn.ModuleList:
    first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    more = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU())
    second = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(16, 24, 3, 1, 1), nn.ReLU())
    return nn.ModuleList([nn.Sequential(*first, *more), second])


class LatentDivergence(nn.Module):
    """A VAE's encoder whose score is its divergence, and a decoder that no score needs."""

    names = ("score", "restored")

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
            nn.Conv2d(16, 16, 3, 2, 1), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(),
        )  # fmt: skip
        self.mu, self.logvar, self.decoder = nn.Linear(32, 4), nn.Linear(32, 4), nn.Linear(4, 3000)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(image)
        mu, logvar = self.mu(hidden), self.logvar(hidden)
        return 0.5 * (mu**2 + logvar.exp() - logvar - 1).sum(1), self.decoder(mu)


MODULES: dict[str, type[nn.Module]] = {
    "restoring": Restoring,
    "student-teacher": StudentTeacher,
    "latent": LatentDivergence,
}


def made(kind: str, seed: int = 0) -> nn.Module:
    """A module with statistics that are not trivial, in evaluation mode."""
    torch.manual_seed(seed)
    module = MODULES[kind]()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


def exported(module: nn.Module, *, opset: int = 17, **settings: Any) -> bytes:
    """The file that torch makes of a module."""
    buffer: Any = io.BytesIO()
    names: Sequence[str] = module.names  # type: ignore[assignment]  # a Module's attributes may be tensors
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.rand(1, 3, *SIZE),), buffer, dynamo=False, opset_version=opset, input_names=["image"],
            output_names=list(names), **settings,
        )  # fmt: skip
    data: bytes = buffer.getvalue()
    return data


def read(data: bytes | onnx.ModelProto, options: OnnxOptions | None = None) -> OnnxDetector:
    """What is made of a file."""
    content = data if isinstance(data, bytes) else data.SerializeToString()
    return detector_of_onnx(FileContent(Path("model.onnx"), content, "", "onnx"), options or OnnxOptions())


def small_graph(kind: str = "restoring", seed: int = 0) -> Detector:
    """A detector that was read from a file."""
    return read(exported(made(kind, seed))).detector


def model_of(
    nodes: Sequence[onnx.NodeProto], weights: dict[str, Any] | None = None, *,
    shape: Sequence[int | str] = (1, 3, 8, 8), outputs: Sequence[str] = ("score",), opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:  # fmt: skip
    """A model of one input `image` from nodes and named arrays."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(
        nodes, "test", [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def weight(*shape: int) -> np.ndarray:
    """Normal numbers that follow from the shape."""
    return np.random.default_rng(sum(shape)).normal(0, 0.3, shape).astype(np.float32)


def runtime(model: bytes | onnx.ModelProto, image: np.ndarray, name: str = "score") -> np.ndarray:
    """An output for one picture, by onnxruntime."""
    data = model if isinstance(model, bytes) else model.SerializeToString()
    session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run([name], {session.get_inputs()[0].name: image})[0]
    return found

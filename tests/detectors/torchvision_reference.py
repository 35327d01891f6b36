"""ResNet-18 and Wide-ResNet-50-2 as functions of a torchvision-format state_dict, from the papers' tables."""

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCKS = {"resnet18": (2, 2, 2, 2), "wide_resnet50_2": (3, 4, 6, 3)}


def reference_state(arch: str, *, seed: int, layers: int = 4) -> dict[str, Tensor]:
    """A random checkpoint with BatchNorm counters; with all four layers it has the classifier too."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def conv(name: str, norm: str, outputs: int, inputs: int, *, kernel: int) -> None:
        fan = inputs * kernel * kernel
        state[f"{name}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=generator) * (2 / fan) ** 0.5
        state[f"{norm}.weight"] = torch.rand(outputs, generator=generator) + 0.5
        state[f"{norm}.bias"] = torch.randn(outputs, generator=generator) * 0.1
        state[f"{norm}.running_mean"] = torch.randn(outputs, generator=generator) * 0.1
        state[f"{norm}.running_var"] = torch.rand(outputs, generator=generator) + 0.5
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", "bn1", 64, 3, kernel=7)
    inputs = 64
    for layer, blocks in enumerate(_BLOCKS[arch][:layers], 1):
        planes = 64 * 2 ** (layer - 1)
        outputs = planes if arch == "resnet18" else 4 * planes
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            if arch == "resnet18":
                shapes = [(planes, inputs, 3), (planes, planes, 3)]
            else:
                shapes = [(2 * planes, inputs, 1), (2 * planes, 2 * planes, 3), (outputs, 2 * planes, 1)]
            for number, (out, into, kernel) in enumerate(shapes, 1):
                conv(f"{name}.conv{number}", f"{name}.bn{number}", out, into, kernel=kernel)
            if block == 0 and inputs != outputs:
                conv(f"{name}.downsample.0", f"{name}.downsample.1", outputs, inputs, kernel=1)
            inputs = outputs
    if layers == 4:
        state["fc.weight"], state["fc.bias"] = torch.zeros(1000, inputs), torch.zeros(1000)
    return state


def reference_features(arch: str, state: dict[str, Tensor], image: Tensor) -> list[Tensor]:
    """Outputs of layer1, layer2 and layer3."""

    def conv(name: str, norm: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance, gain, shift = (
            state[f"{norm}.{field}"] for field in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, gain, shift, eps=1e-5)

    x = F.max_pool2d(F.relu(conv("conv1", "bn1", image, 2)), 3, stride=2, padding=1)
    features = []
    for layer, blocks in enumerate(_BLOCKS[arch][:3], 1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            if arch == "resnet18":
                y = F.relu(conv(f"{name}.conv1", f"{name}.bn1", x, stride))
                y = conv(f"{name}.conv2", f"{name}.bn2", y)
            else:
                y = F.relu(conv(f"{name}.conv1", f"{name}.bn1", x))
                y = F.relu(conv(f"{name}.conv2", f"{name}.bn2", y, stride))
                y = conv(f"{name}.conv3", f"{name}.bn3", y)
            if f"{name}.downsample.0.weight" in state:
                x = conv(f"{name}.downsample.0", f"{name}.downsample.1", x, stride)
            x = F.relu(x + y)
        features.append(x)
    return features

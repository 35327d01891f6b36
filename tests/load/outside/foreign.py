"""Detectors as somebody else would write them, for a child process to import."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn


class Scores(nn.Module):
    """A score and a map of a few convolutions."""

    input_size = (24, 32)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        map_ = self.head(self.features(image)).square()
        return map_.flatten(1).amax(1), map_


class Attentive(Scores):
    """Rows of patches that look at each other."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.encoder(self.patches(image).flatten(2).transpose(1, 2))
        map_ = tokens.square().sum(2).reshape(-1, 1, image.shape[2] // 8, image.shape[3] // 8)
        map_ = nn.functional.interpolate(map_, image.shape[2:], mode="bilinear", align_corners=False)
        return map_.flatten(1).amax(1), map_


class Named(Scores):
    """The same under names of its own."""

    def forward(self, image: Tensor) -> Any:
        score, map_ = super().forward(image)
        return {"anomaly": score, "heat": map_, "label": score > 1}


class Undecided(Scores):
    """What it computes depends on the picture, which a traced graph cannot know."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        score, map_ = super().forward(image)
        return (score, map_) if image.mean() > 0.4 else (score * 2, map_)


class Broken(Scores):
    """Fails on every picture."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        raise RuntimeError("no such thing as a picture")


class Elsewhere(Scores):
    """Leaves torch, so that a trace sees a constant."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        score, map_ = (one.detach().numpy() for one in super().forward(image))
        return torch.from_numpy(score), torch.from_numpy(map_)


class TwoScores(Scores):
    """Two numbers a picture."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        score, map_ = super().forward(image)
        return score, map_.flatten(1).mean(1)


class Wordy(Scores):
    """Returns no tensor."""

    def forward(self, image: Tensor) -> Any:
        return "anomalous"


def scores() -> nn.Module:
    return Scores()


def not_a_module() -> int:
    return 3


def weights_alone() -> object:
    return Scores().state_dict()


def forged_weights() -> nn.Module:
    Path(sys.argv[1], "weights.safetensors").write_bytes(safetensors.torch.save(Scores().state_dict()))
    return forged('{"kind": "weights"}')


def killed() -> nn.Module:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def interrupted() -> nn.Module:
    raise KeyboardInterrupt


def leaving() -> nn.Module:
    sys.exit("enough")


def hungry() -> nn.Module:
    torch.zeros(2**36).fill_(1)
    raise AssertionError


def slow() -> nn.Module:
    time.sleep(60)
    raise AssertionError


def deserted() -> nn.Module:
    """Leaves a process behind that holds on to the error stream."""
    if os.fork() == 0:
        time.sleep(600)
    return Scores()


def forged(answer: str) -> nn.Module:
    """Writes an answer of its own and ends."""
    Path(sys.argv[1], "result.json").write_text(answer, encoding="utf-8")
    os._exit(0)


def no_json() -> nn.Module:
    return forged("yes")


def deep() -> nn.Module:
    return forged("[" * 100_000)


def of_another_form() -> nn.Module:
    return forged('{"weights": "all", "usage": []}')


def without_graph() -> nn.Module:
    return forged('{"kind": "network"}')


def no_tensors() -> nn.Module:
    Path(sys.argv[1], "weights.safetensors").write_bytes(b"none")
    return forged('{"kind": "weights"}')


def linked() -> nn.Module:
    Path(sys.argv[1], "weights.safetensors").symlink_to("/dev/zero")
    return forged('{"kind": "weights"}')


def huge() -> nn.Module:
    """An answer of many numbers that take no place on the disk."""
    with Path(sys.argv[1], "result.json").open("wb") as file:
        file.truncate(2**31)
    os._exit(0)


class Noisy(Scores):
    """Samples in evaluation mode, too."""

    def forward(self, image: Tensor) -> Any:
        score, places = super().forward(image)
        return score + torch.randn_like(score), places


class Classes(Scores):
    """A classifier: two probabilities a picture."""

    def forward(self, image: Tensor) -> Any:
        score, _ = super().forward(image)
        return torch.stack([1 - score, score], 1).softmax(1)


class ChannelsLast(Scores):
    """Reads pictures as cameras and PIL give them, (1, H, W, 3)."""

    def forward(self, image: Tensor) -> Any:
        return super().forward(image.permute(0, 3, 1, 2))


def needs_something(size: int) -> nn.Module:
    raise AssertionError


def wrong_inside() -> nn.Module:
    return {"a": Scores()}["b"]


class Payload:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)

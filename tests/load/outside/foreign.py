"""Detectors as somebody else would write them, for a child process to import."""

import os
import signal
import time
from pathlib import Path
from typing import Any

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


class Wordy(Scores):
    """Returns no tensor."""

    def forward(self, image: Tensor) -> Any:
        return "anomalous"


def scores() -> nn.Module:
    return Scores()


def not_a_module() -> int:
    return 3


def killed() -> nn.Module:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hungry() -> nn.Module:
    torch.zeros(2**36).fill_(1)
    raise AssertionError


def slow() -> nn.Module:
    time.sleep(60)
    raise AssertionError


class Payload:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)

"""A detector as a user writes it: nothing in it, and nothing in budgetc, knows of the other."""

import torch
from torch import Tensor, nn


class Restorer(nn.Module):
    """Restores a picture through a narrow place; what it cannot restore is anomalous."""

    input_size = (32, 32)

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.Hardswish(),
            nn.Conv2d(32, 8, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Conv2d(8, 32, 3, 1, 1), nn.ReLU(),
            nn.Upsample(scale_factor=2), nn.Conv2d(32, 3, 3, 1, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        error = (self.decoder(self.encoder(image)) - image).abs().mean(1, keepdim=True)
        smooth = nn.functional.avg_pool2d(error, 5, 1, 2)
        return {"heat": smooth, "anomaly": torch.amax(smooth, (1, 2, 3))}


def make() -> nn.Module:
    """What `--detector tests.end_to_end.mine:make` calls."""
    return Restorer()

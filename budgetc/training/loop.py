"""The one training loop: Adam, cosine schedule, early stop on held-out normals."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from budgetc.errors import BudgetcError

_FEW_EPOCHS = 5
"""Of fewer, the first may be the best by chance."""
Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""


def silent(what: str, done: int, of: int) -> None:
    """A progress that shows nothing."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how fast to train."""

    epochs: int
    learning_rate: float
    seed: int
    batch: int = 16
    patience: int = 10
    """Epochs without a better held-out loss before training stops."""
    label: str = "training"


@dataclass(frozen=True, slots=True)
class Curve:
    """What training did."""

    training_loss: float | None
    held_out_loss: float | None
    """Of the epoch that was kept."""
    epochs: int
    """Epochs run."""
    best_epoch: int = 0
    """The one that was kept, counted from 1; 0 where there was none."""

    @property
    def advice(self) -> str | None:
        """What the curve says of the training; None where it looks as it should."""
        if self.best_epoch != 1 or self.epochs < _FEW_EPOCHS:
            return None
        return (
            "the held-out loss was never better than after the first epoch: the detector hardly learned; look at the "
            "pictures (budgetc data check), or try a lower --learning-rate"
        )


@dataclass(frozen=True, slots=True)
class Examples:
    """Indices to learn from and indices to watch; `loss` maps a batch of either to a scalar."""

    train: Tensor
    held_out: Tensor
    loss: Callable[[Tensor], Tensor]


def fit(module: nn.Module, examples: Examples, effort: Effort, progress: Progress = silent) -> Curve:
    """Train `module` in place and leave it at its best held-out epoch, in evaluation mode.

    The same seed, data and number of threads give the same weights.

    Raises:
        BudgetcError: training diverged.
    """
    if effort.epochs == 0 or len(examples.train) == 0:
        module.eval()
        return Curve(None, None, 0)
    torch.manual_seed(effort.seed)
    to_channels_last(module)
    weights = [w for w in module.parameters() if w.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=effort.learning_rate)
    best, best_state, best_epoch = math.inf, module.state_dict(), 0
    training_loss, waited, epoch = math.nan, 0, 0
    for epoch in range(1, effort.epochs + 1):
        _set_rate(optimizer, effort.learning_rate, (epoch - 1) / effort.epochs)
        training_loss = _one_epoch(module, examples, optimizer, effort.batch)
        held_out_loss = evaluate_loss(module, examples, effort.batch)
        if not math.isfinite(training_loss + held_out_loss):
            raise BudgetcError(
                f"{effort.label} diverged in epoch {epoch}; try a learning_rate below {effort.learning_rate:g}"
            )
        progress(effort.label, epoch, effort.epochs)
        if held_out_loss < best:
            best, best_state, best_epoch, waited = held_out_loss, copy.deepcopy(module.state_dict()), epoch, 0
        else:
            waited += 1
        if waited >= effort.patience:
            break
    progress(effort.label, effort.epochs, effort.epochs)
    module.load_state_dict(best_state)
    module.eval()
    return Curve(training_loss, best, epoch, best_epoch)


def to_channels_last(module: nn.Module) -> None:
    """Lay out convolution weights for the faster CPU kernels, in place."""
    for weight in module.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def evaluate_loss(module: nn.Module, examples: Examples, batch: int) -> float:
    """Mean loss over the held-out indices in evaluation mode."""
    module.eval()
    losses = [float(examples.loss(part)) * len(part) for part in examples.held_out.split(batch)]
    return sum(losses) / max(len(examples.held_out), 1)


def _one_epoch(module: nn.Module, examples: Examples, optimizer: torch.optim.Optimizer, batch: int) -> float:
    module.train()
    order = examples.train[torch.randperm(len(examples.train))]
    total, seen = 0.0, 0
    for part in order.split(batch):
        if len(part) < 2 and seen > 0:
            continue  # BatchNorm cannot learn from one image
        optimizer.zero_grad(set_to_none=True)
        loss = examples.loss(part)
        loss.backward()
        optimizer.step()
        total, seen = total + float(loss.detach()) * len(part), seen + len(part)
    return total / seen


def _set_rate(optimizer: torch.optim.Optimizer, rate: float, done: float) -> None:
    warm = min(1.0, 0.2 + 8 * done)
    for group in optimizer.param_groups:
        group["lr"] = rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))


def hold_out(groups: list[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and indices to watch; whole groups, at least one watched where there are two."""
    names = sorted(set(groups))
    np.random.default_rng(seed).shuffle(names)
    watched = set(names[: max(1, round(share * len(names)))]) if len(names) > 1 else set(names)
    watch = [i for i, group in enumerate(groups) if group in watched]
    train = [i for i, group in enumerate(groups) if group not in watched] if len(names) > 1 else watch
    return train, watch

"""The one training loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from budgetc.errors import BudgetcError
from budgetc.training.loop import Effort, Examples, evaluate_loss, fit, hold_out

X = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


def _regression() -> tuple[nn.Module, Examples]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 1))

    def loss(indices: Tensor) -> Tensor:
        error: Tensor = (module(X[indices]) - Y[indices]).square().mean()
        return error

    return module, Examples(torch.arange(32), torch.arange(32, 40), loss)


def _weights(module: nn.Module) -> list[Tensor]:
    return [weight.clone() for weight in module.state_dict().values()]


def test_training_lowers_the_held_out_loss() -> None:
    """And the curve reports the loss of the weights that are left."""
    module, examples = _regression()
    before = evaluate_loss(module, examples, 16)
    curve = fit(module, examples, Effort(30, 0.02, seed=0))
    assert curve.held_out_loss is not None and curve.held_out_loss < before
    assert evaluate_loss(module, examples, 16) == pytest.approx(curve.held_out_loss, rel=1e-5)


def test_a_curve_that_never_improves_says_so() -> None:
    """Nothing learned is not silent (a class can fail by its seed); a curve that falls has nothing to say."""
    module, examples = _regression()
    good = fit(module, examples, Effort(30, 0.02, seed=0))
    assert good.advice is None and 1 < good.best_epoch <= good.epochs
    module, examples = _regression()
    losses = iter(range(1, 99))
    rising = Examples(examples.train, examples.held_out, lambda indices: examples.loss(indices) * 0 + next(losses))
    flat = fit(module, rising, Effort(30, 0.02, seed=0))
    assert flat.best_epoch == 1 and flat.advice is not None and "hardly learned" in flat.advice


def test_the_same_seed_gives_the_same_weights() -> None:
    """Order of batches and dropout follow from the seed, whatever was drawn before."""
    results = []
    for drawn in (0, 5):
        module, examples = _regression()
        torch.randn(drawn)
        fit(module, examples, Effort(3, 0.02, seed=4))
        results.append(_weights(module))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_another_seed_gives_other_weights() -> None:
    """The seed is used."""
    results = []
    for seed in (1, 2):
        module, examples = _regression()
        fit(module, examples, Effort(3, 0.02, seed=seed))
        results.append(_weights(module))
    assert not all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_early_stop_keeps_the_best_epoch() -> None:
    """Where learning the training part hurts the held-out part, the first epoch is kept and the rest not run."""
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.zero_()

    def loss(indices: Tensor) -> Tensor:
        away = module.weight.sum() - (1.0 if int(indices[0]) < 8 else 0.0)
        return away.square()

    seen: list[float] = []
    examples = Examples(torch.arange(8), torch.arange(8, 10), loss)
    curve = fit(module, examples, Effort(50, 0.05, seed=0, patience=3),
                lambda what, done, of: seen.append(float(module.weight.detach())))  # fmt: skip
    assert curve.epochs == 4
    assert float(module.weight.detach()) == seen[0] < seen[-1]
    assert curve.held_out_loss == pytest.approx(seen[0] ** 2)


def test_training_ends_in_evaluation_mode() -> None:
    """Also where nothing was trained, which the curve says."""
    for epochs in (0, 1):
        module, examples = _regression()
        curve = fit(module, examples, Effort(epochs, 0.02, seed=0))
        assert not any(child.training for child in module.modules())
        assert curve.epochs == epochs and (curve.held_out_loss is None) == (epochs == 0)


def test_zero_epochs_change_no_weight() -> None:
    """The bare structure keeps its first guess."""
    module, examples = _regression()
    before = _weights(module)
    fit(module, examples, Effort(0, 0.02, seed=0))
    assert all(torch.equal(a, b) for a, b in zip(before, _weights(module), strict=True))


def test_a_last_batch_of_one_is_left_out() -> None:
    """BatchNorm cannot learn from one image: 33 examples in batches of 16 train without error."""
    module, examples = _regression()
    fit(module, Examples(torch.arange(33), examples.held_out, examples.loss), Effort(1, 0.02, seed=0))


def test_progress_ends_at_the_full_count() -> None:
    """Every epoch is reported, and an early stop still completes the bar."""
    module, examples = _regression()
    calls: list[tuple[str, int, int]] = []
    fit(module, examples, Effort(3, 0.02, seed=0, label="learning"), lambda *call: calls.append(call))
    assert calls[:3] == [("learning", done, 3) for done in (1, 2, 3)] and calls[-1] == ("learning", 3, 3)


def test_divergence_is_an_error_that_names_the_rate() -> None:
    """Weights that are no numbers never reach a file."""
    module, examples = _regression()
    broken = Examples(examples.train, examples.held_out, lambda indices: examples.loss(indices) * math.nan)
    with pytest.raises(BudgetcError, match=r"stem diverged in epoch 1.*learning_rate"):
        fit(module, broken, Effort(5, 0.02, seed=0, label="stem"))


@given(groups=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_hold_out_goes_by_group(groups: list[str], seed: int) -> None:
    """No group is on both sides, and nothing is lost, where there are two groups at least."""
    train, watch = hold_out(groups, 0.2, seed)
    assert train and watch
    if len(set(groups)) > 1:
        assert not {groups[i] for i in train} & {groups[i] for i in watch}
        assert sorted(train + watch) == list(range(len(groups)))
    else:
        assert train == watch == list(range(len(groups)))


def test_hold_out_depends_on_the_seed_alone() -> None:
    """The same groups in the same order give the same sides."""
    groups = [str(i // 2) for i in range(40)]
    assert hold_out(groups, 0.1, 3) == hold_out(groups, 0.1, 3)
    assert len({tuple(hold_out(groups, 0.1, seed)[1]) for seed in range(10)}) > 1

"""Plans as numbers for the model of AUROC, and what counts as compliant."""

import math

import pytest

from budgetc.core.plan import Direct, Distill, Fp16, Plan, Prune, Qat, Quantize, Step, Truncate
from budgetc.search.space import FULL, QUICK, Row, Rules, compliant, eligible, network_of, settings_of, trains


def plan(*steps: Step) -> Plan:
    """A plan with seed 0."""
    return Plan(recipe="r", steps=steps, seed=0)


def test_successive_widths_multiply() -> None:
    """Half of a half is a quarter, in powers of two."""
    twice = plan(Distill(student=0.5, teacher=0.5), Distill(student=0.5, teacher=0.25))
    assert settings_of(twice)[:2] == (-2.0, -3.0)


def test_order_of_quantizing_shows() -> None:
    """Training under INT8 rounding is not the same plan as rounding afterwards."""
    before, after = plan(Quantize(), Distill()), plan(Distill(), Quantize())
    assert settings_of(before) != settings_of(after)


@pytest.mark.parametrize(
    "other",
    [
        Distill(epochs=20), Distill(learning_rate=1e-3), Distill(loss="map"), Distill(loss="relation"),
        Distill(loss="ranking"), Distill(loss="ranking", loss_weight=3.0), Distill(loss="divergence"),
        Distill(depth=0), Distill(backbone="separable"), Distill(shared=1), Distill(input=0.5), Distill(latents=0.5),
        Distill(drop_hidden=True), Distill(student=0.25), Distill(teacher=1.0), Direct(epochs=10),
    ],
)  # fmt: skip
def test_every_setting_of_a_distillation_shows(other: Step) -> None:
    """Two plans that train something else are never one point to the model of AUROC."""
    assert settings_of(plan(other)) != settings_of(plan(Distill()))


def test_order_of_pruning_shows() -> None:
    """A student that is distilled from a pruned one is another than a distilled one that is pruned."""
    assert settings_of(plan(Prune(), Distill())) != settings_of(plan(Distill(), Prune()))


def test_dropped_taps_show() -> None:
    """At either end."""
    found = {settings_of(plan(step)) for step in (Truncate(), Truncate(first=3), Truncate(stages=3))}
    assert len(found) == 3


ROUNDINGS = (
    Quantize(), Quantize(method="percentile"), Quantize(method="entropy"), Quantize(method="mse"),
    Quantize(source="train"), Quantize(source="augmented"), Quantize(source="noise"), Quantize(first_convolution=True),
    Quantize(depthwise=False), Quantize(last_layers=False), Quantize(float_layers=2), Quantize(bias_correction=True),
)  # fmt: skip


def test_every_way_of_rounding_is_another_place_near_by() -> None:
    """The model of AUROC tells them apart, and expects less of them than of a halved width."""
    places = [settings_of(plan(step)) for step in ROUNDINGS]
    assert len(set(places)) == len(places)
    assert all(math.dist(places[0], place) < 0.5 for place in places)


def test_training_under_rounding_shows() -> None:
    """QAT is not PTQ, though it is the same network."""
    assert settings_of(plan(Quantize(), Qat())) != settings_of(plan(Quantize()))
    assert network_of(plan(Quantize(), Qat())) == network_of(plan(Quantize()))


@pytest.mark.parametrize(
    "changed",
    [Prune(allocation="knapsack"), Prune(macs=0.5), Prune(importance="taylor"), Prune(latents=0.5), Prune(rounds=2)],
)
def test_every_setting_of_pruning_shows(changed: Prune) -> None:
    """Plans that differ in one of them are told apart."""
    assert settings_of(plan(changed)) != settings_of(plan(Prune()))


def test_every_kind_of_plan_has_equally_many_settings() -> None:
    """The table is a matrix."""
    plans = [
        plan(),
        plan(Quantize(scope="student")),
        plan(Quantize(), Qat()),
        plan(Fp16()),
        plan(Prune(teacher=0.5), Distill(), Quantize()),
    ]
    assert len({len(settings_of(one)) for one in plans}) == 1


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), False), ((Quantize(), Fp16()), False), ((Prune(),), True), ((Prune(epochs=0),), False),
        ((Quantize(), Qat()), True),
    ],
)  # fmt: skip
def test_only_steps_with_epochs_train(steps: tuple[Step, ...], expected: bool) -> None:
    """PTQ and storage are free."""
    assert trains(plan(*steps)) is expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row("a", (), True, 10, True, {FULL: 0.9}), True),
        (Row("a", (), True, 10, True, {FULL: 0.89}), False),
        (Row("a", (), True, 10, True, {QUICK: 0.95}), False),
        (Row("a", (), True, 10, None, {FULL: 0.95}), False),
        (Row("a", (), True, 11, True, {FULL: 0.95}), False),
        (Row("a", (), True, 10, True, {FULL: 0.95}, failed=True), False),
    ],
)
def test_compliant_needs_size_fit_and_full_training(row: Row, expected: bool) -> None:
    """A structure counts only when nothing is open."""
    assert compliant(row, Rules(10, 0.9, 0)) is expected


def test_unscreened_structures_stay_eligible() -> None:
    """What was not measured speaks neither for nor against."""
    assert eligible(Row("a", (), True, 10, None), Rules(10, 0.9, 0))


def test_a_smaller_picture_does_not_undo_a_cut() -> None:
    """Successive truncations add up."""
    both = settings_of(plan(Truncate(stages=5), Truncate(input=0.5)))
    assert both == settings_of(plan(Truncate(stages=5, input=0.5)))

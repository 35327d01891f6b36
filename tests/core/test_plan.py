"""Plans and their identity."""

import pytest
from pydantic import ValidationError

from budgetc.core.plan import Distill, Fp16, Plan, Prune, Qat, Quantize, fingerprint


def plan(*steps: Quantize | Qat | Fp16 | Distill | Prune, recipe: str = "r", seed: int = 0) -> Plan:
    return Plan(recipe=recipe, steps=steps, seed=seed)


def test_id_follows_from_steps_and_seed() -> None:
    """Equal plans are one candidate, whichever recipe named them."""
    assert plan(Quantize(), recipe="a").id == plan(Quantize(), recipe="b").id
    assert len(plan(Quantize()).id) == 10


@pytest.mark.parametrize(
    "other",
    [plan(Quantize(), seed=1), plan(Quantize(samples=65)), plan(Fp16()), plan(), plan(Quantize(), Fp16())],
)
def test_id_changes_with_every_setting(other: Plan) -> None:
    """A cached result is never taken for that of another plan."""
    assert other.id != plan(Quantize()).id


def test_id_depends_on_the_order_of_steps() -> None:
    """Pruning what was distilled is not distilling what was pruned."""
    assert plan(Prune(), Distill()).id != plan(Distill(), Prune()).id


def test_fingerprint_ignores_the_order_of_keys() -> None:
    """The digest is of the data, in canonical form: this one was computed by sha256sum."""
    assert fingerprint({"b": 1, "a": [1.5, None]}) == fingerprint({"a": [1.5, None], "b": 1})
    assert fingerprint({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_plan_survives_writing_and_reading() -> None:
    """`plan -o plan.json` and `compile plan.json` speak of the same plan."""
    found = plan(Distill(student=0.25, teacher=0.5), Prune(keep=0.7), Quantize(scope="student"), Fp16(), seed=3)
    again = Plan.model_validate_json(found.model_dump_json())
    assert again == found
    assert again.id == found.id


def test_titles_are_for_people() -> None:
    """A title names the steps in order with the setting that matters."""
    found = plan(Distill(student=0.25, teacher=0.5), Prune(keep=0.7), Quantize(), Fp16())
    assert found.title() == "distill(teacher 0.5, student 0.25) > prune(keep 0.7) > quantize > fp16"
    assert plan(Distill(student=0.5), Quantize(scope="student")).title() == "distill(student 0.5) > quantize(student)"
    settled = Quantize(method="mse", source="noise", depthwise=False, float_layers=2, bias_correction=True)
    words = "mse, noise, depthwise in FP32, 2 layers in FP32, bias correction"
    assert plan(settled, Qat()).title() == f"quantize({words}) > qat"


def test_a_plan_without_steps_is_the_baseline() -> None:
    """The unchanged detector is a plan too."""
    assert plan().title() == "unchanged"


@pytest.mark.parametrize("ratio", [0, -0.5, 1.5])
def test_ratios_are_shares(ratio: float) -> None:
    """A part of the channels: more than none, at most all."""
    with pytest.raises(ValidationError, match="keep"):
        Prune(keep=ratio)

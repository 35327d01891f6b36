"""Recipes multiply out into plans."""

from typing import Any

import pytest
from pydantic import ValidationError

from budgetc.core.plan import Distill, Prune, Quantize
from budgetc.core.recipe import Recipe


def recipe(*steps: dict[str, Any], **more: object) -> Recipe:
    return Recipe.model_validate({"name": "test", "description": "For tests.", "steps": list(steps), **more})


def test_choices_are_multiplied_in_file_order() -> None:
    """Two settings of 2 and 3 values and a fixed step: six plans, the last choice varying fastest."""
    found = recipe(
        {"step": "distill", "settings": {"epochs": 5}, "choices": {"student": [0.5, 0.25]}},
        {"step": "prune", "choices": {"keep": [0.75, 0.5, 0.25]}},
        {"step": "quantize"},
    )
    plans = list(found.plans(seed=7))
    expected = [
        (Distill(student=student, epochs=5), Prune(keep=keep), Quantize())
        for student in (0.5, 0.25)
        for keep in (0.75, 0.5, 0.25)
    ]
    assert [plan.steps for plan in plans] == expected
    assert {(plan.recipe, plan.seed) for plan in plans} == {("test", 7)}
    assert len({plan.id for plan in plans}) == 6


def test_choices_of_one_step_are_multiplied_with_each_other() -> None:
    """Two settings of one step with two values each give four ways."""
    found = recipe({"step": "distill", "choices": {"student": [0.5, 0.25], "teacher": [None, 0.5]}})
    assert [plan.steps[0] for plan in found.plans(0)] == [
        Distill(student=0.5), Distill(student=0.5, teacher=0.5), Distill(student=0.25),
        Distill(student=0.25, teacher=0.5),
    ]  # fmt: skip


def test_an_optional_step_is_also_left_out() -> None:
    """The plan without it comes first."""
    found = recipe({"step": "prune", "choices": {"keep": [0.5, 0.25]}, "optional": True}, {"step": "quantize"})
    assert [len(plan.steps) for plan in found.plans(0)] == [1, 2, 2]


def test_the_order_of_steps_is_the_files() -> None:
    """Quantize before prune stays so: no step knows its usual place."""
    found = recipe({"step": "quantize"}, {"step": "prune"})
    assert [step.step for step in next(found.plans(0)).steps] == ["quantize", "prune"]


def orders_of(found: Recipe) -> list[list[str]]:
    """The names of the steps of every plan."""
    return [[step.step for step in plan.steps] for plan in found.plans(0)]


def test_any_order_multiplies_the_plans() -> None:
    """Six of three steps; FP16 stays last, and what is left out leaves no plan twice."""
    three = ({"step": "quantize"}, {"step": "distill"}, {"step": "prune", "optional": True}, {"step": "fp16"})
    found = orders_of(recipe(*three, orders="any"))
    assert len(found) == 6 + 2
    assert len({tuple(order) for order in found}) == 8
    assert {order[-1] for order in found} == {"fp16"}


def test_orders_can_be_listed() -> None:
    """Those and no others, with all choices each, whatever the order in the file."""
    steps = ({"step": "quantize"}, {"step": "prune", "choices": {"keep": [0.5, 0.25]}})
    found = recipe(*steps, orders=[["prune", "quantize"], ["quantize", "prune"]])
    assert orders_of(found) == 2 * [["prune", "quantize"]] + 2 * [["quantize", "prune"]]


@pytest.mark.parametrize(
    ("steps", "orders", "sentence"),
    [
        (("quantize", "prune"), [["prune"]], "orders: prune is no order of quantize, prune: name each step once"),
        (("quantize", "prune"), [["prune", "fp16"]], "orders: prune, fp16 is no order of quantize, prune"),
        (("prune", "prune"), "any", "orders: two steps are called the same"),
        (("prune",), "some", "orders"),
    ],
)
def test_orders_that_cannot_be_are_refused(steps: tuple[str, ...], orders: object, sentence: str) -> None:
    """Every order names all steps, and each step can be told apart."""
    with pytest.raises(ValidationError, match=sentence):
        recipe(*({"step": step} for step in steps), orders=orders)


def test_a_good_recipe_has_no_problems() -> None:
    """`recipes check` prints nothing for it."""
    assert recipe({"step": "fp16"}).problems() == []


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"step": "qantize"}, r"steps\.0 \(qantize\): .*'quantize', 'qat', 'fp16', 'store-bits', .*, 'prune'"),
        ({"step": "prune", "settings": {"kep": 0.5}}, r"steps\.0 \(prune\): prune\.kep: Extra inputs"),
        (
            {"step": "prune", "choices": {"keep": [0.5, 1.5]}},
            r"steps\.0 \(prune\): prune\.keep: .*less than or equal to 1",
        ),
    ],
)
def test_problems_say_where_and_what(step: dict[str, Any], sentence: str) -> None:
    """An unknown step, an unknown setting and a value out of range are each named with their place."""
    import re

    found = recipe(step).problems()
    assert len(found) == 1
    assert re.search(sentence, found[0])


def test_every_bad_template_is_reported() -> None:
    """A person mends all of them at once."""
    found = recipe({"step": "x"}, {"step": "quantize"}, {"step": "y"}).problems()
    assert [problem.split(" ")[0] for problem in found] == ["steps.0", "steps.2"]


def test_plans_of_a_bad_recipe_are_refused() -> None:
    """Nothing is tried with a setting that was misspelt."""
    with pytest.raises(ValidationError, match="kep"):
        list(recipe({"step": "prune", "settings": {"kep": 0.5}}).plans(0))


def test_a_recipe_without_steps_is_refused() -> None:
    """It could only ever give the baseline."""
    with pytest.raises(ValidationError, match="at least 1 item"):
        recipe()


def test_a_misspelt_key_of_a_template_is_refused() -> None:
    """`choice` for `choices` would silently try one value."""
    with pytest.raises(ValidationError, match=r"steps\.0\.choice\n.*Extra inputs"):
        recipe({"step": "prune", "choice": {"keep": [0.5]}})

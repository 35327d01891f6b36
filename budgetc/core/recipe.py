"""Ordered step templates with choices, multiplied out into plans."""

import itertools
from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from budgetc.core.frozen import Frozen
from budgetc.core.plan import Plan, Step

Setting = bool | int | float | str | None
_STEP: TypeAdapter[Step] = TypeAdapter(Step)


class StepTemplate(Frozen):
    """One step: fixed settings, and settings with several values to try."""

    step: str
    settings: dict[str, Setting] = {}
    choices: dict[str, tuple[Setting, ...]] = {}
    """Setting -> the values to try."""
    optional: bool = False
    """Also try the plan without this step."""

    def settled(self) -> Iterator[Step | None]:
        """Every way to settle this step; None leaves it out."""
        if self.optional:
            yield None
        names = list(self.choices)
        for values in itertools.product(*self.choices.values()):
            raw = {"step": self.step, **self.settings, **dict(zip(names, values, strict=True))}
            yield _STEP.validate_python(raw)


Orders = Literal["as written", "any"] | tuple[tuple[str, ...], ...]
_LAST = ("fp16", "store-bits")
"""Say how weights are stored and nothing else: no order has them elsewhere."""


class Recipe(Frozen):
    """A list of step templates, and the orders in which they are carried out."""

    name: str
    description: str
    detectors: tuple[str, ...] = ()
    """Detector families it is for; empty means all."""
    steps: tuple[StepTemplate, ...] = Field(min_length=1)
    orders: Orders = "as written"
    """Every order of the steps (`any`, what only stores weights staying last), or those that are listed by the names of
    steps. Each multiplies the plans, and those that make no sense are dropped with the reason."""

    @model_validator(mode="after")
    def _orders_name_all_steps(self) -> Self:
        if self.orders == "as written":
            return self
        names = [template.step for template in self.steps]
        if len(set(names)) < len(names):
            raise ValueError(f"orders: two steps are called the same ({', '.join(names)}); keep orders as written")
        for order in () if self.orders == "any" else self.orders:
            if sorted(order) != sorted(names):
                raise ValueError(f"orders: {', '.join(order)} is no order of {', '.join(names)}: name each step once")
        return self

    def plans(self, seed: int) -> Iterator[Plan]:
        """Multiply out all choices, in file order, and then all orders; each plan once.

        Raises:
            pydantic.ValidationError: a template names an unknown step or setting.
        """
        seen = set[tuple[Step, ...]]()
        for order in self._ordered():
            for settled in itertools.product(*(tuple(template.settled()) for template in order)):
                steps = tuple(step for step in settled if step is not None)
                if steps not in seen:
                    seen.add(steps)
                    yield Plan(recipe=self.name, steps=steps, seed=seed)

    def _ordered(self) -> Iterator[tuple[StepTemplate, ...]]:
        """The templates in every order that is asked for."""
        if self.orders == "as written":
            yield self.steps
        elif self.orders == "any":
            moved = [template for template in self.steps if template.step not in _LAST]
            last = tuple(template for template in self.steps if template.step in _LAST)
            yield from ((*order, *last) for order in itertools.permutations(moved))
        else:
            named = {template.step: template for template in self.steps}
            yield from (tuple(named[name] for name in order) for order in self.orders)

    def problems(self) -> list[str]:
        """What is wrong with each template, as sentences; empty when all settle."""
        found = []
        for number, template in enumerate(self.steps):
            try:
                tuple(template.settled())
            except ValidationError as error:
                details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
                found.append(f"steps.{number} ({template.step}): {details}")
        return found

"""Ordered step templates with choices, multiplied out into plans."""

import itertools
from collections.abc import Iterator

from pydantic import Field, TypeAdapter, ValidationError

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


class Recipe(Frozen):
    """An ordered list of step templates; order is part of the recipe."""

    name: str
    description: str
    detectors: tuple[str, ...] = ()
    """Detector families it is for; empty means all."""
    steps: tuple[StepTemplate, ...] = Field(min_length=1)

    def plans(self, seed: int) -> Iterator[Plan]:
        """Multiply out all choices, in file order.

        Raises:
            pydantic.ValidationError: a template names an unknown step or setting.
        """
        for settled in itertools.product(*(tuple(template.settled()) for template in self.steps)):
            yield Plan(recipe=self.name, steps=tuple(step for step in settled if step is not None), seed=seed)

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

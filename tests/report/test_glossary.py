"""Words that a report needs."""

from typing import get_args

from budgetc.core.plan import Step
from budgetc.report.glossary import STEPS


def test_every_step_is_explained() -> None:
    """A plan may hold any of them, and its report says what each did."""
    kinds = get_args(get_args(Step)[0])
    assert set(STEPS) == {kind.model_fields["step"].default for kind in kinds}

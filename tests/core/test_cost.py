"""What a cost model may say."""

import pytest
from pydantic import ValidationError

from budgetc.core.cost import CostModel, Span
from tests.targets import cost, predicted_target, span


def test_edges_hold_their_value() -> None:
    """An interval that does not contain its own value is a typing mistake."""
    with pytest.raises(ValidationError, match=r"lower 2 <= value 1 <= upper 3 must hold"):
        Span(value=1, lower=2, upper=3)


def test_every_class_needs_coefficients() -> None:
    """An operator that costs nothing would make networks of it look free."""
    fields = cost().model_dump()
    del fields["rates"]["depthwise"]
    with pytest.raises(ValidationError, match="rates: no coefficients for depthwise"):
        CostModel.model_validate(fields)


def test_every_class_needs_an_interval() -> None:
    """A part that cannot be off would make networks of it look certain."""
    fields = cost().model_dump()
    del fields["spread"]["conv1x1"]
    with pytest.raises(ValidationError, match="spread: no interval for conv1x1"):
        CostModel.model_validate(fields)


def test_rows_of_some_runtimes_time_other_things() -> None:
    """Of the runtime they start with: another fixed time, another speed; all others are as fitted."""
    known = cost(row_runtimes=[
        {"starts": "ncnn 2023", "scale": 0.5, "source": ""},
        {"starts": "torch2trt", "fixed_ms": span(0.1, 0.1, 0.1), "source": ""},
    ])  # fmt: skip
    assert known.for_rows("ncnn 2023").scale == 0.5 and known.for_rows("ncnn 2023").fixed_ms == known.fixed_ms
    assert known.for_rows("torch2trt 0.4").fixed_ms.value == 0.1 and known.for_rows("torch2trt 0.4").scale == 1
    assert known.for_rows("ncnn README") == known


def test_known_differences_between_runtimes_replace_rates() -> None:
    """Only the classes that are named."""
    known = cost(artifact_rates={"conv3x3": {"gmac_per_s": 1}})
    assert known.in_artifact().rates["conv3x3"].gmac_per_s == 1
    assert known.in_artifact().rates["conv1x1"] == known.rates["conv1x1"]


def test_a_target_is_here_or_priced() -> None:
    """Else nobody could say what a file costs on it."""
    with pytest.raises(ValidationError, match=r"either measured_on .*, cost .* or fit"):
        predicted_target(cost=None)


def test_halves_can_only_compute_where_halves_are_known() -> None:
    """`compute_dtype: fp16` without fp16 among `dtypes` contradicts itself."""
    with pytest.raises(ValidationError, match="compute_dtype is fp16, but dtypes does not name it"):
        predicted_target(compute_dtype="fp16", dtypes=("fp32",))

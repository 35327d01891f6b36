"""What a cost model may say."""

import pytest
from pydantic import ValidationError

from budgetc.core.cost import CostModel, Span
from tests.targets import cost, predicted_target


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


@pytest.mark.parametrize("ends", [(None, None), (20.0, 10.0, None), (10.0,)])
def test_bands_ascend_to_an_open_end(ends: tuple[float | None, ...]) -> None:
    """Every latency lies in exactly one band."""
    bands = [{"below_ms": end, "lower": 0.9, "upper": 1.1} for end in ends]
    with pytest.raises(ValidationError, match="below_ms must ascend, and the last band has none"):
        cost(bands=bands)


def test_a_band_is_found_by_latency() -> None:
    """Below 10 ms its own, from 10 ms on the last."""
    known = cost(bands=[{"below_ms": 10, "lower": 0.5, "upper": 2}, {"lower": 0.9, "upper": 1.1}])
    assert [known.band(ms).upper for ms in (1, 9.99, 10, 1e6)] == [2, 2, 1.1, 1.1]


def test_known_differences_between_runtimes_replace_rates() -> None:
    """Only the classes that are named."""
    known = cost(artifact_rates={"conv3x3": {"gmac_per_s": 1}})
    assert known.in_artifact().rates["conv3x3"].gmac_per_s == 1
    assert known.in_artifact().rates["conv1x1"] == known.rates["conv1x1"]


def test_a_target_is_here_or_priced() -> None:
    """Else nobody could say what a file costs on it."""
    with pytest.raises(ValidationError, match=r"either measured_on .* or cost"):
        predicted_target(cost=None)


def test_halves_can_only_compute_where_halves_are_known() -> None:
    """`compute_dtype: fp16` without fp16 among `dtypes` contradicts itself."""
    with pytest.raises(ValidationError, match="compute_dtype is fp16, but dtypes does not name it"):
        predicted_target(compute_dtype="fp16", dtypes=("fp32",))

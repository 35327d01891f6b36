"""Numbers as a person reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.report.words import aligned, apart, backing, cell, clean, interval, limit_words, percent, quantity, ratio
from tests.report.example import measured


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [(18.23, "ms", "18.2 ms"), (18.0, "ms", "18.0 ms"), (0.4123, "ms", "0.412 ms"),
     (0.26, "ms", "0.260 ms"), (0.9996, "ms", "1.00 ms"),
     (1234.5, "ms", "1230 ms"),
     (0.00001234, "ms", "1.23e-05 ms"), (0.0, "ms", "0 ms"), (99.96, "ms", "100 ms"), (12345.6, "mJ", "12300 mJ"),
     (1536, "B", "1.5 KiB"), (0.95678, "1", "0.957")],
)  # fmt: skip
def test_quantities_have_three_digits_and_a_unit(value: float, unit: str, words: str) -> None:
    """No more digits than mean anything, no less than were measured."""
    assert quantity(value, unit) == words


@pytest.mark.parametrize(
    ("bound", "unit", "words"),
    [(25.0, "ms", "25 ms"), (33.125, "ms", "33.125 ms"), (2**20, "B", "1 MiB"), (1_300_000, "B", "1.24 MiB"),
     (100, "B", "100 B"), (0.9, "1", "0.900")],
)  # fmt: skip
def test_limits_look_as_they_were_written(bound: float, unit: str, words: str) -> None:
    """`25 ms`, not `25.0 ms`."""
    assert limit_words(bound, unit) == words


@pytest.mark.parametrize(
    ("value", "bound", "unit"), [(25.004, 25.0, "ms"), (2**20 + 1, 2**20, "B"), (0.89996, 0.9, "1")]
)
def test_a_value_beside_its_limit_gets_the_digits_to_tell_them_apart(value: float, bound: float, unit: str) -> None:
    """A limit missed by a hair never looks kept."""
    written = apart(value, bound, unit)
    assert written[0] != written[1]


@pytest.mark.parametrize(("share", "words"), [(0.273, "27 %"), (0.0164, "1.6 %"), (0.0996, "10 %"), (-0.82, "-82 %")])
def test_percentages(share: float, words: str) -> None:
    """A digit more where it matters."""
    assert percent(share) == words


def test_signed_percentages() -> None:
    """Margins show their side."""
    assert percent(0.27, sign=True) == "+27 %"


def test_intervals() -> None:
    """Two ends, one end, none."""
    value = measured("latency_p50", 18.2, "ms", 0.5)
    assert interval(value) == "17.7 to 18.7 ms"
    assert interval(value.model_copy(update={"lower": None})) == "at most 18.7 ms"
    assert interval(value.model_copy(update={"upper": None})) == "at least 17.7 ms"
    assert interval(measured("artifact_size", 5, "B")) == ""


def test_backing_says_how_sure_and_from_where() -> None:
    """Interval, kind, n, note."""
    value = measured("latency_p50", 18.2, "ms", 0.5, n=60, kind="predicted", note="cost model")
    assert backing(value) == "17.7 to 18.7 ms; predicted, n = 60; cost model"
    assert ratio(measured("r", 0.442, "1", 0.02, n=10)) == (
        "0.44 x baseline (95 % interval 0.422 to 0.462; measured, n = 10)"
    )


def test_no_confidence_reads_as_certainty() -> None:
    """0.998 is not 100 %."""
    value = measured("r", 0.442, "1", 0.02, n=10).model_copy(update={"confidence": 0.998})
    assert ratio(value) == "0.44 x baseline (>99 % interval 0.422 to 0.462; measured, n = 10)"


def test_columns_are_aligned() -> None:
    """Two spaces apart, nothing at the end of a line."""
    assert aligned([("a", "bb", ""), ("ccc", "d", "e")]) == "a    bb\nccc  d   e"


@given(st.text())
def test_any_text_stays_one_line(text: str) -> None:
    """Names of files come from others: no line ends, no escape sequences."""
    assert clean(text).isprintable() or not clean(text)
    assert "\n" not in cell(text)


def test_any_text_stays_one_cell() -> None:
    """No Markdown, no HTML, no further column."""
    assert cell("a|b <script> [x](y) *z* `c` snake_case <= 3") == (
        r"a\|b \<script> \[x](y) \*z\* \`c\` snake_case <= 3"
    )

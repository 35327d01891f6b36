"""A report says which board its figures are of."""

from budgetc.report.boards import board_words
from budgetc.report.html import render_html
from budgetc.report.markdown import render_markdown
from budgetc.report.schema import BoardRecord
from tests.report.example import make_report

BOARD = BoardRecord(
    where="ssh://nano@10.0.0.7",
    facts={"model": "Jetson Nano", "power_mode": "MAXN", "python": "3.6.9"},
    versions={"onnxruntime": "1.10.0"},
    samples=({"temperatures_c": {"CPU": 48.5}, "throttled_by": ["cpu-balanced"]}, {}),
    latency_ms={"artifact": ((1.0, 2.0),), "baseline": ((2.0, 3.0),)},
)


def test_the_board_is_named_with_its_conditions() -> None:
    """Model, power mode, runtime, throttling and the hottest sensor."""
    words = board_words(BOARD)
    for part in ("ssh://nano@10.0.0.7: Jetson Nano, MAXN", "Python 3.6.9, onnxruntime 1.10.0", "by cpu-balanced",
                 "48.5 °C"):  # fmt: skip
        assert part in words
    assert board_words(None) == ""


def test_both_forms_of_the_report_say_it() -> None:
    """And only where a board was measured."""
    report = make_report(board=BOARD)
    assert "Jetson Nano, MAXN" in render_markdown(report)
    assert "Jetson Nano, MAXN" in render_html(report)
    assert "measured on the board" not in render_markdown(make_report())

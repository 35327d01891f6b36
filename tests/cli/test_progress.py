"""What a person sees on stderr while work goes on."""

import io

import pytest

from budgetc.cli.progress import Display


class Terminal(io.StringIO):
    """A stream on which a person watches."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_bar_on_a_terminal() -> None:
    """On a terminal the line moves in place, and sentences stand on lines of their own."""
    stream = Terminal()
    display = Display(stream)
    display.progress("training", 3, 12)
    assert stream.getvalue() == "\r\x1b[Ktraining [######                  ] 3/12"
    display.say("done")
    assert stream.getvalue().endswith("3/12\r\x1b[Kdone\n")


def test_bar_vanishes_at_the_end() -> None:
    """The finished line is cleared, also where the last step was not drawn."""
    stream = Terminal()
    display = Display(stream)
    display.progress("training", 1, 2)
    display.progress("training", 2, 2)
    assert stream.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize("of", [0, 5])
def test_no_bar_in_a_log(of: int) -> None:
    """Where nobody watches there is no bar, only sentences."""
    stream = io.StringIO()
    display = Display(stream)
    display.progress("training", 1, of)
    display.say("baseline: 3 B")
    assert stream.getvalue() == "baseline: 3 B\n"

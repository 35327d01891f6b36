import pytest

from budgetc.errors import UsageError
from budgetc.measurement.board.address import Address, parse_address


def test_all_parts() -> None:
    """User, host, port and Python are read, and shown again without the Python."""
    found = parse_address("ssh://nano@10.0.0.7:2222?python=python3.8", {})
    assert found == Address("10.0.0.7", "nano", 2222, "python3.8")
    assert str(found) == "ssh://nano@10.0.0.7:2222"


def test_own_options_come_after_those_that_keep_it_safe() -> None:
    """Of an option that is given twice ssh takes the first: nobody can switch the check of host keys off."""
    line = parse_address("ssh://board", {"BUDGETC_SSH_OPTIONS": "-o StrictHostKeyChecking=no -i 'my key'"}).command()
    assert line.index("StrictHostKeyChecking=yes") < line.index("StrictHostKeyChecking=no")
    assert "my key" in line and line[-2:] == ["--", "board"]


@pytest.mark.parametrize(
    "url",
    ["nano@board", "http://board", "ssh://", "ssh://u:secret@board", "ssh://board/path", "ssh://board:port",
     "ssh://[::1", "ssh://board:0",
     "ssh://-oProxyCommand=x", "ssh://board?shell=x", "ssh://board?python=a b", "ssh://board?python=-c"],
)  # fmt: skip
def test_anything_else_is_refused(url: str) -> None:
    """What is no board, and what ssh or a shell could take for an option, is never tried."""
    with pytest.raises(UsageError, match="expected"):
        parse_address(url, {})


def test_a_name_of_the_ssh_configuration_keeps_its_case() -> None:
    """`Host MyBoard` is not `Host myboard`."""
    assert parse_address("ssh://nano@MyBoard:22", {}).host == "MyBoard"
    assert parse_address("ssh://[FE80::1]:22", {}).host == "FE80::1"


def test_options_with_an_open_quote_are_refused() -> None:
    """With the variable's name."""
    with pytest.raises(UsageError, match="BUDGETC_SSH_OPTIONS: No closing quotation"):
        parse_address("ssh://board", {"BUDGETC_SSH_OPTIONS": "-i '/x"})

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgetc.errors import ConfigError
from budgetc.load.yaml_file import parse_yaml, read_yaml

HERE = Path("file.yaml")


def parsed(text: str) -> object:
    return parse_yaml(text.encode(), HERE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("25 ms", "25 ms"),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("-5", -5),
        (".5", 0.5),
        ("3.", 3.0),
        ("true", True),
        ("~", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("[a, [1, 2.5]]", ["a", [1, 2.5]]),
        ("{a: {b: }}", {"a": {"b": None}}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    """Values are what the YAML 1.2 core schema says, with their exact types."""
    found = parsed(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", r"file.yaml: line 3, column 1: key 'a' appears twice"),
        ("a: &x 1", r"line 1, column 4: anchor &x is not allowed"),
        ("a: &x {b: 1}", "anchor &x is not allowed"),
        ("- *x", r"alias \*x is not allowed"),
        ("<<: {a: 1}", "merge keys"),
        ("a: !!python/object 1", "tag .* is not allowed"),
        ("a: !!int '3'", "tag .* is not allowed"),
        ("%YAML 1.1\n---\na: 1", "directives"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("", "is empty"),
        ("# only a comment", "is empty"),
        ("1: a", "a key must be text, found '1'"),
        ("true: a", "a key must be text, found 'true'"),
        ("? [a]\n: 1", "a key must be text, found a map or a list"),
        ("a: .nan", "found .nan; expected a finite number"),
        ("a: -.inf", "found -.inf; expected a finite number"),
        ("a: 1e999", "found 1e999, which is too large"),
        ("a: 99999999999999999999", "does not fit into 64 bits"),
        ("a: " + "9" * 10_000, "does not fit into 64 bits"),
        ("a: [1, 2", "line 1, column 9: not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("\ta: 1", "not valid YAML"),
        ("a: \x01", "not valid YAML: unacceptable character"),
        ("[" * 21 + "]" * 21, "nested deeper than 20 levels"),
        ("[" * 500_000, "nested deeper than 20 levels"),
    ],
)
def test_what_is_not_plain_data_is_refused(text: str, sentence: str) -> None:
    """Every refusal says where and why."""
    with pytest.raises(ConfigError, match=sentence):
        parsed(text)


def test_twenty_levels_are_allowed() -> None:
    """The depth limit is exact."""
    assert parsed("[" * 20 + "]" * 20)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    """Latin-1 is named by the byte that gives it away."""
    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 3\)"):
        parse_yaml("a: é".encode("latin-1"), HERE)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    """More than 1 MiB is not parsed."""
    path = tmp_path / "huge.yaml"
    path.write_text("a: 1\n#" + "x" * (1 << 20))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_yaml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The reason of the system is in the sentence."""
    with pytest.raises(ConfigError, match=r"none.yaml: cannot be read .No such file"):
        read_yaml(tmp_path / "none.yaml")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder is no YAML file."""
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_yaml(tmp_path)


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    """Nobody writes to this FIFO; reading it would block for ever."""
    path = tmp_path / "fifo.yaml"
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_yaml(path)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    """No text raises anything but ConfigError."""
    try:
        parse_yaml(text.encode(), HERE)
    except ConfigError as error:
        assert str(error).startswith("file.yaml: ")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_with_a_sentence(content: bytes) -> None:
    """No bytes raise anything but ConfigError."""
    try:
        parse_yaml(content, HERE)
    except ConfigError as error:
        assert str(error).startswith("file.yaml: ")

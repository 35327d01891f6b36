"""scripts/size_limits.py: the limits that CI stops at."""

from scripts.size_limits import FILE_LINES, FUNCTION_LINES, findings


def function(lines: int) -> str:
    return "def long():\n" + "    x = 1\n" * (lines - 1)


def test_file_length() -> None:
    """A file may have 400 lines and not one more."""
    assert list(findings("x = 1\n" * FILE_LINES, "a.py")) == []
    assert list(findings("x = 1\n" * (FILE_LINES + 1), "a.py")) == [
        "a.py:1: 401 lines, at most 400: move a concept into a file of its own"
    ]


def test_function_length() -> None:
    """A function may have 60 lines and not one more."""
    assert list(findings(function(FUNCTION_LINES), "a.py")) == []
    assert list(findings(function(FUNCTION_LINES + 1), "a.py")) == ["a.py:1: long has 61 lines, at most 60"]


def test_lengths_do_not_bind_tests() -> None:
    """In tests a long function in a long file is accepted."""
    assert list(findings(function(FILE_LINES + 1), "a.py", tests=True)) == []


def test_fixtures_are_not_positional() -> None:
    """In tests a test function may use any number of fixtures, a helper may not take as many arguments."""
    assert list(findings("def test_a(a, b, c, d, e): ...", "a.py", tests=True)) == []
    assert len(list(findings("def helper(a, b, c, d, e): ...", "a.py", tests=True))) == 1
    assert len(list(findings("def test_a(a, b, c, d, e): ...", "a.py"))) == 1


def test_positional_parameters() -> None:
    """A function takes four parameters by position; keyword-only ones do not count."""
    assert list(findings("def f(a, b, /, c, d, *, e, g): ...", "a.py")) == []
    assert list(findings("async def f(a, b, /, c, d, e): ...", "a.py")) == [
        "a.py:1: f takes 5 positional parameters, at most 4: make the others keyword-only"
    ]


def test_receiver_does_not_count() -> None:
    """`self` and `cls` are free; a static method has neither."""
    assert list(findings("class A:\n    def f(self, a, b, c, d): ...", "a.py")) == []
    static = "class A:\n    @staticmethod\n    def f(a, b, c, d, e): ..."
    assert len(list(findings(static, "a.py"))) == 1


def test_nested_functions_are_found() -> None:
    """A function within a method is judged as a plain function."""
    source = "class A:\n    def f(self):\n        def g(a, b, c, d, e): ..."
    assert [found.split(":")[1] for found in findings(source, "a.py")] == ["3"]

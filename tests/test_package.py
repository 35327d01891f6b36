"""The front door: public names, and what importing them costs."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import budgetc

ROOT = Path(budgetc.__file__).resolve().parent.parent
HEAVY = {"torch", "torch_pruning", "onnx", "onnxsim", "scipy", "pydantic", "typer", "ruamel"}
# What a board imports; its Python may be 3.8.
FOR_BOARDS = ["__init__.py", "errors.py", *(f"runtime/{p.name}" for p in (ROOT / "budgetc/runtime").glob("*.py"))]


def loaded_by(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter has loaded after `statement`."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


def test_public_names() -> None:
    """The public names are these, and each of them resolves."""
    assert budgetc.__all__ == [
        "Report",
        "__version__",
        "compile",
        "evaluate",
        "load_artifact",
        "measure",
        "plan",
        "sweep",
    ]
    for name in budgetc.__all__:
        assert getattr(budgetc, name) is not None
    assert callable(budgetc.compile)


def test_types_and_interpreter_agree() -> None:
    """What a type checker sees behind a public name is what the interpreter loads."""
    tree = ast.parse((ROOT / "budgetc/__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    typed = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == budgetc._HOMES
    assert {*typed, "__version__"} == set(budgetc.__all__)


def test_version_is_the_project_s() -> None:
    """`budgetc.__version__` is the version in pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert budgetc.__version__ == tomllib.load(file)["project"]["version"]


def test_unknown_name_says_what_there_is() -> None:
    """A misspelt public name is an AttributeError that lists the right ones."""
    with pytest.raises(AttributeError, match=r"no attribute 'compil'; it offers .*compile"):
        budgetc.compil  # type: ignore[attr-defined]  # noqa: B018


def test_public_names_complete_in_a_shell() -> None:
    """`dir(budgetc)` lists the public names before they are loaded."""
    assert set(budgetc.__all__) <= set(dir(budgetc))


def test_import_loads_nothing() -> None:
    """`import budgetc` loads no other module of the package and no library."""
    loaded = loaded_by("import budgetc")
    assert [name for name in loaded if name.startswith("budgetc.")] == []
    assert loaded & (HEAVY | {"numpy", "onnxruntime", "PIL"}) == set()


def test_runtime_stays_light() -> None:
    """`import budgetc.runtime` loads no torch, and nothing else that only the compiler needs."""
    loaded = loaded_by("import budgetc.runtime")
    assert "budgetc.runtime" in loaded
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("budgetc.")} <= {
        "budgetc.errors",
        *(name for name in loaded if name.startswith("budgetc.runtime")),
    }


@pytest.mark.parametrize("file", FOR_BOARDS)
def test_board_code_parses_on_python_3_8(file: str) -> None:
    """What is imported where the artifact runs has no syntax newer than Python 3.8."""
    ast.parse((ROOT / "budgetc" / file).read_text(), feature_version=(3, 8))

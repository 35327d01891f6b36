"""Fails where a file or function is longer, or takes more positional parameters, than DESIGN allows.

Tests are exempt from the lengths; pytest passes fixtures by name, so `test_` functions are from the parameters too.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 60
POSITIONAL_PARAMETERS = 4
FOLDERS = ("budgetc", "scripts", "benchmarks", "tests")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def findings(source: str, path: str, *, tests: bool = False) -> Iterator[str]:
    """What is too large in one file, as `path:line: sentence`."""
    lines = len(source.splitlines())
    if not tests and lines > FILE_LINES:
        yield f"{path}:1: {lines} lines, at most {FILE_LINES}: move a concept into a file of its own"
    for node, is_method in _functions(ast.parse(source, path), in_class=False):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if not tests and length > FUNCTION_LINES:
            yield f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}"
        if tests and node.name.startswith("test_"):
            continue
        count = _positional(node, is_method=is_method)
        if count > POSITIONAL_PARAMETERS:
            yield (
                f"{path}:{node.lineno}: {node.name} takes {count} positional parameters, "
                f"at most {POSITIONAL_PARAMETERS}: make the others keyword-only"
            )


def _functions(node: ast.AST, *, in_class: bool) -> Iterator[tuple[Function, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child, in_class
        yield from _functions(child, in_class=isinstance(child, ast.ClassDef))


def _positional(function: Function, *, is_method: bool) -> int:
    """Parameters that a caller can give by position: without `self` or `cls`."""
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
    receiver = int(is_method and not static)
    return len(function.args.posonlyargs) + len(function.args.args) - receiver


def main() -> int:
    """Exit code: 1 with every finding on its own line, else 0."""
    root = Path(__file__).resolve().parent.parent
    found: list[str] = []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            found += findings(path.read_text(encoding="utf-8"), name, tests=folder == "tests")
    print("\n".join(found) if found else "sizes: all within the limits")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

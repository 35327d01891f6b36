"""The runtime has to work on machines that have little more than the runtime."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from budgetc.runtime import load_artifact
from tests.runtime.pictures import color, encoded
from tests.runtime.tiny import write_artifact

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "budgetc" / "runtime"
MODULES = sorted(RUNTIME.glob("*.py"))
BLOCKED = ("torch", "torch_pruning", "onnx", "onnxsim", "pydantic", "scipy", "ruamel", "typer", "safetensors")
SCORE_WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing())
import json
from budgetc.runtime import load_artifact
print(json.dumps([load_artifact(sys.argv[1]).score(sys.argv[2]).score, sorted(sys.modules)]))
"""


def test_scores_without_the_compilers_libraries(tmp_path: Path) -> None:
    """With torch, onnx, pydantic and the rest missing, an artifact loads and gives the same score."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded(color()))
    directory = write_artifact(tmp_path / "out")
    program = SCORE_WITHOUT.format(blocked=BLOCKED)
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory), str(picture)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    score, modules = json.loads(done.stdout)
    assert score == load_artifact(directory).score(picture).score
    inside = {name for name in modules if name.startswith("budgetc.") and not name.startswith("budgetc.runtime")}
    assert inside == {"budgetc.errors"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_runtime_parses_on_python_3_8(module: Path) -> None:
    """No syntax that is newer than 3.8, and annotations that 3.8 need not evaluate."""
    tree = ast.parse(module.read_text(), feature_version=(3, 8))
    annotations = [getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns")]
    modern = any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.BitOr) for one in annotations)
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
    assert lazy or not modern


def test_board_script_parses_on_python_3_6() -> None:
    """The script for the oldest boards needs neither newer syntax nor future imports that 3.6 lacks."""
    tree = ast.parse((RUNTIME / "device_score.py").read_text(), feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    standard = {
        "contextlib",
        "ctypes",
        "functools",
        "hashlib",
        "importlib",
        "io",
        "itertools",
        "json",
        "math",
        "os",
        "platform",
        "shutil",
        "stat",
        "sys",
        "typing",
    }
    assert imported == standard | {"numpy", "onnxruntime", "PIL"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_runtime_imports_only_errors_of_budgetc(module: Path) -> None:
    """Nothing of the compiler is needed to score."""
    nodes = list(ast.walk(ast.parse(module.read_text())))
    sources = {(node.module or "", alias.name) for node in nodes if isinstance(node, ast.ImportFrom)
               for alias in node.names}  # fmt: skip
    ours = {(source, name) for source, name in sources if source.split(".")[0] == "budgetc"}
    assert all(source.startswith("budgetc.runtime") or (source, name) == ("budgetc", "errors") for source, name in ours)

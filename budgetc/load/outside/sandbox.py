"""Foreign code in a process of its own, with limits; what comes back is read as data.

The limits keep a model from taking the machine; they are no jail: the code may do what the user may. That is why a
file is only run when its digest is named (`--trust-model`), and a factory only because the user named it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors.torch
from torch import Tensor

from budgetc.errors import InputRejected, UsageError
from budgetc.load.container import MAX_FILE_BYTES

CodeKind = Literal["factory", "torchscript", "pt2", "pickle"]
_MEMORY = 8 * 2**30
_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Request:
    """What to load, and how it is called in messages."""

    kind: CodeKind
    where: str
    content: bytes | None
    """Of the file, once read: nothing is opened a second time."""
    factory: str | None = None
    """`package.module:name`."""
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A network as ONNX bytes, or the tensors of a checkpoint."""

    graph: bytes | None
    weights: Mapping[str, Tensor] | None
    input_size: tuple[int, int] | None


def run_outside(request: Request) -> Answer:
    """Load foreign code in a child process and bring back what it is.

    Raises:
        UsageError: the factory cannot be imported.
        InputRejected: the code fails, exceeds a limit, or is no detector.
    """
    with tempfile.TemporaryDirectory(prefix="budgetc-") as name:
        folder = Path(name)
        if request.content is not None:
            (folder / "input").write_bytes(request.content)
        _write_request(folder, request)
        result = _run(folder, request.where)
        if "refused" in result:
            kind = UsageError if result["usage"] else InputRejected
            raise kind(f"{request.where}: {result['refused']}")
        if "weights" in result:
            return Answer(None, safetensors.torch.load(_read(folder / "weights.safetensors")), None)
        height, width = result["input_size"]
        return Answer(_read(folder / "model.onnx"), None, (height, width))


def _write_request(folder: Path, request: Request) -> None:
    content = len(request.content or b"")
    limits = {"RLIMIT_AS": _MEMORY + 8 * content, "RLIMIT_CPU": _SECONDS, "RLIMIT_FSIZE": MAX_FILE_BYTES,
              "RLIMIT_CORE": 0}  # fmt: skip
    asked = {"kind": request.kind, "factory": request.factory, "size": request.size, "limits": limits}
    (folder / "request.json").write_text(json.dumps(asked), encoding="utf-8")


def _run(folder: Path, where: str) -> dict[str, Any]:
    line = [sys.executable, "-m", "budgetc.load.outside.child", str(folder)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
            timeout=2 * _SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise InputRejected(f"{where}: its code did not end within {2 * _SECONDS} seconds") from error
    result = folder / "result.json"
    if done.returncode != 0 or not result.is_file():
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise InputRejected(
            f"{where}: its code ended the process that loaded it ({_ending(done.returncode)}; {last[0]})"
        )
    found: dict[str, Any] = json.loads(_read(result))
    return found


def _ending(code: int) -> str:
    return f"signal {-code}; more than {_MEMORY >> 30} GiB, or {_SECONDS} s?" if code < 0 else f"exit {code}"


def _read(file: Path) -> bytes:
    if file.is_symlink() or not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
        raise InputRejected(f"{file.name} of a foreign model is missing, a link or too large")
    return file.read_bytes()

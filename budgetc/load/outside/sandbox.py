"""Foreign code in a process of its own, with limits; what comes back is read as data.

The limits keep a model from taking the machine; they are no jail: the code may do what the user may. That is why a
file is only run when its digest is named (`--trust-model`), and a factory only because the user named it.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
from pydantic import ValidationError
from torch import Tensor

from budgetc.core.frozen import Frozen
from budgetc.errors import InputRejected, UsageError
from budgetc.load.container import MAX_FILE_BYTES, read_regular

CodeKind = Literal["factory", "torchscript", "pt2", "pickle"]
_MEMORY = 8 * 2**30
_SECONDS = 300
_MAX_RESULT_BYTES = 64 * 2**10
_LIMITS = (signal.SIGKILL, signal.SIGXCPU, signal.SIGSEGV, signal.SIGABRT)
"""How a process ends that met one of them."""
_LAST_WORDS = 4096
"""Bytes of the error stream that are read: foreign code may write without end."""


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


class _Result(Frozen):
    """What the child says of its work."""

    kind: Literal["network", "weights", "refused"]
    reason: str = ""
    usage: bool = False
    """Whether it was refused because of how it was asked."""


def run_outside(request: Request) -> Answer:
    """Load foreign code in a child process and bring back what it is.

    Raises:
        UsageError: the factory has no such name, or cannot be imported.
        InputRejected: the code fails, exceeds a limit, or is no detector.
    """
    if request.factory is not None:
        _check_name(request.factory)
    with tempfile.TemporaryDirectory(prefix="budgetc-") as name:
        folder = Path(name)
        if request.content is not None:
            (folder / "input").write_bytes(request.content)
        _write_request(folder, request)
        _run(folder, request.where)
        try:
            return _answer(folder, request.where)
        except (ValidationError, safetensors.SafetensorError, _NoFile) as error:
            reason = str(error).splitlines()[0][:200]
            raise InputRejected(
                f"{request.where}: its code ran, but what it left behind is no answer ({reason})"
            ) from error


def _check_name(factory: str) -> None:
    if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", factory) is None or factory.split(":")[0].endswith(".py"):
        meant = re.sub(r"\.py(?=:)", "", factory).replace("/", ".")
        hint = f"; did you mean {meant}?" if meant != factory else ", such as mymodels.unet:make"
        if Path(factory).is_absolute():
            hint = f"; run budgetc in {Path(factory).parent}, and name {meant.rpartition('.')[2]}"
        raise UsageError(f"--detector {factory}: expected package.module:factory{hint}")


class _NoFile(Exception):
    """A file of the answer that is missing, a link, or too large."""


def _answer(folder: Path, where: str) -> Answer:
    result = _Result.model_validate_json(_read(folder / "result.json", _MAX_RESULT_BYTES))
    match result.kind:
        case "network":
            return Answer(_read(folder / "model.onnx"), None)
        case "weights":
            return Answer(None, safetensors.torch.load(_read(folder / "weights.safetensors")))
        case "refused":
            raise (UsageError if result.usage else InputRejected)(f"{where}: {result.reason}")


def _read(file: Path, most: int = MAX_FILE_BYTES) -> bytes:
    try:
        if file.lstat().st_size > most:
            raise _NoFile(f"{file.name} is too large")
        return read_regular(file, follow=False)
    except (InputRejected, OSError) as error:
        raise _NoFile(f"{file.name} is missing, empty or a link") from error


def _write_request(folder: Path, request: Request) -> None:
    content = len(request.content or b"")
    limits = {"RLIMIT_AS": _MEMORY + 8 * content, "RLIMIT_CPU": _SECONDS, "RLIMIT_FSIZE": MAX_FILE_BYTES,
              "RLIMIT_CORE": 0}  # fmt: skip
    asked = {"kind": request.kind, "factory": request.factory, "size": request.size, "limits": limits}
    (folder / "request.json").write_text(json.dumps(asked), encoding="utf-8")


def _run(folder: Path, where: str) -> None:
    """Let the child work; every process that it started in its session ends with it."""
    # -P: what is called like a library in the present folder is not run for it.
    line = [sys.executable, "-P", "-m", "budgetc.load.outside.child", str(folder)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    # A file: a pipe would be held open by what the child leaves running, and could fill this process's memory.
    with (folder / "stderr").open("w+b") as words:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words, env=environment,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(2 * _SECONDS)
        except subprocess.TimeoutExpired as error:
            raise InputRejected(f"{where}: its code did not end within {2 * _SECONDS} seconds") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        words.seek(max(0, words.seek(0, os.SEEK_END) - _LAST_WORDS))
        said = words.read().decode(errors="replace").strip().splitlines()
    if code != 0 or not (folder / "result.json").exists():
        last = said[-1] if said else "no message"
        raise InputRejected(f"{where}: its code ended the process that loaded it ({_ending(code)}; {last})")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit {code}"
    limits = f"; more than {_MEMORY >> 30} GiB, or {_SECONDS} s of computing?" if -code in _LIMITS else ""
    return f"signal {-code}{limits}"

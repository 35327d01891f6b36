"""A fresh process that has only the runtime and one artifact, asked over a pipe."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import budgetc
from budgetc import errors
from budgetc.core.layout import ARTIFACT

_TAIL = 2000


class ScoringProcess:
    """`budgetc.runtime.probe` for one artifact; killed when the `with` block ends, however it ends.

    Raises:
        TargetUnreachable: the process cannot be started, dies, or does not answer in `timeout` seconds.
        InputRejected: the artifact or an image cannot be used.
        UsageError: there are no images.
    """

    def __init__(self, directory: Path, images: Sequence[Path], *, timeout: float = 600.0) -> None:
        if not images:
            raise errors.UsageError("no images to measure with; give at least one encoded image file")
        self.directory, self.timeout = directory, timeout
        self._command = [sys.executable, "-m", "budgetc.runtime.probe", str(directory), *map(str, images)]
        self._pending = b""

    def __enter__(self) -> Self:
        self._stderr, self._cache = tempfile.TemporaryFile(), tempfile.TemporaryDirectory()
        try:
            _install(self.directory, Path(self._cache.name))
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=_environment(self._cache.name),
                bufsize=0,
            )
        except OSError as error:
            self._release()
            raise errors.TargetUnreachable(f"cannot start {self._command[0]}: {error.strerror}") from error
        except BaseException:
            self._release()
            raise
        try:
            self.runtime = str(self._reply()["runtime"])
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ask(self, do: str, *, calls: int) -> dict[str, Any]:
        """The answer to one command of the probe."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, "calls": calls}).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._died() from error
        reply = self._reply()
        if "error" in reply:
            raise getattr(errors, reply["kind"])(reply["error"])
        return reply

    def close(self) -> None:
        """Kill the process; nothing of it is worth waiting for."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._release()

    def _release(self) -> None:
        self._stderr.close()
        self._cache.cleanup()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = monotonic() + self.timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                if not selector.select(max(0.0, deadline - monotonic())):
                    raise errors.TargetUnreachable(
                        f"{self.directory}: the scoring process gave no answer in {self.timeout:g} s; "
                        "the machine is overloaded, or the graph is far too large for it"
                    )
                block = os.read(self._process.stdout.fileno(), 1 << 16)
                if not block:
                    raise self._died()
                self._pending += block
        line, _, self._pending = self._pending.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _died(self) -> errors.TargetUnreachable:
        code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = " (9: often the kernel, out of memory)" if code == -9 else ""
        self._stderr.seek(0)
        said = self._stderr.read()[-_TAIL:].decode(errors="replace").strip() or "nothing"
        return errors.TargetUnreachable(f"{self.directory}: the scoring process {how}{hint}; it said: {said}")


def _install(directory: Path, cache: Path) -> None:
    """What is measured is what the artifact says of itself, whatever this machine has installed."""
    from budgetc.runtime.artifact import install_artifact  # here, because it loads onnxruntime
    from budgetc.runtime.spec import read_spec

    if (directory / ARTIFACT).is_file() and read_spec(directory / ARTIFACT).session.preoptimized:
        install_artifact(directory, cache=cache / "budgetc")


def _environment(cache: str) -> dict[str, str]:
    """The caller's, with this very budgetc first, an own cache, and none of the files in the current directory."""
    package = str(Path(budgetc.__file__).resolve().parent.parent)
    path = os.pathsep.join(part for part in (package, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "XDG_CACHE_HOME": cache}

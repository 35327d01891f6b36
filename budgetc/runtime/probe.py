"""A process that scores and is measured: `python -m budgetc.runtime.probe DIR IMAGE...`.

One JSON object a line. It greets with `{"runtime": ..., "pid": ...}` and answers each command on stdin:

    {"do": "warm", "calls": n}            {"total_ms": [...]}
    {"do": "time", "calls": n}            {"decode_ms": [...], "graph_ms": [...], "post_ms": [...], "total_ms": [...]}
    {"do": "memory", "calls": n}          {"base": bytes, "load": bytes, "run": bytes, "load_ms": ms};
                                          the first command or none
    {"do": "quit"}                        the end; so is a closed stdin

What goes wrong is answered by `{"error": sentence, "kind": name of the class in budgetc.errors}`.
The artifact is loaded by the first command, so that memory can be read before.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, Sequence

from budgetc import errors
from budgetc.runtime.artifact import RUNTIME, Artifact, load_artifact, read_encoded
from budgetc.runtime.device_worker import Unmeasurable, memory_of, time_calls


class Probe:
    """One artifact and the images it is measured with."""

    def __init__(self, directory: Path, images: Sequence[Path]) -> None:
        self.directory = directory
        self.images = images
        self._loaded: Artifact | None = None
        self._encoded: list[bytes] = []

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command."""
        do, calls = command.get("do"), int(command.get("calls", 1))
        if do == "warm":
            return {"total_ms": self.time(calls)["total_ms"]}
        if do == "time":
            return dict(self.time(calls))
        if do == "memory":
            return dict(self.memory(calls))
        raise errors.UsageError(f"unknown command {do!r}; expected warm, time, memory or quit")

    def time(self, calls: int) -> dict[str, list[float]]:
        """Milliseconds of each call, from encoded bytes to the judged score; starts at the first image."""
        artifact = self._load()
        if not self._encoded:
            self._encoded = [read_encoded(path) for path in self.images]
        return time_calls(artifact, self._encoded, calls)

    def memory(self, calls: int) -> dict[str, float]:
        """Bytes resident: before loading, at most while loading, at most while scoring `calls` images; load time."""
        if self._loaded is not None:
            raise errors.UsageError("memory must be the first command: the artifact is already loaded")
        try:
            return memory_of(self._load_to_score, calls)
        except Unmeasurable as error:
            raise errors.TargetUnreachable(
                f"{error}: peak memory needs Linux with the usual /proc; measure on such a machine, "
                "or remove peak_memory from the limits"
            ) from error

    def _load_to_score(self) -> Callable[[int], object]:
        artifact = self._load()
        return lambda call: artifact.score(self.images[call % len(self.images)])

    def _load(self) -> Artifact:
        if self._loaded is None:
            self._loaded = load_artifact(self.directory)
        return self._loaded


def main(arguments: Sequence[str]) -> None:
    """Answer commands from stdin until it closes."""
    # Replies get stdout for themselves: what a library prints must not break the protocol.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    probe = Probe(Path(arguments[0]), [Path(image) for image in arguments[1:]])
    _send(replies, {"runtime": RUNTIME, "pid": os.getpid()})
    for line in sys.stdin:
        command = json.loads(line)
        if command.get("do") == "quit":
            return
        try:
            reply = probe.answer(command)
        except errors.BudgetcError as error:
            reply = {"error": str(error), "kind": type(error).__name__}
        _send(replies, reply)


def _send(stream: Any, reply: dict[str, Any]) -> None:
    stream.write(json.dumps(reply) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

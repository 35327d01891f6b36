import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.pictures import color, encoded
from tests.runtime.tiny import write_artifact

ROOT = Path(__file__).parents[2]


def converse(directory: Path, *commands: dict[str, Any], images: int = 2) -> list[dict[str, Any]]:
    """The lines that a probe of the artifact writes."""
    files = []
    for i in range(images):
        files.append(directory / f"{i}.png")
        files[-1].write_bytes(encoded(color()))
    done = subprocess.run(
        [sys.executable, "-m", "budgetc.runtime.probe", str(directory), *map(str, files)],
        input="".join(json.dumps(command) + "\n" for command in commands),
        capture_output=True, text=True, cwd=ROOT, check=True, timeout=60,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_times_every_stage_of_every_call(tmp_path: Path) -> None:
    """Each stage has one positive sample a call, and the stages add up to the whole."""
    greeting, warm, timed = converse(
        write_artifact(tmp_path), {"do": "warm", "calls": 3}, {"do": "time", "calls": 7}, {"do": "quit"}
    )
    assert greeting["runtime"].startswith("onnxruntime ")
    assert len(warm["total_ms"]) == 3
    assert {stage: len(values) for stage, values in timed.items()} == dict.fromkeys(
        ("decode_ms", "graph_ms", "post_ms", "total_ms"), 7
    )
    parts = zip(timed["decode_ms"], timed["graph_ms"], timed["post_ms"], strict=True)
    assert [sum(part) for part in parts] == pytest.approx(timed["total_ms"])
    assert min(timed["decode_ms"] + timed["graph_ms"] + timed["post_ms"]) > 0


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from Linux's /proc")
def test_memory_is_above_its_base(tmp_path: Path) -> None:
    """Loading and scoring need more than the interpreter and the runtime, which need tens of megabytes."""
    _, memory = converse(write_artifact(tmp_path), {"do": "memory", "calls": 5})
    assert 10_000_000 < memory["base"] < memory["load"]
    assert memory["base"] < memory["run"]


def test_memory_must_come_first(tmp_path: Path) -> None:
    """Once something is loaded there is no base to read; the probe says so and goes on."""
    _, _, refused, again = converse(
        write_artifact(tmp_path), *[{"do": do, "calls": 1} for do in ("warm", "memory", "warm")]
    )
    assert refused["kind"] == "UsageError"
    assert "memory must be the first command" in refused["error"]
    assert len(again["total_ms"]) == 1


def test_bad_artifact_is_answered_with_its_error(tmp_path: Path) -> None:
    """What cannot be loaded is an answer, not a dead process."""
    _, reply = converse(write_artifact(tmp_path, threads=0), {"do": "warm", "calls": 1})
    assert reply["kind"] == "InputRejected"
    assert "threads is 0" in reply["error"]


def test_unknown_command_is_named(tmp_path: Path) -> None:
    """A typo in a command is no silence."""
    _, reply = converse(write_artifact(tmp_path), {"do": "tim"})
    assert "unknown command 'tim'" in reply["error"]

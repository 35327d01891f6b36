"""`run`, `verify`, `check`, `inspect` on an artifact, also where the compiler's libraries are missing."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from budgetc.core.session import SessionOptions
from budgetc.report.schema import Report
from budgetc.runtime import load_artifact
from tests.cli.command import Command, run_without
from tests.report.example import described, make_report, write_out
from tests.runtime.pictures import color, encoded
from tests.runtime.tiny import MONITOR, write_artifact

COMPILERS = ("torch", "torch_pruning", "onnx", "onnxsim", "scipy", "safetensors")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact that scores."""
    return write_artifact(tmp_path / "artifact")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image file."""
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(color()))
    return path


@pytest.fixture
def strict(tmp_path: Path) -> Path:
    """A budget that the example artifact does not keep."""
    path = tmp_path / "strict.yaml"
    path.write_text("target: host-cpu\nlimits:\n  latency_p95: 1 ms\n")
    return path


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """A budget that the example artifact keeps."""
    path = tmp_path / "loose.yaml"
    path.write_text("target: host-cpu\nlimits:\n  latency_p95: 90 ms\n")
    return path


def test_run_prints_a_line_an_image(budgetc: Command, artifact: Path, picture: Path) -> None:
    """`run` prints score, judgement and file, separated by tabs."""
    found = load_artifact(artifact).score(picture)
    ended = budgetc("run", artifact, picture, picture)
    line = f"{found.score:.6g}\t{'anomalous' if found.anomalous else 'normal'}\t{picture}\n"
    assert (ended.code, ended.out, ended.err) == (0, line * 2, "")


def test_run_goes_on_after_a_bad_image(budgetc: Command, artifact: Path, picture: Path, tmp_path: Path) -> None:
    """Unreadable images are named at the end with exit 4, and the others are scored."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:40])
    ended = budgetc("run", artifact, broken, tmp_path / "absent.png", picture)
    assert ended.code == 4
    assert ended.out.count("\n") == 1
    assert "2 of 3 images could not be scored" in ended.err
    assert "broken.png" in ended.err and "absent.png" in ended.err


def test_run_judges_by_the_threshold_of_a_category(budgetc: Command, tmp_path: Path, picture: Path) -> None:
    """A category without one is exit 2, before anything is scored."""
    score = load_artifact(write_artifact(tmp_path / "artifact")).score(picture).score
    artifact = write_artifact(tmp_path / "artifact", threshold=score + 1, thresholds={"brick": score - 1})
    assert "\tnormal\t" in budgetc("run", artifact, picture).out
    assert "\tanomalous\t" in budgetc("run", artifact, picture, "--category", "brick").out
    found = json.loads(budgetc("run", artifact, picture, "--category", "brick", "--json").out)
    assert found["threshold"] == score - 1
    ended = budgetc("run", artifact, picture, "--category", "brik")
    assert (ended.code, ended.out) == (2, "")
    assert "category 'brik' has no threshold of its own in this artifact, whose are: brick" in ended.err


def test_run_as_json(budgetc: Command, artifact: Path, picture: Path) -> None:
    """`run --json` prints one object, also when images are unreadable."""
    ended = budgetc("run", artifact, picture, "absent.png", "--json")
    found = json.loads(ended.out)
    assert ended.code == 4
    assert found["schema_version"] == 1
    assert found["images"][0]["score"] == load_artifact(artifact).score(picture).score
    assert [one["file"] for one in found["unreadable"]] == ["absent.png"]


def test_run_monitors_frames(budgetc: Command, tmp_path: Path, picture: Path) -> None:
    """`run --monitor` adds p-value, martingale, CUSUM and alarm to each line; unreadable frames are left out."""
    out = write_artifact(tmp_path / "frames", monitor={**MONITOR, "lowest": -9.0})
    score = load_artifact(out).score(picture).score
    monitor = load_artifact(out).monitor()
    states = [monitor.update(score) for _ in range(24)]
    frames = [*[picture] * 12, "absent.png", *[picture] * 12]
    ended = budgetc("run", out, *frames, "--monitor", "--json")
    assert ended.code == 4
    assert json.loads(ended.out)["images"] == [
        {"file": str(picture), "score": score, "anomalous": score > 0.5, **asdict(state)} for state in states
    ]
    lines = budgetc("run", out, *frames, "--monitor").out.splitlines()
    assert [line.split("\t")[2:6] for line in lines] == [
        [f"p={one.p_value:.4g}", f"log_martingale={one.log_martingale:.4g}", f"cusum={one.cusum:.4g}",
         "alarm" if one.alarm else "-"] for one in states
    ]  # fmt: skip
    assert (states[0].alarm, states[-1].alarm) == (False, True)


def test_run_monitors_no_pictures(budgetc: Command, artifact: Path, picture: Path) -> None:
    """An artifact whose data were no frames has no monitor: exit 4."""
    ended = budgetc("run", artifact, picture, "--monitor")
    assert (ended.code, ended.out) == (4, "")
    assert "has no monitor: compile with frames" in ended.err


def test_run_without_the_compilers_libraries(artifact: Path, picture: Path) -> None:
    """`run` scores where nothing can be compiled."""
    ended = run_without((*COMPILERS, "ruamel"), "run", artifact, picture, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["images"][0]["score"] == load_artifact(artifact).score(picture).score


def test_verify_without_the_compilers_libraries(out: Path) -> None:
    """`verify` re-checks an artifact where nothing can be compiled."""
    ended = run_without((*COMPILERS, "onnxruntime", "numpy", "PIL"), "verify", out)
    assert ended.code == 0, ended.err
    assert "It holds." in ended.out


def test_check_without_the_compilers_libraries(out: Path, strict: Path) -> None:
    """`check` judges an artifact where nothing can be compiled."""
    ended = run_without((*COMPILERS, "onnxruntime", "numpy", "PIL"), "check", out, "--budget", strict)
    assert ended.code == 3, ended.err
    assert "strict: not compliant" in ended.out


def test_verify_of_a_changed_artifact(budgetc: Command, out: Path) -> None:
    """One changed byte exits 3 and names the file."""
    (out / "model.onnx").write_bytes(b"?" + (out / "model.onnx").read_bytes()[1:])
    ended = budgetc("verify", out)
    assert ended.code == 3
    assert "FAILS  every digest matches" in ended.out
    assert "model.onnx was changed" in ended.out


def test_verify_as_json(budgetc: Command, out: Path) -> None:
    """`verify --json` is one object with every check."""
    found = json.loads(budgetc("verify", out, "--json").out)
    assert (found["schema_version"], found["holds"]) == (1, True)
    assert all(check["holds"] for check in found["checks"])
    assert found["verdict"]["overall"] == "compliant"


@pytest.mark.parametrize("command", ["verify", "run"])
def test_no_artifact(budgetc: Command, tmp_path: Path, command: str) -> None:
    """A folder of something else, or no folder, exits 4."""
    rest = () if command == "verify" else ("picture.png",)
    for path in (tmp_path, tmp_path / "absent"):
        ended = budgetc(command, path, *rest)
        assert ended.code == 4
        assert "artifact" in ended.err


def test_check_of_a_kept_budget(budgetc: Command, out: Path, loose: Path) -> None:
    """A budget that is kept exits 0; a table on stdout shows value and bound."""
    ended = budgetc("check", out, "--budget", loose)
    assert (ended.code, ended.err) == (0, "")
    assert "latency_p95" in ended.out and "90 ms" in ended.out


@pytest.mark.parametrize("installed", [True, False])
def test_check_names_an_install_step(budgetc: Command, tmp_path: Path, installed: bool) -> None:
    """Beside memory that was measured after it, and only there."""

    def make(digests: dict[str, str], size: int) -> Report:
        report = described(digests, size)
        assert report.artifact is not None
        session = SessionOptions(preoptimized=installed)
        return report.model_copy(update={"artifact": report.artifact.model_copy(update={"session": session})})

    write_out(tmp_path / "out", make)
    budget = tmp_path / "memory.yaml"
    budget.write_text("target: host-cpu\nlimits: {latency_p95: 90 ms, peak_memory: 256 MiB}\n")
    ended = budgetc("check", tmp_path / "out", "--budget", budget)
    noted = [line.split()[0] for line in ended.out.splitlines() if "holds after `budgetc install`" in line]
    assert (ended.code, noted) == (0, ["peak_memory"] * installed)


def test_check_as_json(budgetc: Command, out: Path, strict: Path) -> None:
    """`check --json` is one object with the verdict, and exit 3 when it is broken."""
    ended = budgetc("check", out, "--budget", strict, "--json")
    assert ended.code == 3
    found = json.loads(ended.out)
    assert (found["schema_version"], found["overall"]) == (1, "not compliant")


def test_check_that_cannot_be_decided(budgetc: Command, out: Path, tmp_path: Path) -> None:
    """A limit that nothing was measured for exits 5."""
    path = tmp_path / "energy.yaml"
    path.write_text("target: host-cpu\nlimits:\n  energy_per_image: 50 mJ\n")
    ended = budgetc("check", out, "--budget", path)
    assert ended.code == 5
    assert "not measured" in ended.out


def test_inspect_of_an_artifact(budgetc: Command, artifact: Path) -> None:
    """`inspect` of an artifact lists its specification, bytes, opset and operators."""
    found = json.loads(budgetc("inspect", artifact, "--json").out)
    assert found["files"]["model.onnx"] == (artifact / "model.onnx").stat().st_size
    assert found["graph"]["opset"] == {"ai.onnx": 17}
    assert found["graph"]["operators"]["Conv"] == 1
    text = budgetc("inspect", artifact).out
    assert "  thresholds: none\n" in text and "    memory_pattern: yes\n" in text
    assert not any(mark in text for mark in ("{", "(", "True"))
    ended = budgetc("inspect", artifact, "--target", "jetson-nano-gpu")
    assert ended.code == 2 and "budgetc explain" in ended.err


def test_inspect_without_onnx(artifact: Path) -> None:
    """Where onnx is missing, `inspect` says everything but what stands in the graph."""
    ended = run_without(COMPILERS, "inspect", artifact)
    assert ended.code == 0, ended.err
    assert "threshold: 0.5" in ended.out
    assert "graph: -" in ended.out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_run_does_not_wait_for_a_fifo(budgetc: Command, artifact: Path, picture: Path, tmp_path: Path) -> None:
    """What is no regular file is named like any unreadable image; the others are scored."""
    os.mkfifo(tmp_path / "fifo.png")
    ended = budgetc("run", artifact, tmp_path / "fifo.png", picture)
    assert (ended.code, ended.out.count("\n")) == (4, 1)
    assert "fifo.png: is not a regular file" in ended.err


def test_run_on_what_is_no_image(budgetc: Command, artifact: Path) -> None:
    """The sentence is about the file, not about an object in memory."""
    ended = budgetc("run", artifact, artifact / "artifact.json")
    assert ended.code == 4
    assert "of no known format; expected a complete file" in ended.err
    assert "BytesIO" not in ended.err


def test_check_for_another_target(budgetc: Command, out: Path, tmp_path: Path) -> None:
    """Numbers of one device say nothing about another: `check` exits 2, also where the target is unknown."""
    from budgetc.load.config import load_target

    path, other = tmp_path / "other.yaml", tmp_path / "line-pc.yaml"
    other.write_text(load_target("host-cpu").path.read_text().replace("name: host-cpu", "name: line-pc"))
    path.write_text("target: line-pc.yaml\nlimits:\n  latency_p95: 90 ms\n")
    ended = budgetc("check", out, "--budget", path)
    assert (ended.code, ended.out) == (2, "")
    assert "target is line-pc, but the numbers of" in ended.err and "are for host-cpu" in ended.err
    path.write_text("target: jetson\nlimits:\n  latency_p95: 90 ms\n")
    ended = budgetc("check", out, "--budget", path)
    assert (ended.code, "unknown target 'jetson'" in ended.err) == (2, True)


def test_evaluate_on_the_data_of_the_search(budgetc: Command, artifact: Path, data: Path) -> None:
    """`evaluate` warns that its figures are optimistic where the artifact was compiled with this very data."""
    from budgetc.load.datasets import load_dataset

    line = ("evaluate", artifact, "--data", data)
    (artifact / "report.json").write_text(make_report().model_dump_json())
    assert "optimistic" not in budgetc(*line).err
    (artifact / "report.json").write_text(make_report(inputs={"data": load_dataset(data).digest}).model_dump_json())
    ended = budgetc(*line)
    assert ended.code == 0, ended.err
    assert "the data it was compiled with" in ended.err


def test_install_caches_the_graph_that_run_loads(
    budgetc: Command, artifact: Path, picture: Path, tmp_path: Path
) -> None:
    """The score is the same, and the model file is not read again."""
    before = budgetc("run", artifact, picture).out
    ended = budgetc("install", artifact, "--cache", tmp_path / "cache", "--json")
    graph = Path(json.loads(ended.out)["graph"])
    assert (ended.code, graph.is_file(), graph.parent.parent) == (0, True, tmp_path / "cache")
    assert json.loads(ended.out)["bytes"] == sum(file.stat().st_size for file in graph.parent.iterdir())
    (artifact / "model.onnx").write_bytes(b"")
    assert budgetc("run", artifact, picture, "--cache", tmp_path / "cache").out == before
    assert budgetc("install", artifact, "--cache", tmp_path / "cache").code == 4


def test_run_says_in_a_sentence_why_a_cached_graph_is_not_used(
    budgetc: Command, artifact: Path, picture: Path, tmp_path: Path
) -> None:
    """Without the file and line of the program that Python puts before a warning."""
    budgetc("install", artifact, "--cache", tmp_path / "cache")
    graph = next((tmp_path / "cache").glob("*/graph.onnx"))
    graph.write_bytes(b"")
    ended = budgetc("run", artifact, picture, "--cache", tmp_path / "cache")
    advice = "model.onnx is loaded instead; `budgetc install` makes it again"
    assert ended.code == 0
    assert ended.err == f"warning: {graph.parent}: the optimized graph is damaged; {advice}\n"


def test_run_tells_of_the_installation(budgetc: Command, picture: Path, tmp_path: Path) -> None:
    """Where memory was measured with an optimized graph that is not there, in one line."""
    out = write_artifact(tmp_path / "out", session={"preoptimized": True})
    before = budgetc("run", out, picture, "--cache", tmp_path / "cache")
    assert (before.code, before.err.count("\n")) == (0, 1)
    assert f"`budgetc install {out}` makes it load faster, and with the memory that was promised" in before.err
    budgetc("install", out, "--cache", tmp_path / "cache")
    after = budgetc("run", out, picture, "--cache", tmp_path / "cache")
    assert (after.code, after.out, after.err) == (0, before.out, "")


def test_inspect_and_evaluate_are_about_the_file(
    budgetc: Command, artifact: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed model is refused though its optimized graph is in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    budgetc("install", artifact)
    (artifact / "model.onnx").write_bytes(b"changed")
    for ended in (budgetc("inspect", artifact), budgetc("evaluate", artifact, "--data", data)):
        assert (ended.code, "changed or damaged" in ended.err) == (4, True)

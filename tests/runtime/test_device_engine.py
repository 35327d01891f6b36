"""TensorRT on a board: `trtexec`, TensorRT's Python and CUDA are fakes, everything between them is real."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budgetc.runtime import device_engine, device_score, load_artifact
from tests.runtime import fake_tensorrt
from tests.runtime.pictures import encoded
from tests.runtime.tiny import write_artifact

_TRTEXEC = """#!/bin/sh
echo "$@" >> {log}
for word in "$@"; do
    case "$word" in
        --help) echo "{usage}"; exit 0;;
        --onnx=*) model="${{word#--onnx=}}";;
        --saveEngine=*) engine="${{word#--saveEngine=}}";;
    esac
done
{{ printf engine:; cat "$model"; }} > "$engine"
"""


def write_trtexec(folder: Path, log: Path, usage: str = "--workspace=N") -> None:
    """The program that builds engines."""
    (folder / "trtexec").write_text(_TRTEXEC.format(log=log, usage=usage))
    (folder / "trtexec").chmod(0o755)


def fake_board(kit: Path, log: Path) -> None:
    """Turn this machine into one with JetPack, for the scripts of a kit."""
    (kit / "bin").mkdir()
    write_trtexec(kit / "bin", log)
    shutil.copy(str(fake_tensorrt.__file__), kit / "tensorrt.py")


@dataclass(frozen=True)
class Board:
    """`OUT/device/` on a board with JetPack."""

    folder: Path

    def score(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """`python3 score.py`."""
        path = f"{self.folder / 'bin'}:/usr/bin:/bin"
        environment = {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONPATH": ""}
        return subprocess.run(
            [sys.executable, str(self.folder / "device" / "score.py"), *map(str, arguments)],
            capture_output=True, text=True, timeout=60, check=False, env=environment,
        )  # fmt: skip

    def built(self) -> list[str]:
        """Command lines of all builds."""
        lines = (self.folder / "log").read_text().splitlines() if (self.folder / "log").exists() else []
        return [line for line in lines if "--help" not in line]


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board with everything but an engine."""
    out = write_artifact(tmp_path / "artifact")
    (tmp_path / "bin").mkdir()
    (tmp_path / "device").mkdir()
    shutil.copy(out / "model.onnx", tmp_path / "device" / "model.onnx")
    config = json.loads((out / "artifact.json").read_text())
    config |= {"runtime": "tensorrt", "workspace_mib": 64, "fp16": True}
    (tmp_path / "device" / "config.json").write_text(json.dumps(config))
    for name, module in (("score", device_score), ("engine", device_engine), ("tensorrt", fake_tensorrt)):
        shutil.copy(str(module.__file__), tmp_path / "device" / f"{name}.py")
    write_trtexec(tmp_path / "bin", tmp_path / "log")
    return Board(tmp_path)


@pytest.fixture
def normals(tmp_path: Path) -> list[Path]:
    """Twenty-four pictures that differ."""
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{number}.png" for number in range(24)]
    for file in files:
        file.write_bytes(encoded(Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))))
    return files


def test_the_engine_is_built_once_and_scores(board: Board, normals: list[Path]) -> None:
    """With a workspace cap and FP16; its scores are the engine's, and a second start builds nothing."""
    done = board.score("--install", normals[0])
    assert done.returncode == 0, done.stderr
    again = board.score(normals[0])
    expected = load_artifact(board.folder / "artifact").score(normals[0]).score + fake_tensorrt.SHIFT
    assert json.loads(again.stdout)["score"] == pytest.approx(expected, abs=1e-5) == json.loads(done.stdout)["score"]
    assert len(board.built()) == 1
    assert "--workspace=64" in board.built()[0] and "--fp16" in board.built()[0]


def test_newer_versions_name_the_cap_differently(board: Board, normals: list[Path]) -> None:
    """8.4 and later."""
    write_trtexec(board.folder / "bin", board.folder / "log", usage="--memPoolSize=poolspec")
    assert board.score("--install", normals[0]).returncode == 0
    assert "--memPoolSize=workspace:64" in board.built()[0]


def test_the_threshold_is_fitted_to_the_engine(board: Board, normals: list[Path]) -> None:
    """5 % of the good images lie above it, as when the compiler fits it; without, a sentence says what to do."""
    assert "the threshold is that of another runtime" in board.score("--install", normals[0]).stderr
    done = board.score("--install", "--normals", *normals)
    assert done.returncode == 0, done.stderr
    scored = board.score(*normals)
    assert "threshold" not in scored.stderr
    lines = [json.loads(line) for line in scored.stdout.splitlines()]
    threshold = np.quantile([line["score"] for line in lines], 0.95)
    assert [line["anomalous"] for line in lines] == [line["score"] > threshold for line in lines]
    assert sum(line["anomalous"] for line in lines) == 2


def test_too_few_normals(board: Board, normals: list[Path]) -> None:
    """A quantile of a handful is luck."""
    done = board.score("--install", "--normals", *normals[:5])
    assert done.returncode == 2
    assert "5 good images with a score, and the threshold needs 20 or more" in done.stderr


def test_no_engine_yet(board: Board, normals: list[Path]) -> None:
    """Nothing is scored by anything else."""
    done = board.score(normals[0])
    assert (done.returncode, done.stdout) == (4, "")
    assert "there is no engine for this board yet; build it: score.py --install" in done.stderr


def test_no_trtexec(board: Board, normals: list[Path]) -> None:
    """Said with the package that has it."""
    (board.folder / "bin" / "trtexec").unlink()
    done = board.score("--install", normals[0])
    assert done.returncode == 2
    assert "there is no trtexec" in done.stderr and "libnvinfer-bin" in done.stderr


def test_no_python_module(board: Board, normals: list[Path]) -> None:
    """Found out before the minutes of a build."""
    (board.folder / "device" / "tensorrt.py").unlink()
    done = board.score("--install", normals[0])
    assert done.returncode == 2
    assert "Python has no module tensorrt" in done.stderr and board.built() == []


def test_a_graph_that_trtexec_refuses(board: Board, normals: list[Path]) -> None:
    """With its last words."""
    (board.folder / "bin" / "trtexec").write_text("#!/bin/sh\necho 'No importer registered for op: BitShift'\nexit 1\n")
    done = board.score("--install", normals[0])
    assert done.returncode == 2
    assert "ended with 1: No importer registered for op: BitShift" in done.stderr


def test_an_engine_of_another_board(board: Board, normals: list[Path]) -> None:
    """What TensorRT refuses is not used."""
    assert board.score("--install", normals[0]).returncode == 0
    (place,) = (board.folder / "cache" / "budgetc").iterdir()
    (place / "engine.plan").write_bytes(b"other")
    digests = json.loads((place / "digests.json").read_text())
    digests["engine.plan"] = device_score.digest(str(place / "engine.plan"))
    (place / "digests.json").write_text(json.dumps(digests))
    done = board.score(normals[0])
    assert done.returncode == 4
    assert "refuses the engine; build it again on this board" in done.stderr


def test_normals_are_for_engines_only(tmp_path: Path, normals: list[Path]) -> None:
    """onnxruntime keeps the scores."""
    out = write_artifact(tmp_path / "out")
    (out / "device").mkdir()
    shutil.copy(str(device_score.__file__), out / "device" / "score.py")
    done = subprocess.run(
        [sys.executable, str(out / "device" / "score.py"), "--install", "--normals", *map(str, normals)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "c")},
    )  # fmt: skip
    assert done.returncode == 2
    assert "--normals is for TensorRT" in done.stderr

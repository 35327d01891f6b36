"""Frames -> flow fields -> scores, in the library and in the script that boards run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budgetc.errors import InputRejected, UsageError
from budgetc.runtime import device_engine, device_flow, device_score
from budgetc.runtime.artifact import Artifact, load_artifact
from budgetc.runtime.device_flow import MIDDLE, FlowStream
from budgetc.runtime.flow import new_stream, to_frame
from budgetc.runtime.preprocess import resize_rgb
from tests.load.clips import SIZE, draw_clip, jumping, scene
from tests.measurement.scene import write_flow_artifact
from tests.runtime.test_device_engine import fake_board

FIELDS = (24, 32)


def _frame(left: int, top: int = 60) -> np.ndarray:
    return np.asarray(scene(4).crop((left, top, left + SIZE[0], top + SIZE[1])).convert("RGB"))


def _stream() -> FlowStream:
    return new_stream(FIELDS, 6, 4.0)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flow_artifact(tmp_path_factory.mktemp("flow") / "out")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return draw_clip(tmp_path_factory.mktemp("frames"), 12, seed=5, path=jumping)


def test_a_still_camera_sees_no_motion() -> None:
    """Every byte is the middle, but for a few at the border."""
    stream = _stream()
    for _ in range(7):
        fields = stream.take(_frame(60))
    assert fields.shape == (12, *FIELDS) and fields.dtype == np.uint8
    assert np.median(fields) == MIDDLE
    assert np.abs(fields.astype(int) - MIDDLE).mean() < 0.5


def test_horizontal_fields_come_first_and_the_oldest_of_them() -> None:
    """The camera stands for five frames and then moves to the right: the scene moves to the left, in the last field."""
    stream = _stream()
    for left in (60, 60, 60, 60, 60, 60, 62):
        fields = stream.take(_frame(left))
    means = fields.mean((1, 2)) - MIDDLE
    assert means[:5] == pytest.approx(np.zeros(5), abs=0.5)
    assert means[5] < -10
    assert abs(means[11]) < 0.3 * abs(means[5])


def test_a_field_starts_from_the_one_before() -> None:
    """Even motion is found better frame after frame: one iteration alone falls short of two pixels."""
    stream = _stream()
    for number in range(7):
        fields = stream.take(_frame(60 + 2 * number))
    means = np.abs(fields[:6].mean((1, 2)) - MIDDLE)
    assert means[5] > 1.1 * means[0]


def test_motion_beyond_the_largest_is_clipped() -> None:
    """To the outermost bytes, never around."""
    stream = new_stream(FIELDS, 1, 0.01)
    stream.push(_frame(60))
    assert set(np.unique(stream.take(_frame(62)))) <= {1, *range(1, 256)}
    assert {1, 255} & set(np.unique(stream.fields()))
    assert 0 not in stream.fields()


def test_frames_are_counted_and_forgotten() -> None:
    """Seven frames make six fields, and after `reset` seven more are needed."""
    stream = _stream()
    assert stream.missing == 7
    left = []
    for number in range(8):
        stream.push(_frame(60 + number))
        left.append(stream.missing)
    assert left == [6, 5, 4, 3, 2, 1, 0, 0]
    assert stream.reset().missing == 7
    assert (stream.fields() == MIDDLE).all()


def test_missing_opencv_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not an ImportError from the depth."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"needs OpenCV.*pip install 'budgetc\[flow\]'"):
        _stream()


def test_what_runs_is_what_was_trained(artifact: Path, frames: list[Path]) -> None:
    """From the seventh frame on, scores are those of the fields that training reads; its parts are declared."""
    running = load_artifact(artifact, cache=False)
    flow, stream = running.spec.flow, _training_stream(running)
    assert flow is not None and running.spec.parts == ("d_h", "d_v")
    for number, file in enumerate(frames, 1):
        found = running.score(file)
        pixels = resize_rgb(Image.open(file).convert("RGB"), flow.frame_height, flow.frame_width)
        fields = stream.take(to_frame(pixels))
        assert found.missing == max(0, 7 - number)
        if found.missing:
            assert np.isnan(found.score) and not found.anomalous
        else:
            assert found == running.score_pixels(fields)
            assert set(found.parts) == {"d_h", "d_v"}


def _training_stream(running: Artifact) -> FlowStream:
    flow = running.spec.flow
    assert flow is not None
    return new_stream((running.spec.height, running.spec.width), flow.fields, flow.largest)


def test_a_frame_that_cannot_be_read_ends_the_clip(artifact: Path, frames: list[Path]) -> None:
    """The next frame would seem to move twice as far."""
    running = load_artifact(artifact, cache=False)
    for file in frames[:8]:
        found = running.score(file)
    assert not found.missing
    with pytest.raises(InputRejected):
        running.score(b"no picture")
    assert running.score(frames[9]).missing == 6
    running.reset()
    assert running.score(frames[10]).missing == 6


def _script(artifact: Path, folder: Path, *, flow: bool = True) -> Path:
    shutil.copytree(artifact, folder, dirs_exist_ok=True)
    (folder / "device").mkdir(exist_ok=True)
    shutil.copy(str(device_score.__file__), folder / "device" / "score.py")
    if flow:
        shutil.copy(str(device_flow.__file__), folder / "device" / "flow.py")
    return folder / "device" / "score.py"


def _run(script: Path, files: list[Path]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-s", str(script), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_board_scores_as_the_library(artifact: Path, frames: list[Path], tmp_path: Path) -> None:
    """Null while frames are missing, and after a file that is no frame."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    files = [*frames[:8], broken, frames[8]]
    done = _run(_script(artifact, tmp_path / "board"), files)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    running = load_artifact(artifact, cache=False)
    expected = [running.score(file).score for file in frames[:8]]
    assert done.returncode == 4
    assert [line["score"] for line in lines[:6]] == [None] * 6
    assert [line["score"] for line in lines[6:8]] == expected[6:]
    assert "error" in lines[8] and lines[9]["score"] is None


def test_clips_stay_apart_on_the_board(artifact: Path, frames: list[Path], tmp_path: Path) -> None:
    """After `--clip` scores are those of a new process, which then says nothing of the frames before."""
    script = _script(artifact, tmp_path / "board")
    done = _run(script, [*frames[:9], Path("--clip"), *frames[3:12]])
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    alone = [json.loads(line) for line in _run(script, frames[3:12]).stdout.splitlines()]
    assert [line["file"] for line in lines] == list(map(str, [*frames[:9], *frames[3:12]]))
    assert lines[9:] == alone and [line["score"] is None for line in alone] == [True] * 6 + [False] * 3
    running = load_artifact(artifact, cache=False)
    through = [running.score(file).score for file in [*frames[:9], *frames[3:12]]]
    assert through[-3:] != [line["score"] for line in lines[-3:]]  # or nothing would have been forgotten


def test_a_threshold_is_fitted_to_frames_that_have_a_score(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a board with TensorRT; frames that come after the fit begin a clip of their own."""
    script = _script(artifact, tmp_path / "board")
    fake_board(script.parent, tmp_path / "log")
    shutil.copy(str(device_engine.__file__), script.parent / "engine.py")
    config = json.loads((artifact / "artifact.json").read_text()) | {"runtime": "tensorrt"}
    (script.parent / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("PATH", f"{script.parent / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    clips = [draw_clip(tmp_path / name, 17, seed=seed) for seed, name in enumerate(("one", "two"))]
    few = _run(script, [Path("--install"), Path("--normals"), *clips[0]])
    assert few.returncode == 2 and "11 good images with a score" in few.stderr
    done = _run(script, [Path("--install"), Path("--normals"), *clips[0], Path("--clip"), *clips[1]])
    assert done.returncode == 0, done.stderr
    scores = [json.loads(line)["score"] for line in done.stdout.splitlines()]
    assert [score is None for score in scores] == ([True] * 6 + [False] * 11) * 2
    kept = json.loads(next((tmp_path / "cache").rglob("threshold.json")).read_text())
    known = [score for score in scores if score is not None]
    assert kept == {"threshold": pytest.approx(np.quantile(known, 0.95)), "n": 22}


def test_a_board_without_opencv_is_told(artifact: Path, frames: list[Path], tmp_path: Path) -> None:
    """With what to install, and exit code 4."""
    script = _script(artifact, tmp_path / "board")
    (script.parent / "cv2.py").write_text("raise ImportError('no module cv2')\n")
    done = _run(script, frames)
    assert done.returncode == 4
    assert "no module cv2; motion needs OpenCV; install it there: for the system's python3 apt-get" in done.stderr
    for package in ("libopencv-python (JetPack)", "python3-opencv (Debian", "pip install opencv-python-headless"):
        assert package in done.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "lucas-kanade"}, "method is 'lucas-kanade', expected 'clahe-farneback'"),
        ({"fields": 0}, "fields is 0"),
        ({"frame_width": 8}, "frames that hold the center"),
        ({"largest": 0}, "largest is 0, expected a number above 0"),
        ({"window": 21}, "unknown field window"),
    ],
)
def test_a_wrong_flow_block_is_refused(artifact: Path, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    """Nothing is computed otherwise than in training, in silence."""
    shutil.copytree(artifact, tmp_path / "out")
    path = tmp_path / "out" / "artifact.json"
    spec = json.loads(path.read_text())
    spec["preprocessing"]["flow"].update(changes)
    path.write_text(json.dumps(spec))
    with pytest.raises(InputRejected, match=said):
        load_artifact(tmp_path / "out", cache=False)


def test_a_graph_of_fewer_fields_is_refused(artifact: Path, tmp_path: Path) -> None:
    """The file and its declaration belong together."""
    shutil.copytree(artifact, tmp_path / "out")
    path = tmp_path / "out" / "artifact.json"
    spec = json.loads(path.read_text())
    spec["preprocessing"]["flow"]["fields"] = 4
    path.write_text(json.dumps(spec))
    with pytest.raises(InputRejected, match=r"inputs are .*declares"):
        load_artifact(tmp_path / "out", cache=False)

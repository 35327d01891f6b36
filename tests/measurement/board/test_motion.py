"""Detectors of motion on a board: frames are scored in order, and optical flow is part of every call."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from budgetc.errors import InputRejected, TargetUnreachable
from budgetc.measurement.board.board import Board
from budgetc.measurement.board.job import Job
from budgetc.measurement.board.meter import memory_part, screen_part
from budgetc.measurement.board.record import parity
from budgetc.measurement.board.results import read_results
from budgetc.runtime import load_artifact
from budgetc.runtime.flow import opencv_version
from tests.load.clips import draw_clip
from tests.loopback import Loopback
from tests.measurement.board.conftest import SCORES
from tests.measurement.board.test_job import run, unpack
from tests.measurement.scene import write_flow_artifact
from tests.runtime import fake_tensorrt
from tests.runtime.test_device_engine import fake_board
from tests.small import target

_SLOW_MS = 25.0
_SLOW_OPENCV = f"""
import time
import numpy as np
__version__, COLOR_RGB2GRAY, OPTFLOW_USE_INITIAL_FLOW = "4.1.1", 7, 4

def setNumThreads(number):
    assert number == 1

def cvtColor(frame, code):
    return frame[:, :, 0]

class createCLAHE:
    def __init__(self, clipLimit, tileGridSize):
        pass

    def apply(self, gray):
        return gray

def calcOpticalFlowFarneback(before, after, start, *settings):
    time.sleep({_SLOW_MS / 1000})
    return np.ones(before.shape + (2,), np.float32)
"""


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Scores of one clip of ten frames."""
    folder = tmp_path_factory.mktemp("moving")
    return Job({"artifact": write_flow_artifact(folder / "out")}, draw_clip(folder / "clip", 10), (SCORES,))


def here(job: Job) -> list[float | None]:
    """Scores of this very process."""
    artifact = load_artifact(job.subjects["artifact"], cache=False)
    found = [artifact.score(image) for image in job.images]
    return [None if one.missing else one.score for one in found]


def test_a_kit_scores_a_clip(moving: Job, tmp_path: Path) -> None:
    """As this machine does: no score of the first six frames, and which OpenCV it was."""
    kit = unpack(replace(moving, do=(memory_part("artifact", 1), *moving.do)), tmp_path / "kit")
    assert "numpy, OpenCV and Pillow" in (kit / "README.txt").read_text()
    done = run(kit)
    assert done.returncode == 0, done.stderr
    found = read_results(kit / "results.json")
    assert list(found.scores("artifact")) == here(moving)
    assert found.versions["OpenCV"] == opencv_version()
    assert found.memory("artifact", "board")["model_memory"].value > 8 * 2**20  # most of it is OpenCV
    compared = parity(found.scores("artifact"), moving.subjects["artifact"], list(moving.images))
    assert compared is not None
    assert (compared.n, compared.largest_difference, compared.other_decisions) == (4, 0.0, 0)


def test_scores_of_other_frames_are_not_compared(moving: Job) -> None:
    """Where the board has a score this machine has one, or the results are of something else."""
    wanted, artifact, images = here(moving), moving.subjects["artifact"], list(moving.images)
    assert parity(tuple(wanted[:6]), artifact, images[:6]) is None
    for found in ((0.5, *wanted[1:]), (*wanted[:-1], None), (None,) * 10, tuple(wanted[:-1])):
        with pytest.raises(InputRejected, match="of 10 images, or other ones than here"):
            parity(found, artifact, images)


def test_an_engine_scores_a_clip(moving: Job, tmp_path: Path) -> None:
    """Under TensorRT, too, optical flow is computed before it."""
    of_nano = target(runtime="tensorrt", compute_unit="gpu", compute_dtype="fp16")
    kit = unpack(replace(moving, target=of_nano), tmp_path / "kit")
    fake_board(kit, tmp_path / "log")
    done = run(kit)
    assert done.returncode == 0, done.stderr
    found = read_results(kit / "results.json").scores("artifact")
    assert found[:6] == (None,) * 6
    expected = [score + fake_tensorrt.SHIFT for score in here(moving) if score is not None]
    assert found[6:] == pytest.approx(expected, abs=1e-5)


def test_the_time_of_optical_flow_counts(moving: Job, tmp_path: Path) -> None:
    """With an OpenCV that takes 25 ms a field, every call takes that long, and it is no time of the graph."""
    kit = unpack(replace(moving, do=(screen_part("artifact", 60),)), tmp_path / "kit")
    (kit / "cv2.py").write_text(_SLOW_OPENCV)
    done = run(kit)
    assert done.returncode == 0, done.stderr
    found = read_results(kit / "results.json")
    measured = found.screened("artifact", "board")
    assert measured["latency_p50"].value >= measured["latency_decode_p50"].value >= _SLOW_MS
    assert measured["latency_graph_p50"].value < _SLOW_MS
    assert found.versions["OpenCV"] == "4.1.1"


def test_a_kit_without_opencv_says_what_to_install(moving: Job, tmp_path: Path) -> None:
    """Before anything is measured, with its own code, and in what is brought back."""
    kit = unpack(moving, tmp_path / "kit")
    (kit / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    done = run(kit)
    assert done.returncode == 6
    for word in ("has no module cv2", "libGL.so.1", "libopencv-python (JetPack)", "opencv-python-headless"):
        assert word in done.stderr
    assert "1 of 1" not in done.stderr
    with pytest.raises(TargetUnreachable, match="motion needs OpenCV"):
        read_results(kit / "results.json")


def test_only_motion_asks_for_opencv(job: Job, moving: Job, tmp_path: Path) -> None:
    """Other detectors run on boards without it, and their jobs do not carry its script."""
    assert (job.moving, "flow.py" in job.packed().files) == (False, False)
    assert (moving.moving, "flow.py" in moving.packed().files) == (True, True)
    kit = unpack(job, tmp_path / "kit")
    (kit / "cv2.py").write_text("raise ImportError('none')\n")
    assert run(kit).returncode == 0
    assert "OpenCV" not in read_results(kit / "results.json").versions


def test_frames_without_a_score_are_no_others(moving: Job, tmp_path: Path) -> None:
    """A score that is missing is null, never NaN."""
    kit = unpack(moving, tmp_path / "kit")
    assert run(kit).returncode == 0
    found = json.loads((kit / "results.json").read_text())
    assert found["done"][0]["scores"][:6] == [None] * 6
    found["done"][0]["scores"][0] = float("nan")
    (kit / "results.json").write_text(json.dumps(found))
    with pytest.raises(InputRejected, match="scores"):
        read_results(kit / "results.json")


def test_a_board_behind_ssh_scores_a_clip(board: Loopback, moving: Job) -> None:
    """And is asked for its OpenCV at once."""
    reached = replace(board.board(), motion=True)
    assert reached.facts["versions"]["cv2"] == opencv_version()
    found = reached.run(moving)
    assert list(found.scores("artifact")) == here(moving)
    assert found.versions["OpenCV"] == opencv_version()


def test_a_board_behind_ssh_without_opencv(board: Loopback) -> None:
    """Nothing is sent there; what is missing is named, and where it comes from."""
    address = replace(board.address(), python=board.without_opencv())
    with pytest.raises(TargetUnreachable, match=r"has no OpenCV \(no OpenCV\); motion needs OpenCV; .*python3-opencv"):
        _ = Board(address, motion=True).facts
    assert Board(address).facts["versions"]["numpy"]

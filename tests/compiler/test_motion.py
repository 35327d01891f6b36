"""What detectors of motion are measured with: frames of one clip, on this machine, on a board and under emulation."""

import sys
import zipfile
from pathlib import Path

import pytest

from budgetc.compiler import emulating
from budgetc.compiler.boards import Question, measure_imported, write_kit
from budgetc.compiler.calibrating import Question as Calibrated
from budgetc.compiler.calibrating import calibrate_kit
from budgetc.compiler.confirming import sample_images
from budgetc.compiler.emulating import emulate_file
from budgetc.compiler.measuring import noise_images
from budgetc.core.dataset import Motion
from budgetc.errors import UsageError
from budgetc.load.datasets import load_dataset
from budgetc.load.motion import as_read_by
from budgetc.measurement.emulator import Emulator
from budgetc.runtime import load_artifact
from tests.compiler.test_emulating import played_here
from tests.load.clips import draw_clips
from tests.measurement.board.test_job import run
from tests.measurement.scene import write_flow_artifact
from tests.small import FIELDS

TARGET = "jetson-nano-cpu-1-thread"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`out`, an artifact that reads motion, and `data`."""
    folder = tmp_path_factory.mktemp("motion")
    write_flow_artifact(folder / "out")
    draw_clips(folder / "data")
    return folder


def test_frames_that_are_measured_are_successive(folder: Path, tmp_path: Path) -> None:
    """Sixteen with a score and the six before them, or what the longest clip of the calibration normals has."""
    dataset = as_read_by(load_dataset(folder / "data"), Motion(FIELDS, (25, 34), 6, 3.4))
    numbers = [int(path.stem) for path in sample_images(dataset, tmp_path)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) == min(22, max(map(len, dataset.clips["calibration"]))) > 7


def test_noise_moves(folder: Path, tmp_path: Path) -> None:
    """A pixel to the right a frame, which is found; eight scores of it."""
    artifact = load_artifact(folder / "out", cache=False)
    found = [artifact.prepare(path) for path in noise_images(folder / "out", tmp_path)]
    assert len(found) == 14
    right, down = found[-1][0, :6].mean(), found[-1][0, 6:].mean()
    assert right * 255 - 128 > 5 * abs(down * 255 - 128)


def test_a_kit_comes_back(folder: Path, tmp_path: Path) -> None:
    """Latency, memory, and scores beside this machine's, of frames and of noise."""
    for data in (folder / "data", None):
        question, place = Question(folder / "out", TARGET, data), tmp_path / str(data is None)
        write_kit(question, place.with_suffix(".zip"))
        zipfile.ZipFile(place.with_suffix(".zip")).extractall(place)
        done = run(place)
        assert done.returncode == 0, done.stderr
        found = measure_imported(question, place / "results.json")
        assert {"latency_p95", "peak_memory"} <= {one.metric for one in found.measurements}
        assert found.board is not None and found.board.parity is not None and "OpenCV" in found.board.versions
        assert (found.board.parity.largest_difference, found.board.parity.other_decisions) == (0.0, 0)
        assert found.board.parity.n >= 8


def test_a_target_is_not_calibrated_by_motion(folder: Path, tmp_path: Path) -> None:
    """Optical flow is no part of what the cost model knows of a board."""
    with pytest.raises(UsageError, match=r"out: reads motion.*give detectors that read single pictures"):
        calibrate_kit(Calibrated(TARGET, [folder / "out"]), tmp_path / "kit.zip")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """This very Python in the place of QEMU, and whether OpenCV was asked for."""
    asked = list[bool]()

    def emulator(wanted: object, *, fetch: bool, flow: bool) -> Emulator:
        asked.append(flow)
        return played_here()

    monkeypatch.setattr(emulating, "emulator", emulator)
    return asked


def test_an_auroc_of_motion_under_emulation(folder: Path, played: list[bool]) -> None:
    """On every clip of the test part; the same scores as here, where the same Python scores."""
    done = list[tuple[int, int]]()
    found = emulate_file(
        folder / "out", target=TARGET, data=folder / "data", progress=lambda what, now, of: done.append((now, of))
    )
    assert found.quality is not None and found.here is not None
    assert found.agreement.holds and found.agreement.largest_difference == 0.0
    assert found.quality.auroc_mean.value == found.here.auroc_mean.value
    assert found.quality.auroc_mean.n == found.agreement.n == done[-1][0] == done[-1][1]
    assert played == [True]


def test_noise_of_motion_under_emulation(folder: Path, played: list[bool]) -> None:
    """Only frames that have a score are compared."""
    found = emulate_file(folder / "out", target=TARGET)
    assert (found.agreement.n, found.agreement.largest_difference, played) == (8, 0.0, [True])


def test_missing_opencv_is_told_before_anything_is_fetched(
    folder: Path, played: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine scores, too."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UsageError, match=r"needs OpenCV.*pip install 'budgetc\[flow\]'"):
        emulate_file(folder / "out", target=TARGET)
    assert played == []

"""Scores under QEMU; what needs QEMU skips without it, and what fetches is slow."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from budgetc.core.dataset import Dataset, Motion
from budgetc.core.target import Emulation
from budgetc.errors import InputRejected, TargetUnreachable
from budgetc.load.datasets import load_dataset
from budgetc.load.motion import as_read_by
from budgetc.measurement import emulated
from budgetc.measurement.emulated import score_emulated, score_split_emulated
from budgetc.measurement.emulator import Emulator, emulator
from budgetc.runtime import device_score
from budgetc.runtime.artifact import load_artifact
from budgetc.runtime.flow import opencv_version
from tests.load.clips import draw_clip, draw_clips
from tests.measurement.scene import write_flow_artifact, write_images
from tests.runtime.tiny import write_artifact
from tests.small import FIELDS

NEHALEM = Emulation(machine="x86_64", cpu="Nehalem")
needs_qemu = pytest.mark.skipif(shutil.which("qemu-x86_64-static") is None, reason="qemu-user-static is not installed")


def played_by(*command: str) -> Emulator:
    """An emulator that is none."""
    return Emulator(command, {}, "no QEMU, any CPU", "none", {})


def here(directory: Path, images: list[Path]) -> list[float]:
    """Scores of this very process."""
    artifact = load_artifact(directory, cache=False)
    return [artifact.score(path).score for path in images]


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Clips of two scenes, and copies of one that are shaken, reversed and faster."""
    root = draw_clips(tmp_path_factory.mktemp("clips"))
    (root / "factors.yaml").write_text("factors: {reverse: [1], faster: [0.2], shake: [0.5]}\n")
    return as_read_by(load_dataset(root), Motion(FIELDS, (25, 34), 6, 3.4))


@needs_qemu
def test_a_processor_without_avx_says_the_same(tmp_path: Path) -> None:
    """FP32 on an emulated Nehalem, by the device script, decoding included."""
    directory, images = write_artifact(tmp_path), write_images(tmp_path)
    played = emulator(NEHALEM, fetch=False)
    assert played is not None
    assert played.device.endswith(", Nehalem") and played.runtime.startswith("onnxruntime ")
    done: list[int] = []
    np.testing.assert_allclose(
        score_emulated(directory, images, played, done.append), here(directory, images), rtol=1e-5
    )
    assert done == list(range(1, len(images) + 1))


@needs_qemu
@pytest.mark.slow
def test_an_arm_processor_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python and onnxruntime for AArch64 are fetched once, and nothing is left of the download."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wanted = Emulation(machine="aarch64", cpu="cortex-a57")
    assert emulator(wanted, fetch=False) is None
    played = emulator(wanted, fetch=True)
    assert played is not None and played == emulator(wanted, fetch=False)
    assert {name.split("-")[0].split("_")[0] for name in played.contents} >= {"onnxruntime", "numpy", "libc6"}
    assert len(list((tmp_path / "cache" / "budgetc").iterdir())) == 1
    assert emulator(wanted, fetch=False, flow=True) is None
    moving = emulator(wanted, fetch=True, flow=True)
    assert moving is not None and moving.runtime == f"{played.runtime}, OpenCV 4.11.0"
    assert len(moving.contents) == len(played.contents) + 1
    frames, flow = draw_clip(tmp_path / "clip", 10), write_flow_artifact(tmp_path / "flow")
    np.testing.assert_allclose(score_emulated(flow, frames, moving), here(flow, frames), rtol=0.05)
    directory, images = write_artifact(tmp_path), write_images(tmp_path)
    np.testing.assert_allclose(score_emulated(directory, images, played), here(directory, images), rtol=1e-5)


@needs_qemu
def test_a_detector_of_motion_on_a_processor_without_avx(tmp_path: Path) -> None:
    """Optical flow is computed there, too: its last bits may differ, its motion does not."""
    directory, images = write_flow_artifact(tmp_path / "out"), draw_clip(tmp_path / "clip", 10)
    played = emulator(NEHALEM, fetch=False, flow=True)
    assert played is not None and played.runtime.endswith(f", OpenCV {opencv_version()}")
    done: list[int] = []
    found = score_emulated(directory, images, played, done.append)
    np.testing.assert_allclose(found, here(directory, images), rtol=0.05)
    assert np.isnan(found).tolist() == [True] * 6 + [False] * 4 and done == [0] * 6 + [1, 2, 3, 4]


@pytest.mark.parametrize(("at_once", "clip"), [(1, "--clip"), (40, "--clip"), (1000, "--none")])
def test_every_clip_is_scored_from_its_first_frame(
    moving: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, clip: str
) -> None:
    """However many share a process, and by scripts that do not know `--clip`: exactly what this machine says."""
    monkeypatch.setattr(emulated, "_AT_ONCE", at_once)
    directory = write_flow_artifact(tmp_path / "out")
    (directory / "device").mkdir()
    text = Path(str(device_score.__file__)).read_text().replace('"--clip"', json.dumps(clip))
    (directory / "device" / "score.py").write_text(text)
    found = score_split_emulated(directory, moving, "confirmation", emulator=played_by(sys.executable))
    artifact = load_artifact(directory, cache=False)
    expected = [artifact.score_pixels(fields).score for fields in moving.images("confirmation", FIELDS)]
    assert len({sample.defect for sample in moving.samples["confirmation"]}) == 5
    np.testing.assert_array_equal(found, expected)


@needs_qemu
def test_an_unknown_processor_is_named(tmp_path: Path) -> None:
    """QEMU's own words are passed on."""
    played = emulator(Emulation(machine="x86_64", cpu="Abacus"), fetch=False)
    assert played is not None
    with pytest.raises(TargetUnreachable, match=r"Abacus: the device script ended with code 1; it said: .*Abacus"):
        score_emulated(write_artifact(tmp_path), write_images(tmp_path), played)


def test_without_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Says what to install where it is asked for, and nothing where it would only be used."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert emulator(NEHALEM, fetch=False) is None
    with pytest.raises(
        TargetUnreachable, match=r"qemu-x86_64-static is not on the PATH; install it \(Debian and Ubuntu: apt"
    ):
        emulator(NEHALEM, fetch=True)


def test_an_image_that_is_refused(tmp_path: Path) -> None:
    """The script's reason, with the file."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputRejected, match=r"broken\.png: not a readable image"):
        score_emulated(write_artifact(tmp_path / "out"), [broken], played_by(sys.executable))


def test_an_instruction_that_is_not_there(tmp_path: Path) -> None:
    """How a runtime dies on a processor that is too old for it."""
    played = played_by(sys.executable, "-c", "import os; os.kill(os.getpid(), 4)")
    with pytest.raises(
        TargetUnreachable, match=r"signal 4 \(4: an instruction that the emulated processor does not have"
    ):
        score_emulated(write_artifact(tmp_path / "out"), write_images(tmp_path), played)


def test_what_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without apt: which tool was missing, and nothing half-made in the cache."""
    qemu = tmp_path / "bin" / "qemu-aarch64-static"
    qemu.parent.mkdir()
    qemu.write_text("#!/bin/sh\necho qemu-aarch64 version 9.9.9\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", str(qemu.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(TargetUnreachable, match=r"cannot be fetched from Debian: apt-get cannot be started"):
        emulator(Emulation(machine="aarch64", cpu="cortex-a57"), fetch=True)
    assert not list((tmp_path / "cache" / "budgetc").iterdir())

import os
import signal
from pathlib import Path

import pytest

from budgetc.errors import InputRejected, TargetUnreachable, UsageError
from budgetc.measurement.scorer import ScoringProcess
from tests.measurement.scene import write_images
from tests.runtime.tiny import write_artifact


def alive(pid: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_answers_like_the_probe(tmp_path: Path) -> None:
    """A command gets its answer, as many samples as calls."""
    with ScoringProcess(write_artifact(tmp_path), write_images(tmp_path)) as process:
        assert len(process.ask("time", calls=6)["total_ms"]) == 6
        assert process.runtime.startswith("onnxruntime ")


def test_is_killed_when_the_caller_fails(tmp_path: Path) -> None:
    """An exception between two commands leaves no process behind."""
    scorer = ScoringProcess(write_artifact(tmp_path), write_images(tmp_path))
    with pytest.raises(KeyboardInterrupt), scorer as process:
        pid = process.pid
        assert alive(pid)
        raise KeyboardInterrupt
    assert not alive(pid)


def test_death_is_reported_with_its_signal(tmp_path: Path) -> None:
    """What the kernel kills is named, with the usual cause."""
    with ScoringProcess(write_artifact(tmp_path), write_images(tmp_path)) as process:
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(TargetUnreachable, match=r"ended by signal 9 \(9: often the kernel, out of memory\)"):
            process.ask("time", calls=1)


def test_last_words_are_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies before its greeting is quoted."""
    broken = tmp_path / "elsewhere"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import os, sys\nsys.stderr.write('no luck today')\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with (
        pytest.raises(TargetUnreachable, match="ended with code 3; it said: no luck today"),
        ScoringProcess(write_artifact(tmp_path / "out"), write_images(tmp_path)),
    ):
        pass


def test_silence_has_an_end(tmp_path: Path) -> None:
    """A stopped process is given up, and killed."""
    with ScoringProcess(write_artifact(tmp_path), write_images(tmp_path)) as process:
        process.timeout, pid = 0.2, process.pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TargetUnreachable, match=r"no answer in 0\.2 s"):
            process.ask("warm", calls=1)
    assert not alive(pid)


def test_files_beside_the_caller_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A numpy.py in the current directory is not the numpy that is measured."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('wrong numpy')")
    monkeypatch.chdir(tmp_path)
    with ScoringProcess(write_artifact(tmp_path), write_images(tmp_path)) as process:
        assert len(process.ask("warm", calls=1)["total_ms"]) == 1


def test_rejected_input_keeps_its_class(tmp_path: Path) -> None:
    """The error of the other process is raised here, as the class that it was."""
    with (
        ScoringProcess(write_artifact(tmp_path), [tmp_path / "gone.png"]) as process,
        pytest.raises(InputRejected, match=r"gone\.png: cannot be read"),
    ):
        process.ask("warm", calls=1)


def test_no_images_is_a_mistake(tmp_path: Path) -> None:
    """Nothing can be timed without an image."""
    with pytest.raises(UsageError, match="no images to measure with"):
        ScoringProcess(write_artifact(tmp_path), [])

"""The script that boards run, run as they run it: copied, in a process of its own."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from budgetc.errors import UsageError
from budgetc.runtime import device_score, load_artifact, spec
from budgetc.runtime.preprocess import FORMATS, MAX_PIXELS
from tests.runtime.pictures import color, encoded, every_kind
from tests.runtime.tiny import MONITOR, write_artifact


def run_script(directory: Path, *files: "Path | str") -> "subprocess.CompletedProcess[str]":
    """What the copied script says about the files."""
    script = directory / "device" / "score.py"
    script.parent.mkdir(exist_ok=True)
    shutil.copy(str(device_score.__file__), script)
    return subprocess.run(
        [sys.executable, "-I", str(script), *map(str, files)], capture_output=True, text=True, timeout=60, check=False
    )


def test_scores_equal_the_runtimes(tmp_path: Path) -> None:
    """For every kind of image the board's score and decision are exactly the library's."""
    directory = write_artifact(tmp_path / "out", layers=3)
    files = []
    for name, data in every_kind().items():
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    done = run_script(directory, *files)
    assert done.returncode == 0, done.stderr
    artifact = load_artifact(directory)
    expected = [{"file": str(file), "score": r.score, "anomalous": r.anomalous}
                for file in files for r in [artifact.score(file)]]  # fmt: skip
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected
    assert len({line["score"] for line in expected}) > 5


def test_a_score_at_the_threshold_is_normal(tmp_path: Path) -> None:
    """INT8 scores tie with it often, and library and board must not disagree on these."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded(color()))
    score = load_artifact(write_artifact(tmp_path / "out")).score(picture).score
    for threshold, anomalous in ((score, False), (score - 1e-6 * abs(score), True)):
        directory = write_artifact(tmp_path / "out", threshold=threshold)
        assert json.loads(run_script(directory, picture).stdout)["anomalous"] is anomalous
        assert load_artifact(directory).score(picture).anomalous is anomalous


def test_its_limits_are_the_runtimes() -> None:
    """Both copies of the decoder accept the same files."""
    assert (device_score.FORMATS, device_score.MAX_PIXELS) == (FORMATS, MAX_PIXELS)


def test_unreadable_image_does_not_stop_the_others(tmp_path: Path) -> None:
    """The bad file gets a line with its error, the good one its score, and the exit code is 4."""
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encoded(color()))
    bad.write_bytes(encoded(color())[:99])
    done = run_script(write_artifact(tmp_path / "out"), bad, good)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 4
    assert "not a readable image" in first["error"]
    assert second["file"] == str(good)


def test_config_beside_the_script_wins(tmp_path: Path) -> None:
    """A board that got only `device/` scores with the files in it."""
    directory = write_artifact(tmp_path / "out", threshold=-1e9)
    write_artifact(directory / "device", threshold=1e9)
    (directory / "device" / "artifact.json").rename(directory / "device" / "config.json")
    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded(color()))
    assert json.loads(run_script(directory, picture).stdout)["anomalous"] is False
    (directory / "device" / "config.json").unlink()
    assert json.loads(run_script(directory, picture).stdout)["anomalous"] is True


def test_a_monitor_is_left_to_others(tmp_path: Path) -> None:
    """An artifact that has one is scored as without."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(encoded(color()))
    watched, plain = write_artifact(tmp_path / "watched", monitor=MONITOR), write_artifact(tmp_path / "plain")
    lines = [run_script(directory, picture).stdout for directory in (watched, plain)]
    assert lines[0] == lines[1] != ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": "0" * 64}, "changed or damaged after it was compiled"),
        ({"schema_version": 2}, "schema_version is not 1"),
        ({"model": "other.onnx"}, "found none of .*other.onnx"),
        ({"session": None}, "session is null, expected an object; copy the whole artifact again"),
        ({"session": []}, r"session is \[\], expected an object"),
        ({"session": {"allocator": "mine"}}, "session: unknown field allocator"),
        ({"session": {"arena": "huge"}}, 'session: arena is "huge", expected power-of-two or as-requested'),
        ({"session": {"arena": None}}, "session: arena is null, expected power-of-two or as-requested"),
        ({"session": {"trim": 1}}, "session: trim is 1, expected true or false"),
        ({"session": {"memory_pattern": "false"}}, 'session: memory_pattern is "false", expected true or false'),
    ],
)
def test_wrong_artifact_is_explained(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Nothing is scored with a graph that is not the compiled one."""
    done = run_script(write_artifact(tmp_path, **change), tmp_path / "any.png")
    assert done.returncode == 4
    assert done.stdout == ""
    assert re.search(message, done.stderr)


def test_its_session_options_are_the_runtimes() -> None:
    """Both copies accept the same object."""
    assert device_score.ARENAS == spec.ARENAS
    assert {"arena", *device_score.SWITCHES} == {field.name for field in fields(spec.Session)}


def test_usage(tmp_path: Path) -> None:
    """Without an image it says how to call it."""
    done = run_script(write_artifact(tmp_path))
    usage = "usage: score.py [--category NAME] [--install [--normals]] IMAGE... [--clip IMAGE...]\n"
    assert (done.returncode, done.stderr) == (2, usage)


def test_a_category_is_judged_by_its_own_threshold(tmp_path: Path) -> None:
    """As the runtime does, between the same scores."""
    (tmp_path / "image.png").write_bytes(encoded(color(), "PNG"))
    score = load_artifact(write_artifact(tmp_path)).score(tmp_path / "image.png").score
    write_artifact(tmp_path, threshold=score + 1, thresholds={"brick": score - 1, "grass": score + 2})
    artifact = load_artifact(tmp_path)
    for category, expected in ((None, False), ("brick", True), ("grass", False)):
        chosen = [] if category is None else ["--category", category]
        done = run_script(tmp_path, *chosen, tmp_path / "image.png")
        assert json.loads(done.stdout)["anomalous"] is expected
        assert artifact.score(tmp_path / "image.png", category).anomalous is expected


def test_an_unknown_category_is_no_reason_to_guess(tmp_path: Path) -> None:
    """A typo would be judged by the threshold of all, unseen."""
    (tmp_path / "image.png").write_bytes(encoded(color(), "PNG"))
    write_artifact(tmp_path, thresholds={"brick": 1.0})
    done = run_script(tmp_path, "--category", "brik", tmp_path / "image.png")
    assert (done.returncode, done.stdout) == (4, "")
    assert 'no category "brik" has its own threshold, but brick' in done.stderr
    with pytest.raises(UsageError, match="category 'brik' has no threshold of its own in this artifact, whose are: br"):
        load_artifact(tmp_path).score(tmp_path / "image.png", "brik")

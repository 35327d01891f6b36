"""Optimized graphs: the same scores, and never used unless they are whole and of this machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from budgetc.errors import InputRejected, UsageError
from budgetc.runtime import cache, device_score, install_artifact, load_artifact
from budgetc.runtime.spec import read_spec
from tests.runtime.pictures import color, encoded
from tests.runtime.tiny import write_artifact

LEAN = {"arena": "as-requested", "memory_pattern": False, "trim": True}
SETS = [{}, LEAN, {**LEAN, "blocked": False}, {"preoptimized": True}]


def places(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.is_dir())


def place_of(artifact: Path, directory: Path) -> Path:
    graph = cache.cached_graph(read_spec(artifact / "artifact.json"), directory)
    assert graph is not None
    return graph.parent


@pytest.mark.parametrize("session", SETS, ids=str)
def test_an_installed_graph_scores_the_same(tmp_path: Path, session: dict[str, Any]) -> None:
    """With every set of options, before and after, and within rounding of the defaults."""
    plain = load_artifact(write_artifact(tmp_path / "plain", layers=4, channels=16)).score(color()).score
    out = write_artifact(tmp_path / "out", layers=4, channels=16, session=session)
    before = load_artifact(out, cache=tmp_path / "cache").score(color()).score
    graph = install_artifact(out, cache=tmp_path / "cache")
    (out / "model.onnx").write_bytes(b"not read once its optimized graph is there")
    assert load_artifact(out, cache=tmp_path / "cache").score(color()).score == before == pytest.approx(plain, rel=1e-4)
    assert [path.name for path in sorted(graph.parent.iterdir())] == ["digests.json", "graph.onnx", "weights.bin"]
    assert places(tmp_path / "cache") == [graph.parent]


def test_layouts_have_graphs_of_their_own(tmp_path: Path) -> None:
    """What the graph does not depend on is no part of its name: a set of options finds another set's graph."""
    found = set()
    for number, session in enumerate(SETS):
        out = write_artifact(tmp_path / str(number), session=session)
        install_artifact(out, cache=tmp_path / "cache")
        found.add(place_of(out, tmp_path / "cache"))
    assert len(found) == 2


@pytest.mark.parametrize("damage", ["graph.onnx", "weights.bin", "digests.json"])
@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_damaged_graph_is_not_used(tmp_path: Path, damage: str, how: str) -> None:
    """It is warned of, the artifact scores as before, and installing again mends it."""
    out = write_artifact(tmp_path / "out", layers=3, channels=16)
    graph = install_artifact(out, cache=tmp_path / "cache")
    file, score = graph.parent / damage, load_artifact(out).score(color()).score
    data = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(data[:-1] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.warns(UserWarning, match=r"the optimized graph is damaged; model\.onnx is loaded instead"):
        assert load_artifact(out, cache=tmp_path / "cache").score(color()).score == score
    assert install_artifact(out, cache=tmp_path / "cache") == graph
    assert load_artifact(out, cache=tmp_path / "cache").score(color()).score == score
    assert places(tmp_path / "cache") == [graph.parent]


def test_another_runtime_or_processor_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that was optimized elsewhere is not found."""
    out = write_artifact(tmp_path / "out")
    install_artifact(out, cache=tmp_path / "cache")
    spec = read_spec(out / "artifact.json")
    (tmp_path / "cpuinfo").write_text("flags : fpu\n")
    with monkeypatch.context() as other:
        other.setattr(onnxruntime, "__version__", "0.1")
        assert cache.cached_graph(spec, tmp_path / "cache") is None
    with monkeypatch.context() as other:
        other.setattr(cache, "_CPUINFO", tmp_path / "cpuinfo")
        assert cache.cached_graph(spec, tmp_path / "cache") is None
    assert cache.cached_graph(spec, tmp_path / "cache") is not None


def test_a_changed_artifact_is_not_installed(tmp_path: Path) -> None:
    """Its digest is checked as when it is loaded, and nothing is written."""
    out = write_artifact(tmp_path / "out", model_sha256="0" * 64)
    with pytest.raises(InputRejected, match="changed or damaged after it was compiled"):
        install_artifact(out, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"file/.*cannot be written \(File exists\); name another cache"):
        install_artifact(write_artifact(tmp_path / "out"), cache=tmp_path / "file")


def test_a_user_without_a_home_loads_and_does_not_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: nothing is looked for, and nothing is written where it happens to run."""
    out = write_artifact(tmp_path / "out")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    assert load_artifact(out).score(color()).score == load_artifact(out, cache=tmp_path / "cache").score(color()).score
    with pytest.raises(UsageError, match="this user has no home directory; name a cache directory"):
        install_artifact(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_the_artifact_is_only_read(tmp_path: Path) -> None:
    """OUT may lie on a medium that cannot be written."""
    out = write_artifact(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    install_artifact(out, cache=tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("session", SETS, ids=str)
def test_the_board_installs_the_same(tmp_path: Path, session: dict[str, Any]) -> None:
    """Its script makes the graph that the runtime finds, finds the runtime's, and scores the same with it."""
    out, picture = write_artifact(tmp_path / "out", layers=4, channels=16, session=session), tmp_path / "picture.png"
    picture.write_bytes(encoded(color()))
    expected = load_artifact(out).score(picture).score
    script = out / "device" / "score.py"
    script.parent.mkdir()
    shutil.copy(str(device_score.__file__), script)

    def run(*arguments: str) -> float:
        line = [sys.executable, "-I", str(script), *arguments, str(picture)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True, env=environment)
        return float(json.loads(done.stdout)["score"])

    assert run() == expected
    assert not (tmp_path / "budgetc").exists()
    assert run("--install") == expected
    place = place_of(out, tmp_path / "budgetc")
    assert load_artifact(out, cache=tmp_path / "budgetc").score(picture).score == expected
    (out / "model.onnx").write_bytes(b"not read once its optimized graph is there")
    assert run() == expected
    (place / "weights.bin").write_bytes(b"")
    with pytest.raises(subprocess.CalledProcessError):
        run()

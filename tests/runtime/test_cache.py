"""Optimized graphs: the same scores, and never used unless they are whole and of this machine."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def homeless(monkeypatch: pytest.MonkeyPatch, here: Path, xdg: str | None) -> None:
    """A user of whom the system knows no home directory, somewhere on the disk."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.chdir(here)


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


@pytest.mark.parametrize(("xdg", "found"), [(None, "is not set"), ("here", "is 'here', not an absolute path")])
def test_a_user_without_a_home_loads_and_does_not_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xdg: str | None, found: str
) -> None:
    """As in a container: nothing is looked for, and nothing is written where it happens to run."""
    out = write_artifact(tmp_path / "out")
    homeless(monkeypatch, tmp_path, xdg)
    assert load_artifact(out).score(color()).score == load_artifact(out, cache=False).score(color()).score
    with pytest.raises(UsageError, match=rf"no home directory, and XDG_CACHE_HOME {found}; name a cache directory"):
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


Board = Callable[..., tuple[int, str]]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifact whose graph is in the user's cache, below `tmp_path / "budgetc"`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out = write_artifact(tmp_path / "out", layers=3, channels=16)
    install_artifact(out)
    (tmp_path / "picture.png").write_bytes(encoded(color()))
    return out


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Board:
    """The board's script in this process: its exit code and what it says on stderr."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(device_score, "HERE", str(tmp_path / "out" / "device"))

    def run(*arguments: str) -> tuple[int, str]:
        code = device_score.main([*arguments, *([] if arguments else [str(tmp_path / "picture.png")])])
        return code, capsys.readouterr().err

    return run


def foreign(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's; who is not root is another one himself."""
    if os.geteuid() == 0:
        os.chown(path, 4711, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)


def linked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to what was there."""
    path.rename(path.with_name("elsewhere-" + path.name))
    path.symlink_to(path.with_name("elsewhere-" + path.name))


def writable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the group."""
    path.chmod(path.stat().st_mode | 0o020)


@pytest.mark.parametrize("what", ["cache", "entry", "graph.onnx", "weights.bin", "digests.json"])
@pytest.mark.parametrize("how", [foreign, linked, writable], ids=["foreign", "linked", "writable"])
def test_what_others_could_have_written_is_not_used(
    installed: Path, board: Board, monkeypatch: pytest.MonkeyPatch, what: str, how: Callable[..., None]
) -> None:
    """A graph in the cache bypasses the digest of the model: only this user and root may have put it there."""
    place = place_of(installed, installed.parent / "budgetc")
    how({"cache": place.parent, "entry": place}.get(what, place / what), monkeypatch)
    said = "is a link, belongs to another user or may be written by others, so the optimized graph is not trusted"
    with pytest.warns(UserWarning, match=said) as warned:
        assert not load_artifact(installed).installed
    assert len(warned) == 1
    code, line = board()
    assert (code, line.count("\n"), said in line) == (0, 1, True)
    (installed / "model.onnx").write_bytes(b"changed")
    with pytest.raises(InputRejected, match="changed or damaged"), pytest.warns(UserWarning, match="not trusted"):
        load_artifact(installed)
    assert board()[0] == 4


def test_a_cache_of_others_is_not_installed_to(tmp_path: Path, board: Board) -> None:
    """It would not be used."""
    out = write_artifact(tmp_path / "out")
    (tmp_path / "budgetc").mkdir()
    (tmp_path / "budgetc").chmod(0o777)
    said = "may be written by others, and no graph in it would be used"
    with pytest.raises(UsageError, match=said):
        install_artifact(out)
    code, line = board("--install")
    assert (code, said in line, places(tmp_path / "budgetc")) == (2, True, [])


@pytest.mark.parametrize("xdg", [None, "here"])
def test_a_board_without_a_home_scores_and_does_not_install(
    installed: Path, board: Board, monkeypatch: pytest.MonkeyPatch, xdg: str | None
) -> None:
    """Nothing is looked for, or written, where it happens to run."""
    before = sorted(installed.parent.rglob("*"))
    homeless(monkeypatch, installed.parent, xdg)
    assert board() == (0, "")
    said = "the optimized graph cannot be installed: this user has no home directory; set XDG_CACHE_HOME to an absolute"
    code, line = board("--install")
    assert (code, line.startswith(said), sorted(installed.parent.rglob("*"))) == (2, True, before)


@pytest.mark.parametrize("xdg", ["", "relative"])
def test_a_relative_cache_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xdg: str) -> None:
    """As the XDG Base Directory Specification asks: ~/.cache is taken."""
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("HOME", str(tmp_path))
    spec = json.loads((write_artifact(tmp_path / "out") / "artifact.json").read_text())
    assert cache.cache_directory() == tmp_path / ".cache" / "budgetc"
    assert Path(device_score.cache_place(spec, [onnxruntime.__version__])).parent == tmp_path / ".cache" / "budgetc"


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o755), (0o022, 0o755), (0o027, 0o750), (0o077, 0o700)])
@pytest.mark.parametrize("by", ["runtime", "board"])
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path, board: Board, by: str, umask: int, mode: int) -> None:
    """What root installs serves another user; nobody else may write, whatever the umask."""
    out = write_artifact(tmp_path / "out", layers=3, channels=16)
    (tmp_path / "picture.png").write_bytes(encoded(color()))
    before = os.umask(umask)
    try:
        if by == "runtime":
            install_artifact(out)
        else:
            assert board("--install") == (0, "")
    finally:
        os.umask(before)
    place = place_of(out, tmp_path / "budgetc")
    assert {path.stat().st_mode & 0o777 for path in (place, place.parent)} == {mode}
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {mode & 0o644}
    assert load_artifact(out).installed
    assert board() == (0, "")


def test_what_may_not_be_read_is_not_called_damaged(
    installed: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an entry that only root may read."""

    def refuse(path: object) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.warns(UserWarning, match="the optimized graph may not be read by this user; model.onnx is loaded"):
        load_artifact(installed)
    code, line = board()
    assert (code, "may not be read by this user; the model is loaded instead" in line) == (0, True)


def test_a_graph_that_onnxruntime_refuses_is_not_used(installed: Path, board: Board) -> None:
    """Though it is whole; the model's digest is checked then."""
    place = place_of(installed, installed.parent / "budgetc")
    (place / "graph.onnx").write_bytes(b"of another world")
    digests = {name: cache.file_sha256(place / name) for name in ("graph.onnx", "weights.bin")}
    (place / "digests.json").write_text(json.dumps(digests))
    expected = load_artifact(installed, cache=False).score(color()).score
    with pytest.warns(UserWarning, match=r"onnxruntime \S+ refuses the optimized graph .*; model\.onnx is loaded"):
        assert load_artifact(installed).score(color()).score == expected
    code, line = board()
    assert (code, line.count("\n"), "onnxruntime refuses the optimized graph" in line) == (0, 1, True)
    (installed / "model.onnx").write_bytes(b"changed")
    with pytest.raises(InputRejected, match="changed or damaged"), pytest.warns(UserWarning, match="refuses"):
        load_artifact(installed)
    assert board()[0] == 4


def test_without_a_cache_the_model_itself_is_loaded(installed: Path) -> None:
    """A compiler measures the file it has written, whatever its user has installed."""
    assert load_artifact(installed).installed
    (installed / "model.onnx").write_bytes(b"changed")
    with pytest.raises(InputRejected, match="changed or damaged"):
        load_artifact(installed, cache=False)


@pytest.mark.parametrize("whole", [True, False])
def test_two_boards_install_at_once(
    installed: Path, board: Board, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """The graph of the other one is taken if it is whole; else the cache is named."""
    place, rename = place_of(installed, installed.parent / "budgetc"), os.rename

    def late(source: str, target: str) -> None:
        if target == str(place):
            shutil.copytree(source, target)
            if not whole:
                (place / "graph.onnx").write_bytes(b"")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    code, line = board("--install")
    if whole:
        assert (code, line, load_artifact(installed).installed) == (0, "", True)
    else:
        assert code == 2
        assert f"cannot be installed: {place}: cannot be written (Directory not empty); set XDG_CACHE_HOME" in line
    assert places(place.parent) == [place]


def test_a_board_names_a_cache_that_cannot_be_written(tmp_path: Path, board: Board) -> None:
    """It is not the artifact's fault."""
    write_artifact(tmp_path / "out")
    (tmp_path / "budgetc").write_text("")
    code, line = board("--install")
    assert (code, line.count("\n")) == (2, 1)
    assert line.startswith(f"the optimized graph cannot be installed: {tmp_path / 'budgetc'}")
    assert "cannot be written (File exists)" in line


@contextmanager
def full_disk() -> Iterator[None]:
    """No file gets longer than a kilobyte."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_named(tmp_path: Path, board: Board) -> None:
    """onnxruntime says it with an error of its own, and nothing is left behind."""
    out = write_artifact(tmp_path / "out", layers=3, channels=16)
    with full_disk(), pytest.raises(UsageError, match=r"budgetc: onnxruntime cannot write there .*; free space"):
        install_artifact(out)
    with full_disk():
        code, line = board("--install")
    assert (code, places(tmp_path / "budgetc")) == (2, [])
    assert line.startswith("the optimized graph cannot be installed: ") and "free space, or set XDG_CACHE_HOME" in line


def test_a_board_tells_of_the_installation(tmp_path: Path, board: Board) -> None:
    """Where memory was measured with an optimized graph that is not there; in one line."""
    write_artifact(tmp_path / "out", session={"preoptimized": True})
    (tmp_path / "picture.png").write_bytes(encoded(color()))
    code, line = board()
    assert (code, line.count("\n"), "`score.py --install` makes it load faster" in line) == (0, 1, True)
    assert board("--install") == (0, "")
    assert board() == (0, "")

"""OUT appears whole or not at all, and never over somebody else's files."""

import os
from pathlib import Path

import pytest

from budgetc.errors import UsageError
from budgetc.store.output import atomic_directory, check_replaceable


def write_artifact(final: Path, text: str) -> None:
    with atomic_directory(final) as new:
        (new / "artifact.json").write_text(text)
        (new / "device").mkdir()
        (new / "device" / "score.py").write_text(text)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_directory_appears_when_the_block_ends(tmp_path: Path) -> None:
    """Not before, with missing parents, and with nothing beside it."""
    final = tmp_path / "results" / "out"
    with atomic_directory(final) as new:
        (new / "report.json").write_text("{}")
        assert not final.exists()
    assert names(final) == ["report.json"]
    assert names(final.parent) == ["out"]


@pytest.mark.parametrize("older", [False, True])
def test_a_failure_leaves_everything_as_it_was(tmp_path: Path, older: bool) -> None:
    """The exception passes through; an older artifact stays, a new parent does not."""
    final = tmp_path / "results" / "out"
    if older:
        write_artifact(final, "older")
    with pytest.raises(KeyboardInterrupt), atomic_directory(final) as new:
        (new / "model.onnx").write_bytes(b"half")
        raise KeyboardInterrupt
    if older:
        assert names(final.parent) == ["out"]
        assert (final / "artifact.json").read_text() == "older"
    else:
        assert names(tmp_path) == []


def test_an_older_artifact_is_replaced(tmp_path: Path) -> None:
    """Nothing of it is left."""
    write_artifact(tmp_path / "out", "older")
    with atomic_directory(tmp_path / "out") as new:
        (new / "report.json").write_text("newer")
    assert names(tmp_path / "out") == ["report.json"]
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("foreign", ["notes.txt", "device/mine.py", "report.json.bak", "sub/report.json", "empty/"])
def test_foreign_files_stay(tmp_path: Path, foreign: str) -> None:
    """One file that budgetc did not write, and the directory is not touched."""
    final = tmp_path / "out"
    write_artifact(final, "older")
    path = final / foreign
    if foreign.endswith("/"):
        path.mkdir()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    with pytest.raises(UsageError, match=f"holds '{foreign}', which budgetc did not write"):
        write_artifact(final, "newer")
    assert path.exists()
    assert (final / "artifact.json").read_text() == "older"
    assert names(tmp_path) == ["out"]


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    """Checked again just before the rename."""
    final = tmp_path / "out"
    with pytest.raises(UsageError, match=r"notes\.txt"), atomic_directory(final) as new:
        (new / "artifact.json").write_text("{}")
        final.mkdir()
        (final / "notes.txt").write_text("mine")
    assert (final / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["out"]


def test_a_lone_model_is_not_an_artifact(tmp_path: Path) -> None:
    """A user's directory that happens to hold a model.onnx is not ours to replace."""
    (tmp_path / "model.onnx").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"neither artifact\.json nor report\.json"):
        check_replaceable(tmp_path)


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    """`mkdir out` first is no mistake."""
    (tmp_path / "out").mkdir()
    write_artifact(tmp_path / "out", "new")
    assert "artifact.json" in names(tmp_path / "out")


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_is_not_a_directory_stays(tmp_path: Path, kind: str) -> None:
    """A file or a symbolic link is never replaced or followed."""
    final, there = tmp_path / "out", tmp_path / "there"
    if kind == "file":
        final.write_text("mine")
    elif kind == "link":
        write_artifact(there, "mine")
        final.symlink_to(there)
    else:
        final.symlink_to(there)
    with pytest.raises(UsageError, match="out is not a directory"):
        write_artifact(final, "new")
    assert final.is_symlink() or final.read_text() == "mine"


def test_a_link_inside_is_foreign(tmp_path: Path) -> None:
    """Also where its name is one of ours."""
    final = tmp_path / "out"
    final.mkdir()
    (final / "artifact.json").write_text("{}")
    (tmp_path / "elsewhere").mkdir()
    (final / "device").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="holds 'device'"):
        check_replaceable(final)


def test_a_kill_between_the_two_renames_is_undone(tmp_path: Path) -> None:
    """The older artifact was moved aside and the new one not yet there: the next run starts from the older."""
    final = tmp_path / "out"
    write_artifact(final, "older")
    final.rename(tmp_path / ".out.old")
    (tmp_path / ".out.new").mkdir()
    with pytest.raises(RuntimeError), atomic_directory(final):
        raise RuntimeError
    assert (final / "artifact.json").read_text() == "older"
    assert names(tmp_path) == ["out"]


def test_a_relative_path_and_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the block changes directory, OUT still appears where it was meant."""
    monkeypatch.chdir(tmp_path)
    with atomic_directory(Path("out")) as new:
        (new / "artifact.json").write_text("{}")
        os.chdir("/")
    assert names(tmp_path) == ["out"]


def test_the_root_of_the_file_system_is_refused() -> None:
    """It holds files of others."""
    with pytest.raises(UsageError), atomic_directory(Path("/")):
        pass

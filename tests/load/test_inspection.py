"""Data sets as far as they can be read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from budgetc.errors import InputRejected, UsageError
from budgetc.load.inspection import inspect_data, picture_modes, what_is_missing
from tests.load.drawing import draw, draw_category, draw_frames, draw_many, texture


def test_a_sound_data_set_is_in_splits(tmp_path: Path) -> None:
    """Nothing is refused, nothing is missing; without a table groups come from the pictures."""
    found = inspect_data(draw_category(tmp_path))
    assert (found.refusal, what_is_missing(found), found.grouping) == (None, (), "seen in the pictures")
    assert found.dataset is not None
    assert set(found.groups) == {entry.file for entry in found.source.entries}


def test_too_few_normals_alone_are_read_and_the_rest_is_named(tmp_path: Path) -> None:
    """Four parts cannot be compiled with, but they can be looked over."""
    shutil.rmtree(draw_category(tmp_path, train=4) / "test")
    found = inspect_data(tmp_path)
    assert found.dataset is None
    assert found.refusal is not None
    assert "normals of 4 groups (parts), and no test part: at least 5 are needed" in found.refusal
    assert [entry.part for entry in found.source.entries] == ["train"] * 4
    assert [sentence.split(":")[0] for sentence in what_is_missing(found)] == ["normals to test with", "anomalies"]


def test_a_folder_of_pictures_is_taken_for_normals(tmp_path: Path) -> None:
    """Whoever has no layout yet learns what it is, and that a file is damaged."""
    draw_many(tmp_path, 5, 1)
    (tmp_path / "x.png").write_bytes(b"no picture")
    found = inspect_data(tmp_path)
    assert [entry.defect for entry in found.source.entries] == ["good"] * 5
    assert list(found.damaged) == ["x.png"]
    assert what_is_missing(found)[-1] == "readable files in place of x.png"


def test_a_leak_is_a_refusal(tmp_path: Path) -> None:
    """The same picture in train and in test: read, and refused with the reason."""
    draw_category(tmp_path)
    shutil.copy(tmp_path / "train" / "good" / "0003.png", tmp_path / "test" / "good" / "copy.png")
    found = inspect_data(tmp_path)
    assert found.refusal is not None
    assert "the same content is in train and in test" in found.refusal
    assert len(found.source.entries) == 21


def test_frames_are_grouped_in_blocks(tmp_path: Path) -> None:
    """Neighboring frames are nearly copies."""
    found = inspect_data(draw_frames(tmp_path, highway=120, rain=30))
    assert (found.grouping, len(set(found.groups.values()))) == ("blocks of frames", 15)


def test_arrays_are_read(tmp_path: Path) -> None:
    """`.npz` is a data set like any other."""
    images = np.stack([np.asarray(texture(number)) for number in range(30)])
    np.savez(tmp_path / "data.npz", train=images[:20], test=images[20:], test_label=np.arange(10) % 2)
    found = inspect_data(tmp_path / "data.npz")
    assert found.dataset is not None
    assert picture_modes(found.source) == {}


def test_groups_can_be_read_off_the_names(tmp_path: Path) -> None:
    """As `--group` says."""
    found = inspect_data(draw_category(tmp_path), group=r"(.*)\.png")
    assert found.grouping == "read off the file names"


def test_the_kind_of_every_picture_is_known(tmp_path: Path) -> None:
    """Gray and color among each other is worth a sentence."""
    draw(tmp_path / "a.png", 1)
    texture(2).convert("RGB").save(tmp_path / "b.png")
    assert picture_modes(inspect_data(tmp_path).source) == {"a.png": "gray", "b.png": "color"}


def test_no_pictures_at_all_is_rejected(tmp_path: Path) -> None:
    """There is nothing to look over."""
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputRejected, match=r"expected train/good with test/good"):
        inspect_data(tmp_path)


def test_nothing_at_the_path_is_a_usage_error(tmp_path: Path) -> None:
    """Exit code 2."""
    with pytest.raises(UsageError, match="does not exist"):
        inspect_data(tmp_path / "nowhere")

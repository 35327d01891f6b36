import shutil
from pathlib import Path

import pytest

from budgetc.errors import InputRejected
from budgetc.load.datasets import describe, load_dataset
from tests.load.drawing import draw, draw_frames, draw_many


def test_a_scene_is_cut_along_its_time(tmp_path: Path) -> None:
    """train, calibration, selection, confirmation follow each other; other scenes are the anomalies."""
    dataset = load_dataset(draw_frames(tmp_path))
    assert dataset.video
    assert describe(dataset) == {
        "train": {"good": 110, "bad": 0, "groups": 11},
        "calibration": {"good": 30, "bad": 0, "groups": 3},
        "selection": {"good": 20, "bad": 20, "groups": 4},
        "confirmation": {"good": 30, "bad": 30, "groups": 6},
    }
    starts = [dataset.samples[name][0].file for name in ("train", "calibration")]
    assert starts == ["train/highway/0000.png", "train/highway/0120.png"]
    assert {sample.defect for sample in dataset.samples["selection"]} == {"good", "rain"}


def test_frames_are_ordered_by_number_not_by_name(tmp_path: Path) -> None:
    """frame2 comes before frame10."""
    draw_frames(tmp_path, highway=0)
    for number in range(80):
        draw(tmp_path / "train" / "highway" / f"frame{number}.png", 5000 + number)
    files = [sample.file for sample in load_dataset(tmp_path).samples["train"]]
    assert files[:3] == [f"train/highway/frame{number}.png" for number in range(3)]


def test_a_scene_in_train_and_test_is_in_distribution(tmp_path: Path) -> None:
    """Then nothing is borrowed from train."""
    draw_frames(tmp_path)
    draw_many(tmp_path / "test" / "highway", 50, 7)
    found = describe(load_dataset(tmp_path))
    assert found["train"]["good"] + found["calibration"]["good"] == 210
    assert found["selection"]["good"] + found["confirmation"]["good"] == 40


def test_stated_clips_replace_blocks(tmp_path: Path) -> None:
    """With a pattern each clip is a group, and 30 % of them test."""
    for clip in range(10):
        draw_many(tmp_path / "train" / f"clip{clip}", 2, 100 + clip)
        draw_many(tmp_path / "other" / f"rain{clip}", 2, 200 + clip)
    dataset = load_dataset(tmp_path, group=r"(\w+)/\d+\.png")
    found = describe(dataset)
    assert not dataset.video
    assert [found[name]["good"] for name in found] == [12, 2, 2, 4]


def test_a_short_scene_is_refused_with_the_length_that_is_needed(tmp_path: Path) -> None:
    """And with the other way to group clips."""
    with pytest.raises(InputRejected, match=r"longest scene in train has 60 frames; at least 70 .*`group`"):
        load_dataset(draw_frames(tmp_path, highway=60))


def test_a_frame_without_a_number_is_named(tmp_path: Path) -> None:
    """Its place in time is not guessed."""
    draw_frames(tmp_path)
    draw(tmp_path / "train" / "highway" / "last.png", 77)
    with pytest.raises(InputRejected, match=r"train/highway/last.png: frames are ordered by the number"):
        load_dataset(tmp_path)


def test_misnamed_normals_are_not_taken_for_frames(tmp_path: Path) -> None:
    """train/ok with test/good is a slip in an MVTec layout."""
    draw_many(tmp_path / "train" / "ok", 5, 1)
    draw_many(tmp_path / "test" / "good", 5, 2)
    draw_many(tmp_path / "test" / "scratch", 5, 3)
    with pytest.raises(InputRejected, match="test/good but no train/good; call the normals train/good"):
        load_dataset(tmp_path)


def test_good_frames_among_the_others_are_refused(tmp_path: Path) -> None:
    """other/good contradicts itself."""
    draw_many(draw_frames(tmp_path) / "other" / "good", 5, 9)
    with pytest.raises(InputRejected, match="other/good contradicts itself"):
        load_dataset(tmp_path)


def test_the_same_frame_in_train_and_other_is_refused(tmp_path: Path) -> None:
    """A leak in a video is a leak."""
    draw_frames(tmp_path)
    shutil.copy(tmp_path / "train" / "highway" / "0001.png", tmp_path / "other" / "rain" / "0001.png")
    with pytest.raises(InputRejected, match="same content is in train and in test"):
        load_dataset(tmp_path)

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from budgetc.errors import InputRejected, UsageError
from budgetc.load.datasets import load_dataset
from tests.load.drawing import draw, draw_category, draw_many


def break_empty_root(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def break_unknown_layout(root: Path) -> None:
    shutil.rmtree(root)
    draw_many(root / "pictures", 3, 1)


def break_no_train(root: Path) -> None:
    shutil.rmtree(root / "train")


def break_empty_class(root: Path) -> None:
    (root / "test" / "hole").mkdir()


def break_only_bad(root: Path) -> None:
    shutil.rmtree(root / "test" / "good")


def break_one_normal(root: Path) -> None:
    for number in range(1, 10):
        (root / "train" / "good" / f"000{number}.png").unlink()


def break_all_identical(root: Path) -> None:
    for number in range(10):
        draw(root / "train" / "good" / f"000{number}.png", 1)


def break_same_content(root: Path) -> None:
    shutil.copy(root / "train" / "good" / "0000.png", root / "test" / "good" / "again.png")


def break_anomalies_in_train(root: Path) -> None:
    draw_many(root / "train" / "scratch", 2, 9)


def break_unknown_folder(root: Path) -> None:
    (root / "ground_truth").rename(root / "ground-truth")


def break_missing_mask(root: Path) -> None:
    (root / "ground_truth" / "scratch" / "0003_mask.png").unlink()


def break_mask_size(root: Path) -> None:
    Image.new("L", (5, 5)).save(root / "ground_truth" / "scratch" / "0003_mask.png")


def break_truncated(root: Path) -> None:
    path = root / "train" / "good" / "0003.png"
    path.write_bytes(path.read_bytes()[:-100])


def break_many_unreadable(root: Path) -> None:
    for number in range(7):
        (root / "train" / "good" / f"000{number}.png").write_bytes(b"not a picture")


def break_empty_file(root: Path) -> None:
    (root / "test" / "scratch" / "0001.png").write_bytes(b"")


def break_one_pixel(root: Path) -> None:
    Image.new("L", (1, 1)).save(root / "train" / "good" / "0001.png")


def break_enormous(root: Path) -> None:
    Image.new("1", (9000, 9000)).save(root / "train" / "good" / "0001.png")


def break_text_file(root: Path) -> None:
    (root / "train" / "good" / "notes.txt").write_text("these are good")


def break_fifo(root: Path) -> None:
    os.mkfifo(root / "train" / "good" / "pipe.png")


def break_symlink_loop(root: Path) -> None:
    (root / "train" / "good" / "loop.png").symlink_to(root / "train" / "good" / "loop.png")


def break_heic(root: Path) -> None:
    (root / "train" / "good" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")


def break_name(root: Path) -> None:
    draw(root / "train" / "good" / os.fsdecode(b"caf\xe9.png"), 5)


BAD: tuple[tuple[Callable[[Path], None], str], ...] = (
    (break_empty_root, "holds no folders; expected train/good"),
    (break_unknown_layout, "holds pictures; expected train/good"),
    (break_no_train, "no train/good/"),
    (break_empty_class, "test/hole/ holds no pictures"),
    (break_only_bad, r"only one class: no normals; .*\(test/good\) and anomalies"),
    (break_one_normal, "category 'all': fewer than 2 normal groups to train on"),
    (break_all_identical, "fewer than 2 normal groups to train on"),
    (break_same_content, "same content is in train and in test: train/good/0000.png = test/good/again.png"),
    (break_anomalies_in_train, "train/ holds scratch; normals only"),
    (break_unknown_folder, "unknown folder ground-truth; expected train, test, ground_truth"),
    (break_missing_mask, "masks are missing: ground_truth/scratch/0003_mask.png"),
    (
        break_mask_size,
        "pictures: test/scratch/0003.png; the first: a mask of 5 x 5 for a picture of 48 x 40 pixels; save masks",
    ),
    (break_truncated, "unreadable pictures: train/good/0003.png; the first: not a readable image"),
    (break_many_unreadable, r"train/good/0004.png, \.\.\. \(7 in all\)"),
    (break_empty_file, "unreadable pictures: test/scratch/0001.png"),
    (break_one_pixel, "unreadable pictures: train/good/0001.png; the first: 1 x 1 pixels"),
    (break_enormous, "unreadable pictures: train/good/0001.png; the first: image of .*81 megapixels"),
    (break_text_file, "train/good/notes.txt is no picture file"),
    (break_fifo, "train/good/pipe.png is no picture file"),
    (break_symlink_loop, "train/good/loop.png is no picture file"),
    (break_name, "is not UTF-8; rename the file"),
    (break_heic, "IMG_1.HEIC is no picture file .*.jpeg.*; convert pictures of other kinds"),
)


@pytest.mark.parametrize(("harm", "sentence"), BAD)
def test_bad_data_is_refused_with_what_and_where(tmp_path: Path, harm: Callable[[Path], None], sentence: str) -> None:
    """Exit code 4, the file or folder named."""
    root = draw_category(tmp_path / "data")
    harm(root)
    with pytest.raises(InputRejected, match=sentence):
        load_dataset(root)


def test_a_path_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    """Exit code 2: nothing was there to reject."""
    with pytest.raises(UsageError, match=r"none does not exist; expected train/good"):
        load_dataset(tmp_path / "none")


def test_a_fifo_is_no_data_set(tmp_path: Path) -> None:
    """It is refused, not waited for."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputRejected, match="neither a folder nor a regular file"):
        load_dataset(tmp_path / "pipe")


def test_a_folder_that_is_no_category_is_named(tmp_path: Path) -> None:
    """In a unified data set nothing is skipped silently."""
    draw_category(tmp_path / "bolt")
    draw_many(tmp_path / "nuts_new", 2, 9)
    with pytest.raises(InputRejected, match="nuts_new has no train/good beside the categories"):
        load_dataset(tmp_path)


def test_groups_csv_of_a_category_is_refused(tmp_path: Path) -> None:
    """It would be read nowhere."""
    draw_category(tmp_path / "bolt")
    (tmp_path / "bolt" / "groups.csv").write_text("file,group\n")
    with pytest.raises(InputRejected, match=r"bolt/groups.csv is not read; one groups.csv belongs at the root"):
        load_dataset(tmp_path)

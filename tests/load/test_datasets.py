import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budgetc.core.dataset import SPLITS, Dataset, Sample
from budgetc.errors import InputRejected
from budgetc.load.datasets import content_digest, describe, load_dataset, load_test_part
from tests.load.drawing import draw, draw_category, draw_frames, texture

DATA = os.environ.get("BUDGETC_TEST_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="BUDGETC_TEST_DATA names no folder of real data sets")


def every(dataset: Dataset) -> list[Sample]:
    return [sample for split in SPLITS for sample in dataset.samples[split]]


def groups_of(dataset: Dataset) -> list[set[str]]:
    return [{sample.group for sample in dataset.samples[split]} for split in SPLITS]


def assert_disjoint(dataset: Dataset) -> None:
    groups = groups_of(dataset)
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_one_category_is_split(tmp_path: Path) -> None:
    """80 / 20 of the normals, 40 / 60 of each defect type."""
    assert describe(load_dataset(draw_category(tmp_path))) == {
        "train": {"good": 8, "bad": 0, "groups": 8},
        "calibration": {"good": 2, "bad": 0, "groups": 2},
        "selection": {"good": 2, "bad": 2, "groups": 4},
        "confirmation": {"good": 3, "bad": 3, "groups": 6},
    }


def test_every_picture_is_in_one_split(tmp_path: Path) -> None:
    """Nothing is lost, nothing is there twice, no group is in two splits."""
    dataset = load_dataset(draw_category(tmp_path))
    assert sorted(sample.file for sample in every(dataset)) == sorted(
        path.relative_to(tmp_path).as_posix() for part in ("train", "test") for path in (tmp_path / part).rglob("*.png")
    )
    assert_disjoint(dataset)


def test_several_categories_are_one_data_set(tmp_path: Path) -> None:
    """Each category and defect type has pictures in every split it belongs to."""
    for seed, name in enumerate(("bolt", "nut")):
        draw_category(tmp_path / name, seed=seed)
    (tmp_path / "readme.txt").write_text("beside the categories")
    dataset = load_dataset(tmp_path)
    assert dataset.categories == ("bolt", "nut")
    for split in ("selection", "confirmation"):
        assert {(s.category, s.defect) for s in dataset.samples[split]} == {
            (category, defect) for category in ("bolt", "nut") for defect in ("good", "scratch")
        }


def test_masks_belong_to_their_pictures(tmp_path: Path) -> None:
    """A defect's mask is named; normals have none."""
    dataset = load_dataset(draw_category(tmp_path))
    for sample in every(dataset):
        stem = Path(sample.file).stem
        assert sample.mask == (f"ground_truth/scratch/{stem}_mask.png" if sample.label else None)


def test_pictures_are_read_as_rgb_of_the_asked_size(tmp_path: Path) -> None:
    """(n, 3, height, width), in the order of the samples."""
    dataset = load_dataset(draw_category(tmp_path))
    images = dataset.images("selection", (40, 48))
    first = np.asarray(Image.open(tmp_path / dataset.samples["selection"][0].file))
    assert images.shape == (4, 3, 40, 48)
    assert (images[0] == first).all()


def test_a_data_set_can_be_handed_to_another_process(tmp_path: Path) -> None:
    """Pickled and back, it reads the same pictures."""
    dataset = load_dataset(draw_category(tmp_path))
    copy: Dataset = pickle.loads(pickle.dumps(dataset))
    assert (copy.images("train", (8, 8)) == dataset.images("train", (8, 8))).all()


def test_a_picture_that_changes_is_noticed(tmp_path: Path) -> None:
    """What is read later is what was split and hashed."""
    dataset = load_dataset(draw_category(tmp_path))
    sample = dataset.samples["train"][0]
    draw(tmp_path / sample.file, 12345)
    with pytest.raises(InputRejected, match="changed while budgetc was running"):
        dataset.read(sample, (8, 8))


def test_the_digest_follows_content_and_place(tmp_path: Path) -> None:
    """Copies elsewhere have the same digest; another pixel or another name has not."""
    draw_category(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.copytree(tmp_path / "one", tmp_path / "three")
    draw(tmp_path / "two" / "train" / "good" / "0000.png", 999)
    (tmp_path / "three" / "train" / "good" / "0000.png").rename(tmp_path / "three" / "train" / "good" / "9999.png")
    original = load_dataset(tmp_path / "one").digest
    shutil.copytree(tmp_path / "one", tmp_path / "four")
    assert load_dataset(tmp_path / "four").digest == original
    assert load_dataset(tmp_path / "two").digest != original
    assert load_dataset(tmp_path / "three").digest != original


def test_another_seed_splits_differently_and_the_same_seed_alike(tmp_path: Path) -> None:
    """The seed decides, nothing else does."""
    draw_category(tmp_path, train=30)
    assert load_dataset(tmp_path, seed=1).samples == load_dataset(tmp_path, seed=1).samples
    assert load_dataset(tmp_path, seed=1).samples != load_dataset(tmp_path, seed=2).samples


def test_groups_csv_keeps_a_part_together(tmp_path: Path) -> None:
    """All photographs of a part are in one split."""
    draw_category(tmp_path, train=12, good=8, scratch=8)
    files = [path.relative_to(tmp_path) for part in ("train", "test") for path in (tmp_path / part).rglob("*.png")]
    lines = [f"{file.as_posix()},{file.parent}-{int(file.stem) // 2}" for file in files]
    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *lines, ""]))
    dataset = load_dataset(tmp_path)
    assert [len(groups) for groups in groups_of(dataset)] == [5, 1, 4, 4]
    assert_disjoint(dataset)


def test_a_pattern_keeps_a_part_together(tmp_path: Path) -> None:
    """The first parenthesis is the group."""
    draw_category(tmp_path, train=30, good=30, scratch=30)
    dataset = load_dataset(tmp_path, group=r"(\w+/\w+/\d\d\d)")
    assert {sample.group for sample in dataset.samples["train"]} < {f"train/good/00{tens}" for tens in range(3)}
    assert_disjoint(dataset)


def test_near_copies_are_one_group(tmp_path: Path) -> None:
    """A picture and the same one saved as JPEG stay together; different pictures do not."""
    draw_category(tmp_path)
    texture(1001).save(tmp_path / "train" / "good" / "0001_again.jpg", quality=95)
    dataset = load_dataset(tmp_path)
    groups = {sample.file: sample.group for sample in every(dataset)}
    assert groups["train/good/0001_again.jpg"] == groups["train/good/0001.png"]
    assert len(set(groups.values())) == len(groups) - 1


def test_flat_pictures_are_not_near_copies(tmp_path: Path) -> None:
    """A wall of the same gray looks the same everywhere; only equal bytes count there."""
    draw_category(tmp_path, train=2)
    for number in range(6):
        rows = np.full((40, 48), 128, np.uint8)
        rows[number, 0] += 1
        Image.fromarray(rows).save(tmp_path / "train" / "good" / f"flat{number}.png")
    assert len(groups_of(load_dataset(tmp_path))[0] | groups_of(load_dataset(tmp_path))[1]) == 8


def test_a_near_copy_in_train_and_test_is_refused(tmp_path: Path) -> None:
    """The same photograph saved twice is a leak, and the way out is named."""
    draw_category(tmp_path)
    texture(1001).save(tmp_path / "test" / "good" / "copy.jpg", quality=95)
    with pytest.raises(InputRejected, match=r"is in train .*0001.png.* and in test .*copy.jpg.*say in groups.csv"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", ".jpg"), ("RGBA", ".png"), ("1", ".png"), ("I;16", ".png")])
def test_unusual_pictures_are_read(tmp_path: Path, mode: str, suffix: str) -> None:
    """CMYK, alpha, bilevel and 16-bit files are pictures too."""
    draw_category(tmp_path)
    texture(7).convert(mode).save(tmp_path / "train" / "good" / f"odd{suffix}")
    assert load_dataset(tmp_path).digest


def test_litter_of_file_managers_is_ignored(tmp_path: Path) -> None:
    """Hidden files and thumbnails of the system are no data."""
    draw_category(tmp_path)
    before = load_dataset(tmp_path).digest
    for name in (".DS_Store", "Thumbs.db"):
        (tmp_path / "train" / "good" / name).write_bytes(b"x")
    assert load_dataset(tmp_path).digest == before


def test_the_test_part_alone_is_enough_to_evaluate(tmp_path: Path) -> None:
    """All test pictures, with or without train/."""
    draw_category(tmp_path)
    whole = load_test_part(tmp_path)
    shutil.rmtree(tmp_path / "train")
    assert describe(load_test_part(tmp_path))["confirmation"] == {"good": 5, "bad": 5, "groups": 10}
    assert load_test_part(tmp_path).samples == whole.samples


def test_content_has_one_digest(tmp_path: Path) -> None:
    """The digest of the whole is the same with and without splitting, and another than that of the test part."""
    draw_category(tmp_path)
    assert content_digest(tmp_path) == load_dataset(tmp_path).digest != load_test_part(tmp_path).digest


def test_an_evaluation_needs_both_classes(tmp_path: Path) -> None:
    """The sentence is that of the compiler."""
    draw_category(tmp_path)
    shutil.rmtree(tmp_path / "test" / "good")
    with pytest.raises(InputRejected, match="only one class"):
        load_test_part(tmp_path)


def test_frames_can_be_evaluated_without_test_normals(tmp_path: Path) -> None:
    """The normals are then those that were never trained on."""
    draw_frames(tmp_path)
    split = describe(load_dataset(tmp_path))
    whole = describe(load_test_part(tmp_path))
    assert whole["confirmation"]["good"] == split["selection"]["good"] + split["confirmation"]["good"]


@needs_data
def test_real_magnetic_tiles() -> None:
    """1046 photographs of 202 tiles: all there, no tile in two splits, every defect type on both sides."""
    dataset = load_dataset(Path(str(DATA)) / "magnetic-tile")
    found = describe(dataset)
    assert found["train"]["good"] + found["calibration"]["good"] == 638
    assert found["selection"]["good"] + found["confirmation"]["good"] == 160
    assert found["selection"]["bad"] + found["confirmation"]["bad"] == 248
    assert sum(split["groups"] for split in found.values()) == 202
    assert len({s.defect for s in dataset.samples["selection"]}) == 6
    assert len({s.defect for s in dataset.samples["confirmation"]}) == 6
    assert_disjoint(dataset)


@needs_data
def test_real_driving_frames() -> None:
    """221 frames in four stretches with three gaps; three other clips."""
    dataset = load_dataset(Path(str(DATA)) / "driving")
    found = describe(dataset)
    assert dataset.video
    assert sum(split["good"] for split in found.values()) == 221 - 3 * 10
    assert {s.defect for s in dataset.samples["confirmation"]} == {"good", "bikes", "carphone", "bigbuckbunny"}
    assert_disjoint(dataset)

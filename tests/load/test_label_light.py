"""Data without anomalies, or with too few: what becomes of it."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from budgetc.core.dataset import SPLITS, Dataset, Motion
from budgetc.errors import InputRejected
from budgetc.load.datasets import describe, load_dataset, load_test_part
from budgetc.load.factors import FACTORS, ORDERS
from budgetc.load.motion import as_read_by
from budgetc.load.synthetic import DRAWINGS
from tests.load.clips import draw_clips
from tests.load.drawing import SIZE, draw_category, draw_frames, texture


def normals(root: Path, count: int = 20) -> Path:
    """train/good and nothing else."""
    shutil.rmtree(draw_category(root, train=count) / "test")
    shutil.rmtree(root / "ground_truth")
    return root


def assert_sound(dataset: Dataset) -> None:
    """No group in two splits; training and calibration see taken pictures of normals only."""
    groups = [{sample.group for sample in dataset.samples[split]} for split in SPLITS]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert not any(s.synthetic or s.label for name in ("train", "calibration") for s in dataset.samples[name])
    made = {split: {s.file for s in dataset.samples[split] if s.synthetic} for split in SPLITS}
    assert made["selection"] and made["confirmation"] and not made["selection"] & made["confirmation"]
    for split in ("selection", "confirmation"):
        held = {sample.file: sample.group for sample in dataset.samples[split] if not sample.label}
        assert all(held[s.file.split("#")[0]] == s.group for s in dataset.samples[split] if s.synthetic)


def test_normals_alone_are_split_in_four(tmp_path: Path) -> None:
    """30 % are held out, and get every kind of synthetic anomaly in several draws."""
    dataset = load_dataset(normals(tmp_path))
    assert_sound(dataset)
    assert dataset.synthetic
    found = describe(dataset)
    assert [found[split]["good"] for split in SPLITS] == [11, 3, 2, 4]
    assert found["confirmation"]["bad"] == 4 * 16
    assert {s.defect for s in dataset.samples["confirmation"]} == {"good", *DRAWINGS}


def test_the_same_normals_give_the_same_pictures(tmp_path: Path) -> None:
    """From another reading, too; another seed draws others."""
    root = normals(tmp_path)
    first, again = (load_dataset(root).images("confirmation", (24, 24)) for _ in range(2))
    assert np.array_equal(first, again)
    other = load_dataset(root, seed=1)
    assert {s.file for s in other.samples["confirmation"]} != {
        s.file for s in load_dataset(root).samples["confirmation"]
    }


def test_masks_are_of_the_picture_as_taken(tmp_path: Path) -> None:
    """At its own size, exactly where the copy differs from the normal that it is made of."""
    dataset = load_dataset(normals(tmp_path))
    size = (SIZE[1], SIZE[0])
    for sample in dataset.samples["selection"]:
        if sample.synthetic:
            mask, original = dataset.read_mask(sample), sample.file.split("#")[0]
            normal = next(s for s in dataset.samples["selection"] if s.file == original)
            changed = (dataset.read(sample, size) != dataset.read(normal, size)).any(axis=0)
            assert mask.shape == size and not (changed & ~mask).any() and changed[mask].mean() > 0.5


def test_test_normals_are_held_out_where_there_are_some(tmp_path: Path) -> None:
    """Nothing is taken from train then."""
    shutil.rmtree(draw_category(tmp_path, good=10) / "test" / "scratch")
    shutil.rmtree(tmp_path / "ground_truth")
    dataset = load_dataset(tmp_path)
    assert_sound(dataset)
    assert len(dataset.samples["train"]) + len(dataset.samples["calibration"]) == 10
    assert all(s.file.startswith("test/good") for s in dataset.samples["confirmation"])


def test_one_real_anomaly_is_kept_for_confirmation(tmp_path: Path) -> None:
    """Too few for two splits: judged beside synthetic ones, and its mask is its own file."""
    draw_category(tmp_path, scratch=1)
    dataset = load_dataset(tmp_path)
    assert_sound(dataset)
    real = [s for s in dataset.samples["confirmation"] if s.label and not s.synthetic]
    assert [s.file for s in real] == ["test/scratch/0000.png"]
    assert dataset.read_mask(real[0]).all()


def test_real_anomalies_need_no_synthetic_ones(tmp_path: Path) -> None:
    """Two parts are enough for two splits, as before."""
    assert not load_dataset(draw_category(tmp_path, scratch=2)).synthetic


def test_frames_without_other_scenes_get_factors(tmp_path: Path) -> None:
    """Of the whole frame, so that there is no mask; splits keep their gaps."""
    shutil.rmtree(draw_frames(tmp_path, highway=150) / "other")
    dataset = load_dataset(tmp_path)
    assert_sound(dataset)
    made = [s for s in dataset.samples["confirmation"] if s.synthetic]
    assert {s.defect for s in made} == set(FACTORS) - set(ORDERS)
    assert {s.mask for s in made} == {None}


def test_frames_with_factors_are_read_by_detectors_of_pictures_and_of_motion(tmp_path: Path) -> None:
    """No copy is a normal in another order, and each factor lasts: fields are never computed across missing frames."""
    shutil.rmtree(draw_clips(tmp_path) / "other")
    dataset = load_dataset(tmp_path)
    assert as_read_by(dataset, None) is dataset
    moving = as_read_by(dataset, Motion((24, 32), (25, 34), 6, 3.4))
    for split in ("selection", "confirmation"):
        files = {s.file for s in dataset.samples[split]}
        made = [s.file for s in moving.samples[split] if s.synthetic]
        before = [re.sub(r"\d{4}", lambda found: f"{int(found[0]) - 1:04d}", file) for file in made]
        assert len(made) > 20 and files.issuperset(before)


def test_arrays_of_normals_are_label_light(tmp_path: Path) -> None:
    """All labels 0."""
    images = np.stack([np.asarray(texture(number)) for number in range(30)])
    np.savez(tmp_path / "data.npz", train=images[:20], test=images[20:], test_label=np.zeros(10, int))
    dataset = load_dataset(tmp_path / "data.npz")
    assert_sound(dataset)
    assert dataset.images("selection", (16, 16)).shape[0] == len(dataset.samples["selection"])


def test_an_evaluation_uses_held_out_normals(tmp_path: Path) -> None:
    """Of both test splits; none that was trained on."""
    root = normals(tmp_path)
    whole, part = load_dataset(root), load_test_part(root)
    assert part.samples["confirmation"] == whole.samples["selection"] + whole.samples["confirmation"]
    assert part.synthetic


def test_a_category_without_test_beside_others_with_anomalies_is_refused(tmp_path: Path) -> None:
    """Its anomalies were forgotten, and are not made up."""
    draw_category(tmp_path / "bolt")
    shutil.rmtree(draw_category(tmp_path / "nut", seed=5) / "test")
    shutil.rmtree(tmp_path / "nut" / "ground_truth")
    with pytest.raises(InputRejected, match="nut: no test/good and test/<defect type>"):
        load_dataset(tmp_path)


def test_each_category_of_normals_is_held_out(tmp_path: Path) -> None:
    """Also where only one of two has test normals."""
    normals(tmp_path / "bolt")
    draw_category(tmp_path / "nut", good=6, seed=5)
    shutil.rmtree(tmp_path / "nut" / "test" / "scratch")
    shutil.rmtree(tmp_path / "nut" / "ground_truth")
    dataset = load_dataset(tmp_path)
    assert_sound(dataset)
    assert {s.category for s in dataset.samples["confirmation"] if s.synthetic} == {"bolt", "nut"}

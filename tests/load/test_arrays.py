import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from budgetc.errors import InputRejected
from budgetc.load.datasets import describe, load_dataset

RANDOM = np.random.default_rng(0)
TRAIN = RANDOM.integers(0, 256, (10, 12, 8), dtype=np.uint8)
TEST = RANDOM.integers(0, 256, (10, 12, 8), dtype=np.uint8)
LABELS = np.array([0, 1] * 5)


def saved(folder: Path, **changes: NDArray[Any] | None) -> Path:
    arrays: dict[str, Any] = {"train": TRAIN, "test": TEST, "test_label": LABELS, **changes}
    path = folder / "data.npz"
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_arrays_are_a_data_set(tmp_path: Path) -> None:
    """Split like folders, read back pixel by pixel, gray in all three channels."""
    dataset = load_dataset(saved(tmp_path))
    assert describe(dataset)["train"]["good"] == 8
    assert describe(dataset)["confirmation"] == {"good": 3, "bad": 3, "groups": 6}
    sample = dataset.samples["train"][0]
    assert (dataset.read(sample, (12, 8)) == TRAIN[int(sample.file[-6:])]).all()


def test_floats_and_bytes_are_the_same_data_set(tmp_path: Path) -> None:
    """0..1 becomes 0..255, rounded."""
    color = np.stack([TRAIN, TRAIN[::-1], TRAIN], axis=-1)
    one = load_dataset(saved(tmp_path, train=color)).digest
    other = load_dataset(saved(tmp_path, train=(color / 255).astype(np.float32))).digest
    assert one == other


def test_groups_categories_and_defects_are_used(tmp_path: Path) -> None:
    """Arrays say what folders say by their names."""
    category = np.array(["bolt", "nut"] * 5)
    path = saved(
        tmp_path,
        train_category=category,
        test_category=np.repeat(["bolt", "nut"], 5),
        test_defect=np.where(LABELS == 1, "hole", "good"),
        train_group=np.arange(10),
        test_group=np.arange(100, 110),
    )
    dataset = load_dataset(path)
    samples = [sample for split in dataset.samples.values() for sample in split]
    assert dataset.categories == ("bolt", "nut")
    assert {sample.defect for sample in samples} == {"good", "hole"}
    assert {sample.group for sample in samples} == {str(i) for i in (*range(10), *range(100, 110))}


def test_a_group_in_train_and_test_is_refused(tmp_path: Path) -> None:
    """Also between arrays."""
    with pytest.raises(InputRejected, match=r"group '\d' is in train .*; 7 such groups in all"):
        load_dataset(saved(tmp_path, train_group=np.arange(10), test_group=np.arange(3, 13)))


def test_labels_are_part_of_the_digest(tmp_path: Path) -> None:
    """The same pixels with other labels are another data set."""
    one = load_dataset(saved(tmp_path)).digest
    assert load_dataset(saved(tmp_path, test_label=LABELS[::-1])).digest != one


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"test": None}, "no array test; expected the arrays train, test, test_label"),
        ({"trian": TRAIN}, "unknown array 'trian'; did you mean 'train'"),
        ({"train": TRAIN[0]}, r"train has shape \(12, 8\); expected"),
        ({"train": TRAIN[:0]}, r"train has shape \(0, 12, 8\)"),
        ({"train": np.zeros((4, 8, 8, 2), np.uint8)}, r"train has shape \(4, 8, 8, 2\)"),
        ({"train": TRAIN.astype(np.int64)}, "train has dtype int64; expected uint8, or float"),
        ({"train": TRAIN.astype(np.float32)}, "train has floats from 0 to 255; expected 0 to 1"),
        ({"test": np.full((10, 12, 8), np.nan)}, "test has floats from nan"),
        ({"test": np.zeros((10, 1, 1), np.uint8)}, "1 x 1 pixels"),
        ({"test_label": LABELS[:5]}, r"test_label has shape \(5,\); expected \(10,\), one for each"),
        ({"test_label": LABELS * 2}, r"5 of 10 in test_label are neither 0 \(normal\) nor 1 \(anomalous\), such as 2"),
        ({"test_defect": np.full(10, "hole")}, "row 0 of test has label 0 and defect type 'hole'"),
        ({"test_group": np.arange(10)}, "train_group and test_group belong together"),
        ({"test_category": np.arange(10)}, "train_category and test_category belong together"),
        ({"train_group": np.arange(10), "test_group": np.ones(10)}, "test_group is float64"),
        ({"train_group": np.arange(10), "test_group": np.array([""] * 10)}, "test_group has an empty name in row 0"),
        ({"train": np.array([{}], dtype=object)}, "not plain data"),
        ({"test": TRAIN}, "same content is in train and in test"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    """The array is named, and what it should be."""
    with pytest.raises(InputRejected, match=sentence):
        load_dataset(saved(tmp_path, **changes))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"\x93NUMPY"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    """Content counts, not the suffix."""
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(InputRejected, match=r"not a readable .npz"):
        load_dataset(path)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    """Half a download is no data set."""
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputRejected, match=r"not a readable .npz"):
        load_dataset(path)


def test_an_array_of_a_declared_size_it_does_not_have_is_refused(tmp_path: Path) -> None:
    """The header asks for a terabyte; nothing is allocated."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1000, 100_000, 10_000)}
    )
    path = saved(tmp_path, train=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train.npy", header.getvalue())
    with pytest.raises(InputRejected, match="is not plain data of its own size"):
        load_dataset(path)

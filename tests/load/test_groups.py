from pathlib import Path

import pytest

from budgetc.errors import InputRejected, UsageError
from budgetc.load.datasets import load_dataset
from budgetc.load.groups import groups_by_pattern, read_groups_csv
from budgetc.load.listing import Entry
from tests.load.drawing import draw, draw_category

ENTRIES = (Entry("a.png", "train", "all", "good"), Entry("b.png", "test", "all", "bad"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: found nothing; expected `file,group`"),
        ("group,file\n", "line 1: found group,file; expected `file,group`"),
        ("file,group\na.png,1\na.png,2\n", "line 3: a.png is named twice"),
        ("file,group\na.png\n", "line 2: found 'a.png'; expected a file and its group"),
        ("file,group\na.png,\n", "line 2: found 'a.png,'"),
        ("file,group\na.png,1\nb.png,1\nc.png,2\n", "names what is no picture of the data set: c.png"),
        ("file,group\na.png,1\n", "pictures without a line: b.png"),
        ('file,group\n"a.png,1\n', "cannot be read"),
    ],
)
def test_a_wrong_groups_csv_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """The line and what is wrong with it."""
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(InputRejected, match=sentence):
        read_groups_csv(path, ENTRIES)


def test_groups_csv_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """Latin-1 is not guessed."""
    path = tmp_path / "groups.csv"
    path.write_bytes(b"file,group\na.png,caf\xe9\n")
    with pytest.raises(InputRejected, match=r"cannot be read .*expected UTF-8"):
        read_groups_csv(path, ENTRIES)


def test_groups_csv_from_a_spreadsheet_is_read(tmp_path: Path) -> None:
    """Byte order mark, carriage returns and blank lines are what spreadsheets write."""
    path = tmp_path / "groups.csv"
    path.write_bytes(b'\xef\xbb\xbffile,group\r\na.png,"tile, left"\r\n\r\nb.png,2\r\n')
    assert read_groups_csv(path, ENTRIES) == {"a.png": "tile, left", "b.png": "2"}


@pytest.mark.parametrize("pattern", ["(", "[a-z]+"])
def test_a_pattern_without_a_group_is_a_usage_error(pattern: str) -> None:
    """Exit code 2: it was typed on the command line or into the budget."""
    with pytest.raises(UsageError, match=r"group: .* (is not a regular expression|has no parenthesis)"):
        groups_by_pattern(pattern, ENTRIES)


def test_files_that_the_pattern_misses_are_named() -> None:
    """No file gets a group of its own silently."""
    with pytest.raises(InputRejected, match=r"finds no group in b.png"):
        groups_by_pattern("(a)", ENTRIES)


def test_a_stated_group_in_train_and_test_is_refused(tmp_path: Path) -> None:
    """One part, photographed for training and for testing."""
    draw_category(tmp_path)
    with pytest.raises(InputRejected, match=r"group '0000' is in train .train/good/0000.png. and in test"):
        load_dataset(tmp_path, group=r"(\d{4})")


def test_stated_groups_that_share_a_picture_become_one(tmp_path: Path) -> None:
    """The same bytes under two groups cannot fall into train and calibration."""
    draw_category(tmp_path)
    draw(tmp_path / "train" / "good" / "0001.png", 1000)
    dataset = load_dataset(tmp_path, group=r"^(.+)\.png")
    samples = {sample.file: sample for split in dataset.samples.values() for sample in split}
    assert samples["train/good/0001.png"].group == samples["train/good/0000.png"].group == "train/good/0000"

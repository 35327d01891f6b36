"""A data set looked over: what is found, and what should be photographed next."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from budgetc.compiler.data_advice import photograph_next
from budgetc.compiler.data_check import check_data
from budgetc.compiler.data_record import Curve, DataCheck, Stock
from tests.load.drawing import draw_category, draw_frames

SIDE = 48


def photograph(path: Path, seed: int, *, gain: float = 1.0, blot: bool = False, side: int = SIDE) -> None:
    """A surface with fine structure; another seed is another part, another gain another exposure."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(60, 140, (4, 4)), np.ones((12, 12)))
    levels = coarse + rng.normal(0, 12, (SIDE // 2, SIDE // 2)).repeat(2, 0).repeat(2, 1)
    if blot:
        levels[10:24, 10:24] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.clip(gain * levels, 0, 255).astype(np.uint8))
    image.resize((side, side)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """40 normals, 15 and 15 to test: all parts different."""
    for number in range(40):
        photograph(tmp_path / "train" / "good" / f"{number:02d}.png", number)
    for number in range(15):
        photograph(tmp_path / "test" / "good" / f"{number:02d}.png", 100 + number)
        photograph(tmp_path / "test" / "blot" / f"{number:02d}.png", 200 + number, blot=True)
    return tmp_path


def texts(found: DataCheck, kind: str) -> list[str]:
    return [one.text for one in found.findings if one.kind == kind]


def test_a_plain_data_set_is_accepted(root: Path) -> None:
    """Counts, splits, a curve with AUROC, floors; the result reads back as itself."""
    found = check_data(root)
    assert (found.accepted, found.refusal, found.missing) == (True, None, ())
    assert [(one.part, one.defect, one.pictures) for one in found.stock] == [
        ("train", "good", 40), ("test", "blot", 15), ("test", "good", 15),
    ]  # fmt: skip
    assert [point.normals for point in found.curves[0].points] == [10, 20, 40]
    assert found.curves[0].metric == "auroc"
    assert [one.good for one in found.floors] == [9] * 4
    assert DataCheck.model_validate_json(found.model_dump_json()) == found


def test_it_is_deterministic(root: Path) -> None:
    """Twice the same."""
    assert check_data(root) == check_data(root)


def test_dark_and_blurred_normals_are_named(root: Path) -> None:
    """The files, worst first."""
    photograph(root / "train" / "good" / "dark.png", 300, gain=0.2)
    blurred = Image.open(root / "train" / "good" / "07.png").resize((6, 6), Image.Resampling.BOX)
    blurred.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(root / "train" / "good" / "soft.png")
    found = check_data(root)
    darker = next(one for one in found.findings if one.kind == "exposure")
    assert "much darker" in darker.text
    assert darker.files == ("train/good/dark.png",)
    softer = next(one for one in found.findings if one.kind == "sharpness" and "blurred" in one.text)
    assert "train/good/soft.png" in softer.files


def test_a_part_in_train_and_in_test_is_found_by_its_look(root: Path) -> None:
    """Another exposure of it, under another name: no checksum tells, its structure does."""
    photograph(root / "test" / "good" / "again.png", 5, gain=0.7)
    found = check_data(root)
    clusters = [one for one in found.findings if one.kind == "same part"]
    assert [set(one.files) for one in clusters] == [{"train/good/05.png", "test/good/again.png"}]
    assert "in train and in test" in clusters[0].text
    assert "decide by eye" in found.photograph[0]


def test_copies_and_flat_pictures(root: Path) -> None:
    """The same bytes twice, and a picture of nothing."""
    (root / "train" / "good" / "copy.png").write_bytes((root / "train" / "good" / "03.png").read_bytes())
    Image.new("L", (SIDE, SIDE), 90).save(root / "train" / "good" / "flat.png")
    found = check_data(root)
    assert texts(found, "copies") == ["1 pictures are there more than once: they count once in every interval"]
    assert any("show next to nothing" in text for text in texts(found, "flat"))


def test_a_size_that_tells_is_a_shortcut(root: Path) -> None:
    """Defects cut out smaller: the AUROC of the size alone is 1."""
    for number in range(15):
        photograph(root / "test" / "blot" / f"{number:02d}.png", 200 + number, blot=True, side=40)
    found = check_data(root)
    assert any(text.startswith("image size alone, without a detector: AUROC 1.00") for text in texts(found, "shortcut"))
    assert texts(found, "sizes") == ["sizes vary: 40 to 48 pixels wide, 40 to 48 high; all are scaled to one size"]


def test_odd_sizes_are_named(root: Path) -> None:
    """Two pictures of another camera."""
    for number in (3, 4):
        photograph(root / "test" / "good" / f"{number:02d}.png", 100 + number, side=52)
    found = next(one for one in check_data(root).findings if one.kind == "sizes")
    assert found.text == "2 pictures are not 48 x 48 like the others"
    assert found.files == ("test/good/03.png", "test/good/04.png")


def test_test_normals_at_another_exposure_are_to_be_photographed_for_train(root: Path) -> None:
    """What the test holds and train does not."""
    for number in range(15):
        photograph(root / "test" / "good" / f"{number:02d}.png", 100 + number, gain=1.6)
    found = check_data(root)
    assert any("brighter than 99 % of the normals in train" in text for text in texts(found, "coverage"))
    assert any(text.startswith("normals for train taken as in the test") for text in found.photograph)


def test_normals_alone_get_the_spread_of_scores(tmp_path: Path) -> None:
    """Accepted with what it cannot show, and told if more normals help: synthetic anomalies say nothing of that."""
    for number in range(50):
        photograph(tmp_path / "train" / "good" / f"{number:02d}.png", number)
    found = check_data(tmp_path)
    assert found.accepted
    assert (found.controls, found.floors, found.missing) == ((), (), ())
    assert found.splits["confirmation"] == {"good": 9, "bad": 144, "groups": 9}
    assert found.curves[0].metric == "score of unseen normals"
    assert [point.normals for point in found.curves[0].points] == [10, 20, 35]
    assert found.photograph[0].startswith("anomalies: at least 10 parts of each defect type")
    assert found.label_light[0].startswith("no real anomalies: held-out normals get synthetic ones (cut-paste")
    assert not any("anomalous" in text for text in texts(found, "groups"))


def test_few_pictures_are_too_few_to_tell(tmp_path: Path) -> None:
    """No curve from ten normals; a number of pictures to add."""
    found = check_data(draw_category(tmp_path))
    assert (found.curves[0].trend, found.curves[0].points) == ("too few to tell", ())
    assert any(text.startswith("at least 30 more normals, of other parts") for text in found.photograph)


def test_frames(tmp_path: Path) -> None:
    """One drive is one drive: others are asked for."""
    found = check_data(draw_frames(tmp_path, highway=120, rain=60))
    assert found.groups.source == "blocks of frames"
    assert found.photograph[0].startswith("normal frames of 2 other drives")


def test_advice_names_numbers() -> None:
    """As many normals again where AUROC rises; the missing parts of a rare defect type."""
    stock = (
        Stock(part="train", category="tile", defect="good", pictures=40, groups=20),
        Stock(part="test", category="tile", defect="fray", pictures=20, groups=4),
        Stock(part="test", category="tile", defect="good", pictures=60, groups=60),
    )
    rising = Curve(category="tile", metric="auroc", points=(), per_doubling=0.02, trend="still improves")
    assert photograph_next((), stock, (rising,), ()) == (
        "about 40 more normals of tile, of other parts: AUROC still rises by 0.020 with every doubling",
        "defect type fray of tile: 20 pictures of 4 parts: at least 6 more parts with it",
    )


@pytest.mark.slow
def test_the_same_magnetic_tile_is_found_under_several_names(real_data: Path) -> None:
    """Exposures of one tile that the data set calls different tiles, also across train and test."""
    found = check_data(real_data / "magnetic-tile")
    clusters = texts(found, "same part")
    assert any(text.startswith("crack-005, crack-006, crack-009, crack-010 look like one part") for text in clusters)
    assert any(text.startswith("good-045, good-133 look like one part, in train and in test") for text in clusters)
    assert found.accepted
    assert 0.7 < found.curves[0].points[-1].value < 0.85


@pytest.mark.slow
def test_other_drives_are_told_without_a_detector(real_data: Path) -> None:
    """Clips of other cameras differ in size and in level: an AUROC on them says little about a detector."""
    found = check_data(real_data / "driving")
    size, statistics = (control.auroc for control in found.controls)
    assert size is not None
    assert statistics is not None
    assert min(size.value, statistics.value) > 0.8


def test_classes_of_different_categories_are_refused_and_not_judged(tmp_path: Path) -> None:
    """Half-ready data gets its advice, and no AUROC."""
    for category in ("bolt", "nut"):
        for number in range(12):
            photograph(tmp_path / category / "train" / "good" / f"{number:02d}.png", 20 * len(category) + number)
    for number in range(6):
        photograph(tmp_path / "bolt" / "test" / "good" / f"{number:02d}.png", 200 + number)
        photograph(tmp_path / "nut" / "test" / "blot" / f"{number:02d}.png", 300 + number, blot=True)
    found = check_data(tmp_path)
    assert not found.accepted and found.refusal is not None and "no category has both" in found.refusal
    assert found.controls == ()

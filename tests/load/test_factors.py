"""OOD factors: what happens to frames, and how a data set declares it."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from budgetc.core.dataset import GOOD
from budgetc.errors import InputRejected
from budgetc.load.datasets import load_dataset
from budgetc.load.factors import FACTORS, ORDERS, FactorName, changed

NAMES = sorted(set(FACTORS) - set(ORDERS))
DECLARED = "factors: {fog: [0.4], noise: [0.5], glare: [0.5]}\nheld_back: [glare]\n"


def scene(seed: int = 0) -> np.ndarray:
    """(48, 64, 3) uint8: a bright sky over a dark road, with texture."""
    rng = np.random.default_rng(seed)
    base = np.concatenate([np.full((24, 64, 3), 190.0), np.full((24, 64, 3), 80.0)])
    return np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """120 frames of one scene, and a declaration."""
    folder = tmp_path / "data" / "train" / "road"
    folder.mkdir(parents=True)
    for number in range(120):
        Image.fromarray(scene(number)).save(folder / f"{number:04d}.png")
    (tmp_path / "data" / "factors.yaml").write_text(DECLARED)
    return tmp_path / "data"


@pytest.mark.parametrize("name", NAMES)
def test_more_of_a_factor_changes_more(name: FactorName) -> None:
    """Mean absolute difference grows with severity, on average over frames."""
    means = [
        np.mean([np.abs(changed(scene(i), name, s, seed=str(i)).astype(float) - scene(i)).mean() for i in range(8)])
        for s in (0.2, 0.5, 0.9)
    ]
    assert 0 < means[0] < means[1] < means[2]


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(NAMES), severity=st.floats(0.01, 1), seed=st.text(max_size=5))
def test_the_same_arguments_give_the_same_picture(name: FactorName, severity: float, seed: str) -> None:
    """And it is a picture of the same size."""
    one, other = (changed(scene(), name, severity, seed=seed) for _ in range(2))
    assert one.dtype == np.uint8 and one.shape == (48, 64, 3)
    assert np.array_equal(one, other)


def test_two_frames_do_not_share_their_rain() -> None:
    """The seed is the frame's own."""
    assert not np.array_equal(changed(scene(), "rain", 0.5, seed="a"), changed(scene(), "rain", 0.5, seed="b"))


def test_copies_stay_with_their_frame(frames: Path) -> None:
    """Same split, same group; train and calibration stay clean; a factor that is held back is not in selection."""
    dataset = load_dataset(frames)
    for split in ("selection", "confirmation"):
        groups = {sample.file: sample.group for sample in dataset.samples[split] if sample.defect == GOOD}
        copies = [sample for sample in dataset.samples[split] if sample.defect != GOOD]
        shown = {"fog", "noise"} if split == "selection" else {"fog", "noise", "glare"}
        assert {sample.defect for sample in copies} == shown
        assert len(copies) == len(shown) * len(groups)
        assert all(groups[sample.file.partition("#")[0]] == sample.group for sample in copies)
    assert {sample.defect for split in ("train", "calibration") for sample in dataset.samples[split]} == {GOOD}


def test_a_copy_is_read_changed(frames: Path) -> None:
    """As the factor leaves it at the frame's own size."""
    dataset = load_dataset(frames)
    copy = next(sample for sample in dataset.samples["selection"] if sample.defect == "fog")
    file = copy.file.partition("#")[0]
    with Image.open(frames / file) as picture:
        expected = changed(np.asarray(picture), "fog", 0.4, seed=f"0/{file}")
    assert np.array_equal(dataset.read(copy, (48, 64)).transpose(1, 2, 0), expected)


def test_the_declaration_is_part_of_the_data(frames: Path) -> None:
    """Another severity is another data set."""
    before = load_dataset(frames).digest
    (frames / "factors.yaml").write_text(DECLARED.replace("0.4", "0.6"))
    assert load_dataset(frames).digest != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("factors: {snow: [0.5]}", "factors.snow"),
        ("factors: {fog: [1.5]}", "factors.fog.0: Input should be less than or equal to 1"),
        ("factors: {fog: [0.5]}\nheld_back: [fog]", "at least one factor must be left"),
        ("factors: {fog: [0.5]}\nheld_back: [rain]", "rain is not among factors"),
        ("factors: {}", "factors"),
        ("factor: {fog: [0.5]}", "factor"),
    ],
)
def test_a_wrong_declaration_is_refused(frames: Path, text: str, message: str) -> None:
    """The message names the file and the field."""
    (frames / "factors.yaml").write_text(text)
    with pytest.raises(InputRejected, match=r"factors\.yaml") as refused:
        load_dataset(frames)
    assert message in str(refused.value)
